//! The ledger: one conformance suite for every backend, a model, and each backend's own faults.

use imin_customer_worker::{
    event::EventKey,
    ledger::{Begun, Intent, Ledger},
    outcome::Account,
};
use std::sync::Arc;
use uuid::Uuid;

mod conformance;
mod memory;
mod model;
mod postgres;
mod sqlite;

/// A worker's ledger, as a test holds it.
struct Worker {
    instance: Uuid,
    ledger: Arc<dyn Ledger>,
}

impl std::ops::Deref for Worker {
    type Target = dyn Ledger;

    fn deref(&self) -> &Self::Target {
        &*self.ledger
    }
}

const GO: Begun = Begun::Go { possible_duplicate: false };
const GO_DESPITE: Begun = Begun::Go { possible_duplicate: true };

fn key() -> EventKey {
    EventKey(Uuid::new_v4())
}

fn intent(key: EventKey) -> Intent {
    Intent { key, attempt: 1, despite_unknown: false, not_created: None }
}

/// An intent under `AMBIGUOUS=retry`.
fn despite(key: EventKey) -> Intent {
    Intent { despite_unknown: true, ..intent(key) }
}

/// An intent that an operator's word allows.
fn on_word(key: EventKey, word: Uuid) -> Intent {
    Intent { not_created: Some(word), ..intent(key) }
}

fn account(identifier: &str) -> Account {
    Account { identifier: identifier.to_owned(), id: Some(format!("https://example.com/{identifier}")) }
}
