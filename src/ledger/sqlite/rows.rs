//! The rows of the SQLite file: loaded, inserted, updated, deleted, and moved to another table.

use super::WRITTEN;
use crate::{
    event::EventKey,
    ledger::row::{Flat, Row},
};
use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter, types::Type};
use uuid::Uuid;

/// The columns in the order of every statement here; a row's `id` comes before them.
macro_rules! columns {
    () => {
        "key, state, attempt, at, possible_duplicate, owner, identifier, account_id, published, words"
    };
}

/// A key's row in the table that is written, where it has this id. Not to find it there is an
/// error: somebody else has changed the file.
pub(super) fn load(connection: &Connection, id: i64, key: EventKey) -> rusqlite::Result<Row> {
    const SELECT: &str = concat!("SELECT ", columns!(), " FROM ledger WHERE id = ?1 AND key = ?2");
    let flat = connection.prepare_cached(SELECT)?.query_row((id, key.0.as_bytes()), flat)?;
    row(flat)
}

/// The row of a key in a closed table.
pub(super) fn find(connection: &Connection, table: &str, key: EventKey) -> rusqlite::Result<Option<Row>> {
    let select = format!("SELECT {} FROM {table} WHERE key = ?1", columns!());
    let flat = connection.prepare_cached(&select)?.query_row([key.0.as_bytes()], flat).optional()?;
    flat.map(row).transpose()
}

fn row(flat: Flat) -> rusqlite::Result<Row> {
    Row::try_from(flat)
        .map_err(|damaged| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(damaged)))
}

fn flat(row: &rusqlite::Row<'_>) -> rusqlite::Result<Flat> {
    Ok(Flat {
        state: row.get(1)?,
        attempt: row.get(2)?,
        at: row.get(3)?,
        possible_duplicate: row.get(4)?,
        owner: row.get::<_, Option<[u8; 16]>>(5)?.map(Uuid::from_bytes),
        identifier: row.get(6)?,
        account_id: row.get(7)?,
        published: row.get(8)?,
        words: row.get(9)?,
    })
}

/// Adds a row at the end of the table that is written; its id.
pub(super) fn insert(connection: &Connection, key: EventKey, row: Row) -> rusqlite::Result<i64> {
    const INSERT: &str =
        concat!("INSERT INTO ledger (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
    execute(connection, INSERT, None, key, row)?;
    Ok(connection.last_insert_rowid())
}

/// Writes over a key's row, which has this id.
pub(super) fn update(connection: &Connection, id: i64, key: EventKey, row: Row) -> rusqlite::Result<()> {
    const UPDATE: &str = "
        UPDATE ledger SET state = ?2, attempt = ?3, at = ?4, possible_duplicate = ?5, owner = ?6,
                          identifier = ?7, account_id = ?8, published = ?9, words = ?10
        WHERE id = ?11 AND key = ?1";
    execute(connection, UPDATE, Some(id), key, row)
}

fn execute(
    connection: &Connection,
    sql: &str,
    id: Option<i64>,
    key: EventKey,
    row: Row,
) -> rusqlite::Result<()> {
    let flat = Flat::from(row);
    let owner = flat.owner.map(Uuid::into_bytes);
    let columns: [&dyn ToSql; 10] = [
        key.0.as_bytes(),
        &flat.state,
        &flat.attempt,
        &flat.at,
        &flat.possible_duplicate,
        &owner,
        &flat.identifier,
        &flat.account_id,
        &flat.published,
        &flat.words,
    ];
    let id = id.as_ref().map(|id| id as &dyn ToSql);
    one(connection.prepare_cached(sql)?.execute(params_from_iter(columns.into_iter().chain(id)))?)
}

/// Removes a key's row, which has this id.
pub(super) fn delete(connection: &Connection, id: i64, key: EventKey) -> rusqlite::Result<()> {
    const DELETE: &str = "DELETE FROM ledger WHERE id = ?1 AND key = ?2";
    one(connection.prepare_cached(DELETE)?.execute((id, key.0.as_bytes()))?)
}

fn one(changed: usize) -> rusqlite::Result<()> {
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

/// Moves a row from a closed table to the one that is written; its new id.
pub(super) fn carry(connection: &Connection, table: &str, id: i64) -> rusqlite::Result<i64> {
    let carry = format!("INSERT INTO {WRITTEN} ({0}) SELECT {0} FROM {table} WHERE id = ?1", columns!());
    connection.prepare_cached(&carry)?.execute([id])?;
    let carried = connection.last_insert_rowid();
    connection.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([id])?;
    Ok(carried)
}

/// Takes two pages and gives them back: whether the file could grow, should a row need it.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT INTO probe (content) VALUES (zeroblob(8192))")?.execute([])?;
    connection.prepare_cached("DELETE FROM probe")?.execute([])?;
    Ok(())
}
