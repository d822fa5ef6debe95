//! Rows as PostgreSQL's columns: one array a column on the way in, so that a batch is one statement.

use super::connect::Failure;
use crate::{
    event::EventKey,
    ledger::row::{Flat, Row},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// The columns in the order of every statement.
macro_rules! columns {
    () => {
        "key, state, attempt, at, possible_duplicate, owner, identifier, account_id, published, words"
    };
}
/// The arrays of a `Columns`, as a table.
macro_rules! arrays {
    () => {
        "unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::boolean[], $6::uuid[], $7::text[],
                $8::text[], $9::boolean[], $10::bytea[])"
    };
}
pub(super) use {arrays, columns};

/// Rows, a column an array.
#[derive(Debug, Default)]
pub(super) struct Columns {
    keys: Vec<Uuid>,
    states: Vec<String>,
    attempts: Vec<i64>,
    ats: Vec<i64>,
    possible_duplicates: Vec<bool>,
    owners: Vec<Option<Uuid>>,
    identifiers: Vec<Option<String>>,
    account_ids: Vec<Option<String>>,
    publisheds: Vec<bool>,
    words: Vec<Option<Vec<u8>>>,
}

impl Columns {
    pub(super) fn push(&mut self, key: EventKey, row: Row) {
        let flat = Flat::from(row);
        self.keys.push(key.0);
        self.states.push(flat.state);
        self.attempts.push(flat.attempt);
        self.ats.push(flat.at);
        self.possible_duplicates.push(flat.possible_duplicate);
        self.owners.push(flat.owner);
        self.identifiers.push(flat.identifier);
        self.account_ids.push(flat.account_id);
        self.publisheds.push(flat.published);
        self.words.push(flat.words);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 10] {
        [
            &self.keys,
            &self.states,
            &self.attempts,
            &self.ats,
            &self.possible_duplicates,
            &self.owners,
            &self.identifiers,
            &self.account_ids,
            &self.publisheds,
            &self.words,
        ]
    }
}

/// A row as it was selected with `columns!`.
pub(super) fn read(row: &tokio_postgres::Row) -> Result<(EventKey, Row), Failure> {
    let flat = Flat {
        state: row.try_get(1)?,
        attempt: row.try_get(2)?,
        at: row.try_get(3)?,
        possible_duplicate: row.try_get(4)?,
        owner: row.try_get(5)?,
        identifier: row.try_get(6)?,
        account_id: row.try_get(7)?,
        published: row.try_get(8)?,
        words: row.try_get(9)?,
    };
    Ok((EventKey(row.try_get(0)?), flat.try_into()?))
}
