//! Port to imin: create one customer account, and say what became of the call.
//!
//! Owns the request and the port. What an answer means is `outcome`'s; reqwest is `imin::http`'s.

use crate::{
    event::{EventKey, Trace},
    outcome::Answer,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;

pub mod http;

/// One *Create Customer Account* request.
#[derive(Clone)]
pub struct Create {
    /// Sent as `Idempotency-Key`, the same over every attempt of one event.
    pub key: EventKey,
    /// The JSON body, ready to send.
    pub body: Bytes,
    /// Sent as `traceparent` and `tracestate`.
    pub trace: Trace,
}

/// Whoever makes customer accounts.
pub trait Accounts: Send + Sync {
    /// Calls once, bounded in time. Dropping the future abandons a call whose outcome is then unknown.
    fn create(&self, request: Create) -> BoxFuture<'_, Answer>;
}
