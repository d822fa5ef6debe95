//! A ledger of a test's own, in either backend, and what another program reads in it.

use super::postgres;
use rusqlite::Connection;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// A ledger's place.
pub(crate) enum Book {
    /// A file in a directory of its own.
    Sqlite(TempDir),
    /// The URL of a database of its own.
    Postgres(String),
}

/// Which backend.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl Book {
    /// An empty one.
    pub(crate) async fn new(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::Sqlite(tempfile::tempdir().expect("a directory")),
            Backend::Postgres => Self::Postgres(postgres::database().await),
        }
    }

    /// For `LEDGER_URL`.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite://{}", self.path().display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// The SQLite file.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Sqlite(directory) => directory.path().join("ledger.db"),
            Self::Postgres(url) => panic!("{url} is no file"),
        }
    }

    /// Every row, in words: `attempting`, `created, published`, `unknown, in doubt`.
    pub(crate) async fn rows(&self) -> Vec<String> {
        match self {
            Self::Sqlite(_) => self.read_file(),
            Self::Postgres(url) => {
                let client = postgres::connect(url).await;
                let sql = "SELECT state, published, possible_duplicate FROM imin_customer_worker_ledger";
                let rows = client.query(sql, &[]).await.expect("the ledger's table");
                rows.iter().map(|row| words(row.get(0), row.get(1), row.get(2))).collect()
            }
        }
    }

    /// Reads a copy, so that what the worker left is still there for the next one to mend.
    fn read_file(&self) -> Vec<String> {
        let copy = tempfile::tempdir().expect("a directory");
        for name in ["ledger.db", "ledger.db-wal"] {
            let original = self.path().with_file_name(name);
            if original.exists() {
                fs::copy(original, copy.path().join(name)).expect("a copy");
            }
        }
        let file = Connection::open(copy.path().join("ledger.db")).expect("a database");
        let sql = "SELECT state, published, possible_duplicate FROM ledger";
        let mut statement = file.prepare(sql).expect("the ledger's table");
        let rows = statement
            .query_map([], |row| {
                let state: String = row.get(0)?;
                Ok(words(&state, row.get(1)?, row.get(2)?))
            })
            .expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }
}

fn words(state: &str, published: bool, doubt: bool) -> String {
    format!("{state}{}{}", if published { ", published" } else { "" }, if doubt { ", in doubt" } else { "" })
}
