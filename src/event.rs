//! From a message to a *create customer* event: the three encodings, the identity, the trace.
//!
//! Owns the envelope. What a customer must look like is `customer`'s; JSON itself is `json`'s.
//! Each submodule answers one question: which encoding, which attributes, where the data lies,
//! which identity, which trace.

use crate::{
    message::{Message, ShortString},
    problem::{Path, Problem, Problems},
};
use attributes::Attributes;
use bytes::Bytes;
use encoding::Encoding;
use jiff::civil::Date;
use std::fmt;
use uuid::Uuid;

mod attributes;
mod body;
mod data;
mod encoding;
mod identity;
#[cfg(test)]
mod tests;
mod trace;

pub use body::MAX_BODY;

/// The `type` that every event in must have, whichever way it is written.
pub const CREATE_CUSTOMER: &str = "CreateCustomer";

/// The identity of an event, a version 5 UUID of its source and id: the ledger's key, the `Idempotency-Key`
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
    /// The trace it belongs to all the same.
    pub trace: Trace,
    /// Every problem found, at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Reads an event; `today` is the last date that is not in the future.
///
/// The error lists every problem of envelope and data at once. The same message always gives the
/// same key, and so does the same CloudEvent in another encoding.
pub fn read(message: &Message, today: Date) -> Result<Event, Invalid> {
    let mut problems = Problems::default();
    let text = body::text(message, &mut problems);
    let tree = text.and_then(|text| body::tree(text, &Path::Root, &mut problems));
    let encoding = Encoding::of(message);
    let attributes = Attributes::of(encoding, message, tree.as_ref());
    let envelope = attributes::check(encoding, message, attributes.as_ref(), &mut problems);
    let data = data::read(encoding, message, text, tree.as_ref(), today, &mut problems);
    let (key, id) = identity::of(&envelope, message);
    match data {
        Some((data, missing)) if problems.is_empty() => Ok(Event {
            key,
            id,
            subject: envelope.subject.map(str::to_owned),
            trace: trace::read(message, attributes.as_ref()),
            request: missing.supply(&data),
        }),
        _ => Err(Invalid {
            key,
            trace: trace::read(message, attributes.as_ref()),
            problems: problems.into_list(),
        }),
    }
}

/// The id of a message that brings none: by which it is known as long as its body stays the same.
pub fn id_of_body(body: &[u8]) -> String {
    identity::sha256(body)
}

/// A property's text, where it is set: some clients send an empty one for one that is not.
fn set(property: Option<&ShortString>) -> Option<&str> {
    property.map(ShortString::as_str).filter(|text| !text.is_empty())
}
