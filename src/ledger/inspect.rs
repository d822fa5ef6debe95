//! Looks at a ledger and leaves it as it was: whether it is there, known, writable and free.
//!
//! Owns what is found. Nothing is created, migrated or claimed here: a ledger that a doctor has made
//! would be the doctor's, not the worker's.

use super::{
    open::{LedgerUrl, OpenError, Options},
    postgres, sqlite,
};

/// How a ledger stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It lives and dies with the worker.
    InMemory,
    /// There is none yet; the worker can make it.
    Absent,
    /// It is there and can be written; its schema, and what the newest known here is.
    Ready {
        /// The schema's version.
        schema: i64,
        /// The newest that is known here; an older one is migrated when the worker starts.
        known: i64,
    },
    /// A worker has it, so that nobody else may look into it.
    InUse,
}

/// Looks at the ledger at `url`.
pub async fn inspect(url: &LedgerUrl, options: &Options) -> Result<Standing, OpenError> {
    match url {
        LedgerUrl::Memory => Ok(Standing::InMemory),
        LedgerUrl::Sqlite(path) => {
            let (path, place) = (path.clone(), path.display().to_string());
            let looking = tokio::task::spawn_blocking(move || sqlite::inspect(&path));
            let lost =
                |error: tokio::task::JoinError| OpenError::Unusable { place, detail: error.to_string() };
            looking.await.map_err(lost)?
        }
        LedgerUrl::Postgres(config) => postgres::inspect(config, options).await,
    }
}
