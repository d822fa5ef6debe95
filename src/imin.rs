//! Port to imin: create one customer account, and say what became of the call.
//!
//! Owns the request, the key and the port. What an answer means is `outcome`'s; reqwest is
//! `imin::http`'s.

use crate::{
    event::{EventKey, Trace},
    outcome::{Ambiguity, Answer, NotDone},
    spans::Parent,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::{borrow::Cow, fmt, sync::Arc};

mod classify;
pub mod http;
mod scrub;

/// One *Create Customer Account* request.
#[derive(Clone)]
pub struct Create {
    /// Sent as `Idempotency-Key`, the same over every attempt of one event.
    pub key: EventKey,
    /// The JSON body, ready to send.
    pub body: Bytes,
    /// Sent as `traceparent` and `tracestate`, where the call has no span of its own.
    pub trace: Trace,
    /// What the call's span belongs to.
    pub parent: Parent,
    /// How many calls for this event went before this one, as far as anybody counts.
    pub resends: u32,
}

/// What an answer with this status, `Retry-After` and body means, `request` being the body that was sent.
/// For whoever tries the reading of answers with bytes of his own: `fuzz/` and its corpus.
#[doc(hidden)]
pub fn understand(
    status: u16,
    retry_after: Option<&[u8]>,
    body: &[u8],
    request: &[u8],
    now: Timestamp,
) -> Answer {
    let retry_after = retry_after.and_then(|value| classify::retry_after(value, now));
    classify::answer(&classify::Heard { status, retry_after, body: Some(body) }, request)
}

/// Whoever makes customer accounts.
pub trait Accounts: Send + Sync {
    /// Calls once, bounded in time. Dropping the future abandons a call whose outcome is then unknown.
    fn create(&self, request: Create) -> BoxFuture<'_, Answer>;
}

/// imin's API key. It can stand in a header, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Arc<str>);

/// Why a text is no API key. It does not carry the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Nothing in it.
    #[error("the API key is empty")]
    Empty,
    /// It cannot stand in a header.
    #[error("the API key has a space, a control character or a letter outside ASCII in it")]
    NotVisible,
}

impl ApiKey {
    /// A key: one or more visible ASCII characters.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        if text.is_empty() {
            return Err(BadKey::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadKey::NotVisible);
        }
        Ok(Self(text.into()))
    }

    /// The key itself, for the header.
    pub(in crate::imin) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// The `status` label of a call: the HTTP status where there was one, else how the call ended.
/// An account made counts as 201, also where imin said 200.
pub fn status_label(answer: &Answer) -> Cow<'static, str> {
    let status = match *answer {
        Answer::Created(_) => return "201".into(),
        Answer::Unusable { status }
        | Answer::Rejected { status, .. }
        | Answer::Misconfigured { status }
        | Answer::NotDone { cause: NotDone::Status(status), .. }
        | Answer::Ambiguous { cause: Ambiguity::Status(status) } => status,
        Answer::NotDone { cause: NotDone::Connect, .. } => return "connect".into(),
        Answer::NotDone { cause: NotDone::Dns, .. } => return "dns".into(),
        Answer::NotDone { cause: NotDone::Tls, .. } => return "tls".into(),
        Answer::Ambiguous { cause: Ambiguity::Timeout } => return "timeout".into(),
        Answer::Ambiguous { cause: Ambiguity::Reset } => return "reset".into(),
        Answer::Ambiguous { cause: Ambiguity::OpenAttempt } => return "open_attempt".into(),
    };
    status.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_not_shown() {
        assert_eq!(ApiKey::new("").unwrap_err(), BadKey::Empty);
        for bad in ["a b", "a\n", "ключ", "\u{7f}"] {
            assert_eq!(ApiKey::new(bad).unwrap_err(), BadKey::NotVisible, "{bad:?}");
        }
        let key = ApiKey::new("s3cret!").unwrap();
        assert_eq!(key.reveal(), "s3cret!");
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
    }

    #[test]
    fn a_label_is_the_status_or_how_the_call_ended() {
        let label = |answer| status_label(&answer).into_owned();
        let not_done = |cause| label(Answer::NotDone { cause, retry_after: None });
        let ambiguous = |cause| label(Answer::Ambiguous { cause });
        assert_eq!(label(Answer::Unusable { status: 204 }), "204");
        assert_eq!(label(Answer::Misconfigured { status: 401 }), "401");
        assert_eq!(not_done(NotDone::Status(503)), "503");
        assert_eq!(not_done(NotDone::Tls), "tls");
        assert_eq!(ambiguous(Ambiguity::Status(500)), "500");
        assert_eq!(ambiguous(Ambiguity::Reset), "reset");
    }
}
