//! The ledger: there, known, writable, free.

use super::Finding;
use crate::{
    config::Config,
    ledger::{
        inspect::{self, Standing},
        open::{LedgerUrl, OpenError, Options},
    },
};
use uuid::Uuid;

/// Looks.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let Ok(url) = config.ledger.url.expose().parse::<LedgerUrl>() else {
        return vec![Finding::fail(
            "ledger",
            "LEDGER_URL is no ledger's",
            "Set it as `config reference` says",
        )];
    };
    let options = Options { ca_file: config.ledger.ca_file.clone(), ..Options::new(Uuid::new_v4()) };
    vec![match inspect::inspect(&url, &options).await {
        Ok(standing) => stands(&url, &standing),
        Err(error) => refused(&url, &error),
    }]
}

fn stands(url: &LedgerUrl, standing: &Standing) -> Finding {
    match standing {
        Standing::InMemory => Finding::fail(
            "ledger",
            "it is kept in memory and gone with the worker: events that come again make customers again",
            "Set LEDGER_URL to sqlite:// or postgres://",
        ),
        Standing::Absent => Finding::ok("ledger", format!("{url} is not there yet; the worker can make it")),
        Standing::InUse => {
            Finding::ok("ledger", format!("{url} is held by a worker, which is as it should be"))
        }
        Standing::Ready { schema, known } if schema < known => Finding::ok(
            "ledger",
            format!("{url} has schema {schema}; the worker brings it to {known} when it starts"),
        ),
        Standing::Ready { schema, .. } => {
            Finding::ok("ledger", format!("{url} can be written, its schema is {schema}"))
        }
    }
}

fn refused(url: &LedgerUrl, error: &OpenError) -> Finding {
    let what = error.to_string();
    let remedy = match (error, url) {
        (OpenError::Unusable { .. }, LedgerUrl::Sqlite(_)) => {
            "Give the worker's user a directory that it may write (and run the doctor as that user)"
        }
        (OpenError::Unusable { .. } | OpenError::Unreachable { .. }, _) => {
            "Check LEDGER_URL, the server, and what its pg_hba.conf and grants let this user do"
        }
        // These say themselves what to do.
        _ => "Until then the worker does not start",
    };
    Finding::fail("ledger", what, remedy)
}
