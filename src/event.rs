//! From a message to a *create customer* event: the three encodings, the identity, the trace.
//!
//! Owns the envelope. What a customer must look like is `customer`'s; JSON itself is `json`'s.

use crate::{message::Message, problem::Problem};
use bytes::Bytes;
use jiff::civil::Date;
use std::fmt;
use uuid::Uuid;

/// The identity of an event, a UUIDv5 of its source and id: the ledger's key, the `Idempotency-Key`
/// of every call for it, the id of the event that goes out, and the only name of it in a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey(pub Uuid);

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// W3C Trace Context of the incoming message, passed on as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`, checked for its form.
    pub parent: Option<String>,
    /// `tracestate`, only beside a `traceparent`.
    pub state: Option<String>,
}

/// A valid *create customer* event. `Debug` shows no field of the customer.
#[derive(Clone)]
pub struct Event {
    /// Its identity.
    pub key: EventKey,
    /// The incoming id: the outgoing event's `causationid`.
    pub id: String,
    /// The sender's own key for the customer.
    pub subject: Option<String>,
    /// The trace it belongs to.
    pub trace: Trace,
    /// imin's request body: the event's data with the constants supplied, otherwise byte for byte.
    pub request: Bytes,
}

/// An event that can never be called for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The identity, from the body's hash where the message gives none.
    pub key: EventKey,
    /// Every problem found, at least one.
    pub problems: Vec<Problem>,
}

/// Reads an event; `today` is the last date that is not in the future.
pub fn read(message: &Message, today: Date) -> Result<Event, Invalid> {
    let _ = (message, today);
    unimplemented!("contract")
}
