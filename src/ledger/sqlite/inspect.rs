//! Looks at a SQLite file, without creating or migrating it.

use super::{
    file::{self, Taken},
    rows,
};
use crate::ledger::{inspect::Standing, open::OpenError};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// How the file at `path` stands.
pub(in crate::ledger) fn inspect(path: &Path) -> Result<Standing, OpenError> {
    if !path.try_exists().unwrap_or(false) {
        return file::could_create(path).map(|()| Standing::Absent);
    }
    let _lock = match file::take_if_there(path)? {
        Taken::ByAnother => return Ok(Standing::InUse),
        Taken::Free(lock) => lock,
    };
    let mut connection = file::connect(path, None).map_err(|error| file::classify(path, &error))?;
    file::check_writable(path, &connection)?;
    let (schema, known) = file::version(path, &connection)?;
    if schema > 0 {
        write(&mut connection).map_err(|error| file::classify(path, &error))?;
    }
    Ok(Standing::Ready { schema, known })
}

/// Writes what the worker itself writes to find out whether it can, which leaves nothing behind.
fn write(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    rows::probe(&transaction)?;
    transaction.commit()
}
