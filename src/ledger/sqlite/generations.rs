//! Old rows of the SQLite file, in closed generations, so that ten million of them cost nothing.
//!
//! In one tree of ten million random keys each write would touch a page of its own, and nothing
//! would be committed together but the sync. So the tree that is written stays small: when it is
//! full, or an eighth of the retention old, it becomes a generation, whole, by its name. A filter
//! in memory says which generation may have a key. A row that changes once more is written anew
//! and hides its elder; an attempt that is open, or whose end is not known, moves along. A
//! generation older than the retention is removed in small steps.

use super::{file::TABLE, filter::Filter, rows};
use crate::{
    event::EventKey,
    ledger::row::{Row, SETTLED},
};
use rusqlite::{Connection, Transaction, TransactionBehavior, types::Type};
use uuid::Uuid;

/// The rows that make a generation full.
const FULL: i64 = 1 << 17;
/// How many generations the retention is cut into, where there are too few rows to fill one.
const PARTS: i64 = 8;
/// Fewer rows than this are not worth a step of removing.
const STEP: u32 = 512;
/// The most rows that one step removes.
const LONGEST: u32 = 4096;

/// The generations, and what is known of the table that is written.
#[derive(Debug)]
pub(super) struct Generations {
    /// The oldest first.
    closed: Vec<Generation>,
    /// The rows of the table that is written.
    rows: i64,
    /// Those of them that came along from the last generation.
    carried: i64,
    /// The age of the oldest of the others, in milliseconds since 1970.
    since: i64,
    /// How many rows may be removed.
    credit: u32,
}

#[derive(Debug)]
struct Generation {
    id: i64,
    closed_at: i64,
    filter: Filter,
}

/// What a step removed, to be told to `removed` once it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    Nothing,
    Rows,
    Generation,
}

impl Generations {
    /// Reads what there is; the table that is written is read through, which shows any damage.
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
        let (rows, since) = connection.query_row(
            "SELECT count(*), coalesce(min(at), 9223372036854775807) FROM ledger",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(Self { closed, rows, carried: 0, since, credit: 0 })
    }

    /// The latest row of a key that the table which is written does not have.
    pub(super) fn find(&self, connection: &Connection, key: EventKey) -> rusqlite::Result<Option<Row>> {
        for generation in self.closed.iter().rev().filter(|generation| generation.filter.may_have(key)) {
            if let Some(row) = rows::load(connection, &generation.table(), key)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Tells of rows that were committed: how many more there are now, and when.
    pub(super) fn wrote(&mut self, more: i64, at: i64) {
        self.rows = self.rows.saturating_add(more);
        self.since = self.since.min(at);
    }

    /// Allows some more rows to be removed.
    pub(super) fn allow(&mut self, rows: u32) {
        self.credit = self.credit.saturating_add(rows);
    }

    /// Allows one step of removing.
    pub(super) fn allow_step(&mut self) {
        self.allow(STEP);
    }

    /// Removes the next rows of a generation that was closed `before`, where enough are allowed.
    pub(super) fn remove(&self, connection: &Connection, before: i64) -> rusqlite::Result<Removed> {
        let Some(oldest) = self.closed.first().filter(|oldest| oldest.closed_at < before) else {
            return Ok(Removed::Nothing);
        };
        if self.credit < STEP {
            return Ok(Removed::Nothing);
        }
        let (id, table) = (oldest.id, oldest.table());
        let step = format!(
            "DELETE FROM {table} WHERE key <= (SELECT key FROM {table} ORDER BY key LIMIT 1 OFFSET ?1)"
        );
        if connection.prepare_cached(&step)?.execute([self.credit.min(LONGEST)])? > 0 {
            return Ok(Removed::Rows);
        }
        // What is left is less than a step.
        connection.execute_batch(&format!("DROP TABLE {table}"))?;
        connection.execute("DELETE FROM generations WHERE id = ?1", [id])?;
        Ok(Removed::Generation)
    }

    /// Tells of a step that was committed.
    pub(super) fn removed(&mut self, removed: Removed) {
        match removed {
            // Nothing to save up for.
            Removed::Nothing => self.credit = self.credit.min(STEP),
            Removed::Rows => self.credit = 0,
            Removed::Generation => drop(self.closed.remove(0)),
        }
    }

    /// Closes the table that is written and begins another, where it is time.
    pub(super) fn roll(
        &mut self,
        connection: &mut Connection,
        at: i64,
        retention: i64,
    ) -> rusqlite::Result<()> {
        let full = self.rows - self.carried >= FULL;
        let aged = self.since.saturating_add(retention / PARTS) <= at;
        if !full && !aged {
            return Ok(());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some((generation, carried)) = self.close(&transaction, at)? {
            transaction.commit()?;
            self.closed.push(generation);
            (self.rows, self.carried) = (carried, carried);
        }
        // The next row that is written says since when there is one.
        self.since = i64::MAX;
        Ok(())
    }

    /// The generation that the table becomes, and how many rows move along; none without a settled row.
    fn close(&self, transaction: &Transaction<'_>, at: i64) -> rusqlite::Result<Option<(Generation, i64)>> {
        let mut filter = Filter::with_capacity(usize::try_from(self.rows).unwrap_or(0));
        let mut settled = false;
        let scan = format!("SELECT key, state IN {SETTLED} FROM ledger");
        let mut open: Vec<[u8; 16]> = Vec::new();
        let mut statement = transaction.prepare(&scan)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            if row.get(1)? {
                filter.add(EventKey(Uuid::from_bytes(key)));
                settled = true;
            } else {
                open.push(key);
            }
        }
        if !settled {
            return Ok(None);
        }
        let id = self.closed.last().map_or(1, |last| last.id + 1);
        let generation = Generation { id, closed_at: at, filter };
        let table = generation.table();
        transaction.execute_batch(&format!("ALTER TABLE ledger RENAME TO {table}; {TABLE}"))?;
        let mut carry =
            transaction.prepare(&format!("INSERT INTO ledger SELECT * FROM {table} WHERE key = ?1"))?;
        let mut leave = transaction.prepare(&format!("DELETE FROM {table} WHERE key = ?1"))?;
        for key in &open {
            carry.execute([key])?;
            leave.execute([key])?;
        }
        transaction.execute(
            "INSERT INTO generations (id, closed_at, filter) VALUES (?1, ?2, ?3)",
            (id, at, generation.filter.to_bytes()),
        )?;
        Ok(Some((generation, i64::try_from(open.len()).unwrap_or(0))))
    }
}

impl Generation {
    fn table(&self) -> String {
        format!("ledger_{}", self.id)
    }
}

#[cfg(test)]
mod tests;
