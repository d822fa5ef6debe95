//! What happened to an event, and what is to be done about it: one pure decision.
//!
//! Owns the classes of the answers, the closed sets of reasons and causes that labels and headers
//! use, and `decide`. When a retry comes is `retry`'s; carrying it out is `pipeline`'s.

use crate::problem::Problem;
use std::time::Duration;

/// An account at imin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// imin's opaque identifier.
    pub identifier: String,
    /// The account's `@id`, where the answer gave one.
    pub id: Option<String>,
}

/// What one call to imin came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 201 or 200 with an identifier.
    Created(Account),
    /// 2xx without a usable identifier: the account exists, and must never be created again.
    Unusable {
        /// The HTTP status.
        status: u16,
    },
    /// imin refuses this customer: 400, 409, 410, 413, 415, 422 and other 4xx.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The error's `@type`, cut and stripped of values from the event.
        kind: Option<String>,
        /// The error's `description`, cut and stripped of values from the event.
        description: Option<String>,
    },
    /// Certainly nothing was made.
    NotDone {
        /// Why.
        cause: NotDone,
        /// `Retry-After`, not yet clamped.
        retry_after: Option<Duration>,
    },
    /// The account may have been made.
    Ambiguous {
        /// How the call ended.
        cause: Ambiguity,
    },
    /// The key or the URL is wrong: every message would fail in the same way.
    Misconfigured {
        /// 401, 403, 404, 405 or 3xx.
        status: u16,
    },
}

/// Why a call certainly made nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotDone {
    /// The connection was refused, or could not be made in time.
    Connect,
    /// The name did not resolve.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// 408, 425, 429 or 503.
    Status(u16),
}

/// How a call ended that may have made an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ambiguity {
    /// 500, 502, 504 or another 5xx.
    Status(u16),
    /// No answer in time.
    Timeout,
    /// The connection broke after the request may have gone out.
    Reset,
    /// A worker died, or let go, with the call under way.
    OpenAttempt,
}
