//! The rows of the SQLite file: loaded, put, deleted.

use crate::{
    event::EventKey,
    ledger::row::{Flat, Row},
};
use rusqlite::{Connection, OptionalExtension, named_params, types::Type};
use uuid::Uuid;

/// The row of a key, where there is one.
pub(super) fn load(connection: &Connection, key: EventKey) -> rusqlite::Result<Option<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT state, attempt, at, possible_duplicate, owner, identifier, account_id, published, words
         FROM ledger WHERE key = ?1",
    )?;
    let flat = statement.query_row([key.0.as_bytes()], flat).optional()?;
    flat.map(Row::try_from)
        .transpose()
        .map_err(|damaged| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(damaged)))
}

fn flat(row: &rusqlite::Row<'_>) -> rusqlite::Result<Flat> {
    Ok(Flat {
        state: row.get("state")?,
        attempt: row.get("attempt")?,
        at: row.get("at")?,
        possible_duplicate: row.get("possible_duplicate")?,
        owner: row.get::<_, Option<[u8; 16]>>("owner")?.map(Uuid::from_bytes),
        identifier: row.get("identifier")?,
        account_id: row.get("account_id")?,
        published: row.get("published")?,
        words: row.get("words")?,
    })
}

/// Writes the row of a key, over the one that was there.
pub(super) fn put(connection: &Connection, key: EventKey, row: Row) -> rusqlite::Result<()> {
    let flat = Flat::from(row);
    let mut statement = connection.prepare_cached(
        "REPLACE INTO ledger (key, state, attempt, at, possible_duplicate, owner, identifier, account_id,
                              published, words)
         VALUES (:key, :state, :attempt, :at, :possible_duplicate, :owner, :identifier, :account_id,
                 :published, :words)",
    )?;
    statement.execute(named_params! {
        ":key": key.0.as_bytes(),
        ":state": flat.state,
        ":attempt": flat.attempt,
        ":at": flat.at,
        ":possible_duplicate": flat.possible_duplicate,
        ":owner": flat.owner.map(Uuid::into_bytes),
        ":identifier": flat.identifier,
        ":account_id": flat.account_id,
        ":published": flat.published,
        ":words": flat.words,
    })?;
    Ok(())
}

/// Removes the row of a key.
pub(super) fn delete(connection: &Connection, key: EventKey) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM ledger WHERE key = ?1")?.execute([key.0.as_bytes()])?;
    Ok(())
}

/// Takes two pages and gives them back: whether the file could grow, should a row need it.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT INTO probe (content) VALUES (zeroblob(8192))")?.execute([])?;
    connection.prepare_cached("DELETE FROM probe")?.execute([])?;
    Ok(())
}
