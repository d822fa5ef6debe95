//! From a setting to a ledger: the URL, the options, and the errors of opening one.
//!
//! `app`'s helper, and like it allowed to name the backends. It reads no setting itself.

use super::{
    Ledger,
    memory::{MemoryLedger, Store},
    postgres::PostgresLedger,
    sqlite::SqliteLedger,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use uuid::Uuid;

mod url;
pub(in crate::ledger) use url::place;
pub use url::{LedgerUrl, UrlError};

/// What a ledger needs to know beside its place.
#[derive(Clone)]
pub struct Options {
    /// This worker, new at every start: the owner of the attempts that it begins.
    pub instance: Uuid,
    /// How long settled rows are kept. Open and unknown attempts are never removed.
    pub retention: Duration,
    /// PostgreSQL: how long a worker that is not heard of keeps its attempts.
    pub lease: Duration,
    /// PostgreSQL: the longest that one step may take. A call takes at most about two.
    pub timeout: Duration,
    /// PostgreSQL: certificates (PEM) to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// SQLite: the most pages of 4 KiB that the file may have; none: as many as the disk holds.
    pub max_pages: Option<u32>,
    /// Told how long each transaction took, from its begin to its commit.
    pub on_commit: Observer,
}

/// Somebody who is told a duration.
pub type Observer = Arc<dyn Fn(Duration) + Send + Sync>;

impl Options {
    /// The defaults: 30 days, a lease of 60 s, 5 s a step, nobody told.
    pub fn new(instance: Uuid) -> Self {
        Self {
            instance,
            retention: Duration::from_hours(30 * 24),
            lease: Duration::from_mins(1),
            timeout: Duration::from_secs(5),
            ca_file: None,
            max_pages: None,
            on_commit: Arc::new(|_| {}),
        }
    }
}

/// Why a ledger was not opened. `place` is its file, or its server without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another worker writes the file.
    #[error(
        "the ledger {place} is in use by another worker: give each worker its own queue and file, or \
         let them share a PostgreSQL ledger (LEDGER_URL=postgres://…)"
    )]
    InUse {
        /// The file.
        place: String,
    },
    /// A newer worker has written it.
    #[error(
        "the ledger {place} has schema {found}, and this worker knows no newer one than {known}: \
         start the newer worker again"
    )]
    Newer {
        /// The file or server.
        place: String,
        /// The schema's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file is damaged, or no SQLite database at all.
    #[error(
        "the ledger {place} is damaged ({detail}): restore a backup, or save what can be read with \
         `sqlite3 {place} .recover`; a new file would not recognise the events that come again"
    )]
    Corrupt {
        /// The file.
        place: String,
        /// SQLite's own words.
        detail: String,
    },
    /// Not as things stand: rights, a name that does not exist, a certificate.
    #[error("the ledger {place} cannot be used: {detail}")]
    Unusable {
        /// The file or server.
        place: String,
        /// What to put right.
        detail: String,
    },
    /// The server does not answer, or not yet: try again.
    #[error("the ledger {place} cannot be reached: {detail}")]
    Unreachable {
        /// The server.
        place: String,
        /// What happened.
        detail: String,
    },
}

impl OpenError {
    /// Whether waiting may help; otherwise somebody has to put something right.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Opens the ledger at `url`, creating and migrating it where need be.
pub async fn open(url: &LedgerUrl, options: Options) -> Result<Arc<dyn Ledger>, OpenError> {
    Ok(match url {
        LedgerUrl::Memory => {
            Arc::new(MemoryLedger::new(Arc::new(Store::default()), options.instance, options.retention))
        }
        LedgerUrl::Sqlite(path) => Arc::new(SqliteLedger::open(path.clone(), options).await?),
        LedgerUrl::Postgres(config) => Arc::new(PostgresLedger::open(config, options).await?),
    })
}
