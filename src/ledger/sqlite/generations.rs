//! Old rows of the SQLite file, in closed generations, so that ten million of them cost nothing.
//!
//! The table that is written stays small: when it is full, or an eighth of the retention old, it
//! becomes a generation, whole, by its name, and gets an index of its keys. A filter in memory says
//! which generation may have a key. A row that changes once more is written anew and hides its
//! elder; an attempt that is open, or whose end is not known, moves along. A generation older than
//! the retention is removed, whole.

use super::{WRITTEN, file::TABLE, filter::Filter, rows, written::Written};
use crate::{
    event::EventKey,
    ledger::row::{Row, SETTLED},
};
use rusqlite::{Connection, Transaction, TransactionBehavior, types::Type};
use std::collections::HashMap;
use uuid::Uuid;

/// The rows that make a generation full.
const FULL: usize = 1 << 17;
/// How many generations the retention is cut into, where there are too few rows to fill one.
const PARTS: i64 = 8;

/// The generations, and when the table that is written becomes one.
#[derive(Debug)]
pub(super) struct Generations {
    /// The oldest first.
    closed: Vec<Generation>,
    /// The rows that moved along when the last was closed.
    carried: usize,
    /// When the oldest other row was written, in milliseconds since 1970.
    since: i64,
}

#[derive(Debug)]
struct Generation {
    id: i64,
    closed_at: i64,
    filter: Filter,
}

/// The rows of a table that is to be closed.
struct Rows {
    filter: Filter,
    settled: bool,
    open: Vec<(EventKey, i64)>,
}

impl Generations {
    /// Reads what there is.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            connection.prepare("SELECT id, closed_at, filter FROM generations ORDER BY id")?;
        let closed = statement
            .query_map([], |row| {
                let filter = Filter::from_bytes(row.get_ref(2)?.as_blob()?).ok_or_else(|| {
                    let damaged = "a generation's filter is damaged".into();
                    rusqlite::Error::FromSqlConversionFailure(2, Type::Blob, damaged)
                })?;
                Ok(Generation { id: row.get(0)?, closed_at: row.get(1)?, filter })
            })?
            .collect::<Result<_, _>>()?;
        let oldest: Option<i64> = connection.query_row("SELECT min(at) FROM ledger", [], |row| row.get(0))?;
        Ok(Self { closed, carried: 0, since: oldest.unwrap_or(i64::MAX) })
    }

    /// The latest row of a key that the table which is written does not have.
    pub(super) fn find(&self, connection: &Connection, key: EventKey) -> rusqlite::Result<Option<Row>> {
        for generation in self.closed.iter().rev().filter(|generation| generation.filter.may_have(key)) {
            if let Some(row) = rows::find(connection, &generation.table(), key)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Tells that rows may have been written.
    pub(super) fn wrote(&mut self, at: i64) {
        self.since = self.since.min(at);
    }

    /// Closes the table that is written and begins another, where it is time.
    pub(super) fn roll(
        &mut self,
        connection: &mut Connection,
        written: &mut Written,
        at: i64,
        retention: i64,
    ) -> rusqlite::Result<()> {
        let full = written.len().saturating_sub(self.carried) >= FULL;
        let aged = self.since.saturating_add(retention / PARTS) <= at;
        if !full && !aged {
            return Ok(());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = Rows::read(&transaction, written.len())?;
        if rows.settled {
            let (generation, carried) = self.close(&transaction, rows, at)?;
            transaction.commit()?;
            self.closed.push(generation);
            self.carried = carried.len();
            *written = Written::of(carried);
        }
        // The next row that is written says since when there is one.
        self.since = i64::MAX;
        Ok(())
    }

    /// The generation that the table becomes, and where the rows are that moved along.
    fn close(
        &self,
        transaction: &Transaction<'_>,
        rows: Rows,
        at: i64,
    ) -> rusqlite::Result<(Generation, HashMap<EventKey, i64>)> {
        let id = self.closed.last().map_or(1, |last| last.id + 1);
        let generation = Generation { id, closed_at: at, filter: rows.filter };
        let table = generation.table();
        transaction.execute_batch(&format!("ALTER TABLE {WRITTEN} RENAME TO {table}; {TABLE}"))?;
        let mut carried = HashMap::with_capacity(rows.open.len());
        for (key, id) in rows.open {
            carried.insert(key, rows::carry(transaction, &table, id)?);
        }
        transaction.execute_batch(&format!("CREATE UNIQUE INDEX {table}_key ON {table} (key)"))?;
        transaction.execute(
            "INSERT INTO generations (id, closed_at, filter) VALUES (?1, ?2, ?3)",
            (id, at, generation.filter.to_bytes()),
        )?;
        Ok((generation, carried))
    }

    /// Removes the oldest generation, where it was closed `before`.
    pub(super) fn remove(&mut self, connection: &mut Connection, before: i64) -> rusqlite::Result<()> {
        let Some(oldest) = self.closed.first().filter(|oldest| oldest.closed_at < before) else {
            return Ok(());
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(&format!("DROP TABLE {}", oldest.table()))?;
        transaction.execute("DELETE FROM generations WHERE id = ?1", [oldest.id])?;
        transaction.commit()?;
        self.closed.remove(0);
        Ok(())
    }
}

impl Rows {
    fn read(connection: &Connection, rows: usize) -> rusqlite::Result<Self> {
        let mut read = Self { filter: Filter::with_capacity(rows), settled: false, open: Vec::new() };
        let mut scan = connection.prepare(&format!("SELECT id, key, state IN {SETTLED} FROM {WRITTEN}"))?;
        let mut rows = scan.query([])?;
        while let Some(row) = rows.next()? {
            let key = EventKey(Uuid::from_bytes(row.get(1)?));
            if row.get(2)? {
                read.filter.add(key);
                read.settled = true;
            } else {
                read.open.push((key, row.get(0)?));
            }
        }
        Ok(read)
    }
}

impl Generation {
    fn table(&self) -> String {
        format!("{WRITTEN}_{}", self.id)
    }
}

#[cfg(test)]
mod tests;
