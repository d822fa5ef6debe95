//! Port to the ledger: what makes "no customer twice" true.
//!
//! A row says of an event key: a call may be under way, or which account came of it. It is
//! written durably before the first byte of a call goes out and after its answer, and holds
//! nothing of the customer. Owns the port and its words; each backend is an adapter of its own.

use crate::{event::EventKey, outcome::Account};
use futures_util::future::BoxFuture;
use uuid::Uuid;

mod claims;
pub mod inspect;
pub mod memory;
pub mod open;
pub mod postgres;
mod request;
mod row;
pub mod sqlite;

/// What the pipeline is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The event.
    pub key: EventKey,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether a call may be made although an earlier one may have made the account
    /// (`AMBIGUOUS=retry`).
    pub despite_unknown: bool,
    /// An operator's word that no earlier call made the account: the id of that word, which
    /// counts once, so that its redelivery cannot excuse a later ambiguous attempt.
    pub not_created: Option<Uuid>,
}

/// The ledger's answer to an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The attempt is on record, durably; call now, then `finish`.
    Go {
        /// An earlier attempt may have made the account.
        possible_duplicate: bool,
    },
    /// An earlier attempt may have made the account, and the intent does not allow for that.
    Unknown,
    /// The account is there already.
    Created(Recorded),
    /// The account is there, but nobody learnt its identifier: never call again.
    Unusable {
        /// Whether a second account may exist.
        possible_duplicate: bool,
    },
    /// Someone else is calling for this event right now.
    Held,
}

impl Begun {
    /// The account on record.
    fn recorded(self) -> Option<Recorded> {
        match self {
            Self::Created(recorded) => Some(recorded),
            Self::Go { .. } | Self::Unknown | Self::Unusable { .. } | Self::Held => None,
        }
    }
}

/// An account on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The account.
    pub account: Account,
    /// Whether its event was confirmed.
    pub published: bool,
    /// Whether a second account may exist.
    pub possible_duplicate: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// With an account.
    Created(Account),
    /// Certainly without one: the attempt leaves no trace, an earlier ambiguous one does.
    NothingMade,
    /// Nobody knows; the row stays, owned by nobody.
    Unknown,
    /// With an account whose identifier nobody learnt.
    Unusable,
}

/// Why the ledger could not answer. Nothing was called, and nothing may be, until it can.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the ledger {what}: {detail}")]
pub struct LedgerError {
    /// What it could not do: `cannot be written`.
    pub what: &'static str,
    /// The backend's own words.
    pub detail: String,
}

/// The ledger.
pub trait Ledger: Send + Sync {
    /// Puts an attempt on record, durably, unless the row says that none must be made.
    /// One atomic step: of two intents for one key, at the same time, one gets `Held`.
    fn begin(&self, intent: Intent) -> BoxFuture<'_, Result<Begun, LedgerError>>;
    /// Records how the attempt ended, durably. `Created` also stands without an attempt (an
    /// operator's word) and replaces any row but a `Created` one. The account on record then, if
    /// there is one: another worker's, where that one had taken this worker for dead.
    fn finish(&self, key: EventKey, how: Finish) -> BoxFuture<'_, Result<Option<Recorded>, LedgerError>>;
    /// Notes, lazily, that the created event was confirmed: lost, it costs a repeated event only.
    fn published(&self, key: EventKey);
    /// Whether the ledger could be written just now.
    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>>;
    /// Writes what is pending and lets go of the file, the leases and the pool.
    fn close(&self) -> BoxFuture<'_, Result<(), LedgerError>>;
}
