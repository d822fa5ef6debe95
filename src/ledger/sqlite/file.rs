//! The SQLite file: opened, taken for one worker, created, migrated.
//!
//! Owns the lock file beside it and the schema. Its rows are `rows`'.

use super::{generations::Generations, written::Written};
use crate::ledger::open::OpenError;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

/// Marks a file as a ledger of this program: `imin` in ASCII.
const APPLICATION_ID: i64 = 0x696d_696e;

/// The table that is written; `generations` closes it and makes another.
pub(super) const TABLE: &str = "
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        at INTEGER NOT NULL,
        possible_duplicate INTEGER NOT NULL,
        owner BLOB,
        identifier TEXT,
        account_id TEXT,
        published INTEGER NOT NULL,
        words BLOB
    ) STRICT;";

/// Each brings the schema one version further; `PRAGMA user_version` counts them.
const MIGRATIONS: [&[&str]; 1] = [&[
    TABLE,
    "CREATE TABLE generations (id INTEGER PRIMARY KEY, closed_at INTEGER NOT NULL, filter BLOB NOT NULL) STRICT;
     CREATE TABLE probe (content BLOB NOT NULL) STRICT;",
]];

/// How long SQLite waits for a reader's or a backup's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Prepared statements kept: one for each generation, for a while.
const STATEMENTS: usize = 256;

/// An open ledger file that no other worker has.
pub(super) struct LedgerFile {
    pub(super) connection: Connection,
    pub(super) written: Written,
    pub(super) generations: Generations,
    pub(super) path: PathBuf,
    /// Which file was opened under the path.
    identity: Option<Identity>,
    /// Held as long as the connection; declared after it, so that it is given up after it.
    _lock: File,
}

/// What tells one file from another, whatever its name.
type Identity = (u64, u64);

impl LedgerFile {
    /// Whether the path still leads to the open file. One that was moved or removed can be written all
    /// the same, but the next worker would not find it, nor what it says of the events that come again.
    pub(super) fn stands(&self) -> bool {
        self.identity == identity(&self.path)
    }

    /// Writes the log back and closes the file; only then is it free for the next worker.
    pub(super) fn close(self) -> Result<(), (String, rusqlite::Error)> {
        let Self { connection, path, _lock, .. } = self;
        connection.close().map_err(|(_, error)| (place(&path), error))
    }
}

/// Opens and takes the file at `path`; `max_pages` bounds its size.
pub(super) fn open(path: &Path, max_pages: Option<u32>) -> Result<LedgerFile, OpenError> {
    let lock = lock(path)?;
    create(path)?;
    let connection = connect(path, max_pages).map_err(|error| classify(path, &error))?;
    check_writable(path, &connection)?;
    migrate(path, &connection)?;
    let written = Written::read(&connection).map_err(|error| classify(path, &error))?;
    let generations = Generations::read(&connection).map_err(|error| classify(path, &error))?;
    Ok(LedgerFile {
        connection,
        written,
        generations,
        identity: identity(path),
        path: path.to_owned(),
        _lock: lock,
    })
}

/// Whose a file is.
pub(super) enum Taken {
    /// Another worker's.
    ByAnother,
    /// Nobody else's as long as this is held; none where no worker ever had it.
    Free(Option<File>),
}

/// Takes the lock file if there is one. To create it would be to own it, and a worker that runs as
/// another user could not open it.
pub(super) fn take_if_there(path: &Path) -> Result<Taken, OpenError> {
    let name = lock_name(path);
    if !name.exists() {
        return Ok(Taken::Free(None));
    }
    match lock(path) {
        Ok(file) => Ok(Taken::Free(Some(file))),
        Err(OpenError::InUse { .. }) => Ok(Taken::ByAnother),
        Err(error) => Err(error),
    }
}

/// Whether the file could be created, by one that is gone again.
pub(super) fn could_create(path: &Path) -> Result<(), OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", uuid::Uuid::new_v4()));
    let created = private().write(true).create_new(true).open(&name).map(drop);
    created
        .and_then(|()| std::fs::remove_file(&name))
        .map_err(|error| unusable(path, format!("cannot create it: {error}")))
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Takes the lock file, which stays when it is let go of: to remove it would race with its next owner.
fn lock(path: &Path) -> Result<File, OpenError> {
    let name = lock_name(path);
    let file = private().write(true).create(true).truncate(false).open(&name);
    let file = file.map_err(|error| unusable(path, format!("cannot open {}: {error}", name.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { place: place(path) }),
        Err(TryLockError::Error(error)) => {
            Err(unusable(path, format!("cannot lock {}: {error}", name.display())))
        }
    }
}

/// Creates the file before SQLite does, so that nobody else may read it; SQLite gives its own
/// companions (`-wal`, `-shm`) the same rights.
fn create(path: &Path) -> Result<(), OpenError> {
    match private().write(true).create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unusable(path, format!("cannot create it: {error}"))),
    }
}

/// None where there is no file, or no way to tell.
fn identity(path: &Path) -> Option<Identity> {
    #[cfg(unix)]
    return std::fs::metadata(path).ok().map(|file| {
        use std::os::unix::fs::MetadataExt;
        (file.dev(), file.ino())
    });
    #[cfg(not(unix))]
    return None;
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

pub(super) fn connect(path: &Path, max_pages: Option<u32>) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // The first look into the file: what is no database shows itself here.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    if !connection.is_readonly(rusqlite::MAIN_DB)? {
        connection.pragma_update(None, "journal_mode", "wal")?;
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if let Some(pages) = max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

pub(super) fn check_writable(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let read = |error: rusqlite::Error| classify(path, &error);
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(read)? {
        return Err(unusable(
            path,
            "it is read-only: make the file and its directory writable to the worker",
        ));
    }
    let mode: String = pragma(connection, "journal_mode").map_err(read)?;
    if mode != "wal" {
        return Err(unusable(path, "its file system has no shared memory for WAL: put it on a local disk"));
    }
    Ok(())
}

/// Brings the schema to the newest version, all or nothing.
fn migrate(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| classify(path, &error);
    let (found, _) = version(path, connection)?;
    for (migration, version) in MIGRATIONS.iter().zip(1..).skip(usize::try_from(found).unwrap_or(0)) {
        let script = format!(
            "BEGIN IMMEDIATE; {}
             PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; COMMIT;",
            migration.concat()
        );
        connection.execute_batch(&script).map_err(failed)?;
    }
    Ok(())
}

/// The schema's version, 0 for an empty file, and the newest that is known here.
pub(super) fn version(path: &Path, connection: &Connection) -> Result<(i64, i64), OpenError> {
    let failed = |error: rusqlite::Error| classify(path, &error);
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = pragma(connection, "user_version").map_err(failed)?;
    let application: i64 = pragma(connection, "application_id").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION_ID && (application, found, tables) != (0, 0, 0) {
        return Err(unusable(path, "it is another program's database: name another file"));
    }
    if found > known {
        return Err(OpenError::Newer { place: place(path), found, known });
    }
    Ok((found, known))
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

pub(super) fn classify(path: &Path, error: &rusqlite::Error) -> OpenError {
    let damaged = || OpenError::Corrupt { place: place(path), detail: error.to_string() };
    match error {
        rusqlite::Error::FromSqlConversionFailure(..) => damaged(),
        _ if matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
        ) =>
        {
            damaged()
        }
        _ => unusable(path, error.to_string()),
    }
}

fn unusable(path: &Path, detail: impl Into<String>) -> OpenError {
    OpenError::Unusable { place: place(path), detail: detail.into() }
}

fn place(path: &Path) -> String {
    path.display().to_string()
}
