//! What happened to an event, and what is to be done about it: one pure decision.
//!
//! Owns the classes of the answers, the closed sets of reasons and causes that labels and headers
//! use, and `decide`. When a retry comes is `retry`'s; carrying it out is `pipeline`'s.

use serde_json::json;
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

/// What became of an event, as far as it got: the argument of the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// imin was called.
    Called(Answer),
    /// The account is on record already, and its event was confirmed.
    Duplicate,
    /// The event breaks the rules.
    Invalid,
    /// An earlier attempt may have made the account, and the policy or the ledger forbids another.
    Unknown,
    /// An earlier attempt made an account whose identifier nobody learnt.
    UnusableBefore,
    /// Nothing was tried: the worker stops, or is paused for longer than it may hold a message.
    Interrupted,
}

/// What has been spent on an event so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Attempts that count, this one included.
    pub attempts: u32,
    /// The time since the first attempt.
    pub elapsed: Duration,
    /// The call was a probe: imin is known to be in trouble, so its failure is not the message's.
    pub probe: bool,
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// An event is given up after this many attempts.
    pub max_attempts: u32,
    /// An event is given up this long after its first attempt.
    pub max_elapsed: Duration,
    /// What to do when nobody can know.
    pub ambiguous: Ambiguous,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Duration,
}

/// What to do with an event whose call may have made the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguous {
    /// Call again, and flag the event that comes of it.
    Retry,
    /// Dead-letter it, and let a person look.
    Park,
}

/// What is to be done: the log line, the metric and the broker's verb are all read from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Publish what was not confirmed yet, then ack.
    Complete(Done),
    /// Wait, then try again.
    Retry {
        /// Why.
        cause: Cause,
        /// At least this long, whatever the schedule says: `Retry-After`, clamped.
        at_least: Duration,
        /// Whether the attempt counts.
        spent: bool,
    },
    /// Publish as a dead letter, then ack.
    DeadLetter(Reason),
    /// Give the message back, with no attempt spent.
    Release,
}

/// How an event can be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// An account was made now.
    Created,
    /// It was there already.
    Duplicate,
}

/// Why an event is a dead letter: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The event breaks the rules.
    InvalidEvent,
    /// imin refuses this customer.
    RejectedByApi,
    /// Tried too often, or for too long.
    RetriesExhausted,
    /// The account may or may not exist.
    OutcomeUnknown,
    /// The account exists, its identifier is not known.
    UnusableResponse,
    /// The broker delivered it too often without an answer.
    DeliveryLimit,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::InvalidEvent,
        Self::RejectedByApi,
        Self::RetriesExhausted,
        Self::OutcomeUnknown,
        Self::UnusableResponse,
        Self::DeliveryLimit,
    ];

    /// As headers and labels say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidEvent => "invalid_event",
            Self::RejectedByApi => "rejected_by_api",
            Self::RetriesExhausted => "retries_exhausted",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::UnusableResponse => "unusable_response",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// Why a message is retried: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No connection to imin.
    Connect,
    /// imin's name did not resolve.
    Dns,
    /// The TLS handshake with imin failed.
    Tls,
    /// imin said: too many requests.
    RateLimited,
    /// imin said: not now (408, 425, 503).
    Unavailable,
    /// Nobody knows what came of the call.
    Ambiguous,
    /// The key or the URL is wrong.
    Misconfigured,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Dns,
        Self::Tls,
        Self::RateLimited,
        Self::Unavailable,
        Self::Ambiguous,
        Self::Misconfigured,
    ];

    /// As labels say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Ambiguous => "ambiguous",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// Whether it says nothing at all about the message: such a retry is never counted against it.
    const fn is_an_outage(self) -> bool {
        matches!(self, Self::Connect | Self::Dns | Self::Tls | Self::RateLimited | Self::Misconfigured)
    }
}

impl Disposition {
    /// The outcome's label in `outcomes_total`; none for a retry, which is not an end.
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::Complete(Done::Created) => Some("created"),
            Self::Complete(Done::Duplicate) => Some("duplicate"),
            Self::DeadLetter(reason) => Some(match reason {
                Reason::InvalidEvent => "invalid",
                Reason::RejectedByApi => "rejected",
                Reason::RetriesExhausted | Reason::DeliveryLimit => "exhausted",
                Reason::OutcomeUnknown => "unknown",
                Reason::UnusableResponse => "unusable",
            }),
            Self::Release => Some("released"),
            Self::Retry { .. } => None,
        }
    }
}

/// Decides.
pub fn decide(outcome: &Outcome, spent: Spent, policy: &Policy) -> Disposition {
    match outcome {
        Outcome::Called(answer) => decide_answer(answer, spent, policy),
        Outcome::Duplicate => Disposition::Complete(Done::Duplicate),
        Outcome::Invalid => Disposition::DeadLetter(Reason::InvalidEvent),
        Outcome::Unknown => Disposition::DeadLetter(Reason::OutcomeUnknown),
        Outcome::UnusableBefore => Disposition::DeadLetter(Reason::UnusableResponse),
        Outcome::Interrupted => Disposition::Release,
    }
}

fn decide_answer(answer: &Answer, spent: Spent, policy: &Policy) -> Disposition {
    match answer {
        Answer::Created(_) => Disposition::Complete(Done::Created),
        Answer::Unusable { .. } => Disposition::DeadLetter(Reason::UnusableResponse),
        Answer::Rejected { .. } => Disposition::DeadLetter(Reason::RejectedByApi),
        Answer::Misconfigured { .. } => retry(Cause::Misconfigured, None, spent, policy),
        Answer::NotDone { cause, retry_after } => retry(cause.cause(), *retry_after, spent, policy),
        Answer::Ambiguous { .. } => match policy.ambiguous {
            Ambiguous::Retry => retry(Cause::Ambiguous, None, spent, policy),
            Ambiguous::Park => Disposition::DeadLetter(Reason::OutcomeUnknown),
        },
    }
}

fn retry(cause: Cause, retry_after: Option<Duration>, spent: Spent, policy: &Policy) -> Disposition {
    let counts = !cause.is_an_outage() && !spent.probe;
    let used_up = spent.attempts >= policy.max_attempts || spent.elapsed >= policy.max_elapsed;
    if counts && used_up {
        return Disposition::DeadLetter(Reason::RetriesExhausted);
    }
    let at_least = retry_after.unwrap_or_default().min(policy.retry_after_max);
    Disposition::Retry { cause, at_least, spent: counts }
}

impl NotDone {
    /// The cause of the retry that follows.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Connect => Cause::Connect,
            Self::Dns => Cause::Dns,
            Self::Tls => Cause::Tls,
            Self::Status(429) => Cause::RateLimited,
            Self::Status(_) => Cause::Unavailable,
        }
    }
}

impl Answer {
    /// The status and the detail for a dead letter: nothing of the customer.
    pub fn detail(&self) -> (Option<u16>, serde_json::Value) {
        match self {
            Self::Created(_) => (None, json!({})),
            Self::Unusable { status } | Self::Misconfigured { status } => (Some(*status), json!({})),
            Self::Rejected { status, kind, description } => {
                (Some(*status), json!({ "type": kind, "description": description }))
            }
            Self::NotDone { cause, .. } => (cause.status(), json!({ "cause": cause.cause().as_str() })),
            Self::Ambiguous { cause } => (cause.status(), cause.detail()),
        }
    }
}

impl NotDone {
    const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Connect | Self::Dns | Self::Tls => None,
        }
    }
}

impl Ambiguity {
    const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Timeout | Self::Reset | Self::OpenAttempt => None,
        }
    }

    /// The detail for a dead letter.
    pub fn detail(self) -> serde_json::Value {
        let how = match self {
            Self::Status(_) => "status",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::OpenAttempt => "open_attempt",
        };
        json!({ "cause": "ambiguous", "ended": how })
    }
}

#[cfg(test)]
mod tests;
