//! Retention in the SQLite file: a cursor that goes round the keys and removes old rows as it goes.
//!
//! No index by age is kept, since every attempt would pay for it; the sweep reads a few
//! neighbouring rows for each attempt, and so costs the same whatever the size of the table.

use crate::ledger::row::SETTLED;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

/// Fewer rows than this are not worth a step.
const STEP: u32 = 512;
/// The most rows that one step looks at.
const LONGEST: u32 = 4096;

/// Where the sweep is. A step returns its successor, so that one that is rolled back is repeated.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    cursor: Vec<u8>,
    /// How many rows may be looked at.
    credit: u32,
}

impl Sweep {
    /// Starts anywhere, so that workers which never live for a whole round reach every key.
    pub(super) fn new(anywhere: Uuid) -> Self {
        Self { cursor: anywhere.as_bytes().to_vec(), credit: 0 }
    }

    /// Allows a look at some more rows.
    pub(super) fn allow(&mut self, rows: u32) {
        self.credit = self.credit.saturating_add(rows);
    }

    /// Allows one step.
    pub(super) fn allow_step(&mut self) {
        self.allow(STEP);
    }

    /// Removes what is older than `before` among the next rows, where enough are allowed.
    pub(super) fn step(&self, connection: &Connection, before: i64) -> rusqlite::Result<Self> {
        if self.credit < STEP {
            return Ok(self.clone());
        }
        let rows = self.credit.min(LONGEST);
        let last = connection
            .prepare_cached("SELECT key FROM ledger WHERE key > ?1 ORDER BY key LIMIT 1 OFFSET ?2")?
            .query_row((&self.cursor, rows - 1), |row| row.get::<_, Vec<u8>>(0))
            .optional()?;
        // Past the end: the rest of the table, and round again. No key is longer than 16 bytes.
        let end = last.clone().unwrap_or_else(|| vec![u8::MAX; 17]);
        let delete =
            format!("DELETE FROM ledger WHERE key > ?1 AND key <= ?2 AND at < ?3 AND state IN {SETTLED}");
        connection.prepare_cached(&delete)?.execute((&self.cursor, end, before))?;
        Ok(Self { cursor: last.unwrap_or_default(), credit: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGED: i64 = 10;

    fn table(rows: u32, state: &str, at: i64) -> Connection {
        let connection = Connection::open_in_memory().expect("SQLite");
        connection
            .execute_batch("CREATE TABLE ledger (key BLOB PRIMARY KEY, state TEXT, at INTEGER) WITHOUT ROWID")
            .expect("a table");
        for i in 0..rows {
            let key = Uuid::from_u128(u128::from(i) << 96);
            let row = (key.as_bytes(), state, at);
            connection.execute("INSERT INTO ledger VALUES (?1, ?2, ?3)", row).expect("a row");
        }
        connection
    }

    fn left(connection: &Connection) -> u32 {
        connection.query_row("SELECT count(*) FROM ledger", [], |row| row.get(0)).expect("a count")
    }

    fn round(sweep: Sweep, connection: &Connection) -> Sweep {
        (0..4).fold(sweep, |mut sweep, _| {
            sweep.allow_step();
            sweep.step(connection, AGED).expect("a step")
        })
    }

    #[test]
    fn comes_round_from_anywhere_in_small_steps() {
        let connection = table(1_200, "created", AGED - 1);
        let mut sweep = Sweep::new(Uuid::from_u128(700 << 96));
        sweep.allow_step();
        let sweep = sweep.step(&connection, AGED).expect("a step");
        assert_eq!(left(&connection), 1_200 - 499, "the 499 after the cursor, then the end");
        round(sweep, &connection);
        assert_eq!(left(&connection), 0);
    }

    #[test]
    fn keeps_what_is_young_or_open() {
        for (state, at, kept) in [
            ("created", AGED, 600),
            ("attempting", AGED - 1, 600),
            ("unknown", AGED - 1, 600),
            ("idle", AGED - 1, 0),
            ("unusable", AGED - 1, 0),
        ] {
            let connection = table(600, state, at);
            round(Sweep::new(Uuid::nil()), &connection);
            assert_eq!(left(&connection), kept, "{state} at {at}");
        }
    }

    #[test]
    fn waits_until_a_step_is_worth_it() {
        let connection = table(600, "created", AGED - 1);
        let mut sweep = Sweep::new(Uuid::nil());
        sweep.allow(STEP - 1);
        let sweep = sweep.step(&connection, AGED).expect("no step");
        assert_eq!(left(&connection), 600);
        assert_eq!(sweep.credit, STEP - 1);
    }
}
