//! The one table of the SQLite file that is written: rows in the order in which they came.
//!
//! Keys are random, and a tree in their order would touch a page for each of them; at the end of
//! this table, a batch is a few pages. Where a key's row is, is known in memory, which must not
//! differ from the file: each batch ends with `commit` or `rollback` here as it does there.

use super::rows;
use crate::{event::EventKey, ledger::row::Row};
use rusqlite::{Connection, types::Type};
use std::{collections::HashMap, mem};
use uuid::Uuid;

/// Where the rows of the table are.
#[derive(Debug, Default)]
pub(super) struct Written {
    ids: HashMap<EventKey, i64>,
    /// What the batch that is under way has changed of `ids`, with what was there before.
    undo: Vec<(EventKey, Option<i64>)>,
}

impl Written {
    /// Reads the table through, which shows any damage.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut ids = HashMap::new();
        let mut statement = connection.prepare("SELECT id, key FROM ledger")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = EventKey(Uuid::from_bytes(row.get(1)?));
            if ids.insert(key, row.get(0)?).is_some() {
                let twice = "a key stands there twice".into();
                return Err(rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, twice));
            }
        }
        Ok(Self { ids, undo: Vec::new() })
    }

    /// A table of these rows alone.
    pub(super) fn of(ids: HashMap<EventKey, i64>) -> Self {
        Self { ids, undo: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The row of a key, where this table has one.
    pub(super) fn load(&self, connection: &Connection, key: EventKey) -> rusqlite::Result<Option<Row>> {
        self.ids.get(&key).map(|&id| rows::load(connection, id, key)).transpose()
    }

    /// Writes the row of a key, over the one that was here.
    pub(super) fn put(&mut self, connection: &Connection, key: EventKey, row: Row) -> rusqlite::Result<()> {
        if let Some(&id) = self.ids.get(&key) {
            return rows::update(connection, id, key, row);
        }
        let id = rows::insert(connection, key, row)?;
        self.undo.push((key, self.ids.insert(key, id)));
        Ok(())
    }

    /// Removes the row of a key.
    pub(super) fn delete(&mut self, connection: &Connection, key: EventKey) -> rusqlite::Result<()> {
        let Some(id) = self.ids.remove(&key) else { return Ok(()) };
        self.undo.push((key, Some(id)));
        rows::delete(connection, id, key)
    }

    /// The batch is in the file.
    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    /// The batch is not in the file.
    pub(super) fn rollback(&mut self) {
        for (key, before) in mem::take(&mut self.undo).into_iter().rev() {
            match before {
                Some(id) => self.ids.insert(key, id),
                None => self.ids.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{row::State, sqlite::file};

    fn row(attempt: u32) -> Row {
        Row { state: State::Idle, attempt, at: 1, possible_duplicate: false, words: Vec::new() }
    }

    #[test]
    fn a_batch_that_is_rolled_back_was_never_there() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let mut file = file::open(&directory.path().join("ledger.db"), None).expect("a file");
        let [old, gone, new] = [1, 2, 3].map(|n| EventKey(Uuid::from_u128(n)));
        let mut written = Written::default();
        written.put(&file.connection, old, row(1)).expect("a row");
        written.put(&file.connection, gone, row(1)).expect("a row");
        written.commit();

        let transaction = file.connection.transaction().expect("a transaction");
        written.put(&transaction, old, row(2)).expect("a row");
        written.delete(&transaction, gone).expect("no row");
        written.put(&transaction, gone, row(2)).expect("a row again");
        written.delete(&transaction, gone).expect("no row again");
        written.put(&transaction, new, row(2)).expect("a row");
        transaction.rollback().expect("nothing");
        written.rollback();

        let read = Written::read(&file.connection).expect("the table");
        assert_eq!(written.ids, read.ids);
        assert_eq!(written.load(&file.connection, old).expect("a look"), Some(row(1)));
        assert_eq!(written.load(&file.connection, gone).expect("a look"), Some(row(1)));
        assert_eq!(written.load(&file.connection, new).expect("a look"), None);
    }
}
