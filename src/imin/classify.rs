//! What imin's answer means: status, body and `Retry-After` to a class. Pure.
//!
//! Owns the reading of imin's bodies. What broke before an answer came is `imin::http`'s.

use super::scrub::Secrets;
use crate::outcome::{Account, Ambiguity, Answer, NotDone};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

/// The longest identifier or `@id` that is taken for one, in bytes.
const LONGEST_IDENTIFIER: usize = 512;

/// imin's answer, as far as it was heard.
pub(super) struct Heard<'a> {
    /// The HTTP status.
    pub(super) status: u16,
    /// `Retry-After`, parsed.
    pub(super) retry_after: Option<Duration>,
    /// The whole body; none where it was too long, broke off, or nobody asked for it.
    pub(super) body: Option<&'a [u8]>,
}

/// Whether the body of an answer with this status has a say in its class.
pub(super) fn reads_body(status: u16) -> bool {
    matches!(class(status), Class::Made | Class::Rejected)
}

/// What the answer to `request` (the body that was sent) means.
pub(super) fn answer(heard: &Heard<'_>, request: &[u8]) -> Answer {
    let status = heard.status;
    match class(status) {
        Class::Made => made(status, heard.body),
        Class::Misconfigured => Answer::Misconfigured { status },
        Class::NotDone => Answer::NotDone { cause: NotDone::Status(status), retry_after: heard.retry_after },
        Class::Rejected => rejected(status, heard.body, request),
        Class::Ambiguous => Answer::Ambiguous { cause: Ambiguity::Status(status) },
    }
}

/// `Retry-After`: seconds, or a date, which is a wait of nothing once it is past.
pub(super) fn retry_after(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let (date, now) = (httpdate::parse_http_date(text).ok()?, SystemTime::try_from(now).ok()?);
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// The design's table of classes, by status alone.
enum Class {
    Made,
    Misconfigured,
    NotDone,
    Rejected,
    Ambiguous,
}

fn class(status: u16) -> Class {
    match status {
        200..=299 => Class::Made,
        300..=399 | 401 | 403 | 404 | 405 | 407 => Class::Misconfigured,
        408 | 425 | 429 | 503 => Class::NotDone,
        400..=499 => Class::Rejected,
        // 5xx, and what is no final status at all.
        _ => Class::Ambiguous,
    }
}

/// Only 200 and 201 say that the account is there *and* which it is: a 202, say, promises neither.
fn made(status: u16, body: Option<&[u8]>) -> Answer {
    match body.and_then(account) {
        Some(account) if matches!(status, 200 | 201) => Answer::Created(account),
        _ => Answer::Unusable { status },
    }
}

/// What of an account counts here. The rest mirrors the request, and is skipped instead of kept.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    identifier: Cow<'a, str>,
    #[serde(rename = "@id", borrow)]
    id: Option<Cow<'a, str>>,
}

fn account(body: &[u8]) -> Option<Account> {
    match serde_json::from_slice(body) {
        Ok(Named { identifier, id }) => {
            let text = |text: Cow<'_, str>| Some(text.into_owned()).filter(|text| usable(text));
            Some(Account { identifier: text(identifier)?, id: id.and_then(text) })
        }
        Err(_) => account_of(body),
    }
}

/// The same of an account that is written oddly: a name that stands twice, an `@id` that is no text.
fn account_of(body: &[u8]) -> Option<Account> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let text = |name| json.get(name).and_then(Value::as_str).filter(|text| usable(text)).map(str::to_owned);
    Some(Account { identifier: text("identifier")?, id: text("@id") })
}

fn usable(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST_IDENTIFIER && !text.chars().any(char::is_control)
}

fn rejected(status: u16, body: Option<&[u8]>, request: &[u8]) -> Answer {
    let error: Value = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let secrets = Secrets::of(request);
    let text = |name| error.get(name).and_then(Value::as_str);
    Answer::Rejected {
        status,
        kind: text("@type").and_then(|kind| known(kind).or_else(|| secrets.scrub(kind))),
        description: text("description").and_then(|description| secrets.scrub(description)),
    }
}

/// The names of errors that are public knowledge pass as they are: a customer called Tom
/// must not turn every `IncompleteCustomerDetailsError` into dots.
fn known(kind: &str) -> Option<String> {
    const KNOWN: [&str; 13] = [
        "GoneError",
        "IncompleteCustomerDetailsError",
        "InternalApplicationError",
        "InvalidAPITokenError",
        "InvalidAuthorizationDetailsError",
        "MethodNotAllowedError",
        "NoAPITokenError",
        "NotFoundError",
        "OpenBookingError",
        "TooManyRequestsError",
        "UnauthenticatedError",
        "UnknownOrIncorrectEndpointError",
        "UpdateFailedError",
    ];
    KNOWN.contains(&kind).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hear(status: u16, body: &str) -> Answer {
        answer(&Heard { status, retry_after: None, body: Some(body.as_bytes()) }, b"{}")
    }

    #[test]
    fn created_wants_200_or_201_and_an_identifier() {
        let account = Account { identifier: "abc".into(), id: Some("https://x.example/abc".into()) };
        for status in [200, 201] {
            assert_eq!(
                hear(status, r#"{"@id":"https://x.example/abc","identifier":"abc","more":[null]}"#),
                Answer::Created(account.clone())
            );
        }
        for status in [202, 204, 206, 299] {
            assert_eq!(hear(status, r#"{"identifier":"abc"}"#), Answer::Unusable { status });
        }
    }

    #[test]
    fn an_id_is_optional_an_identifier_is_not() {
        let alone = Answer::Created(Account { identifier: "abc".into(), id: None });
        for body in
            [r#"{"identifier":"abc"}"#, r#"{"identifier":"abc","@id":7}"#, r#"{"identifier":"abc","@id":""}"#]
        {
            assert_eq!(hear(201, body), alone, "{body}");
        }
        let long = format!(r#"{{"identifier":"{}"}}"#, "x".repeat(513));
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"identifier":null}"#,
            r#"{"identifier":7}"#,
            r#"{"identifier":""}"#,
            r#"{"identifier":"  "}"#,
            r#"{"identifier":"a\nb"}"#,
            r#"{"identifier":"abc""#,
            long.as_str(),
        ] {
            assert_eq!(hear(201, body), Answer::Unusable { status: 201 }, "{body}");
        }
        let none = Heard { status: 201, retry_after: None, body: None };
        assert_eq!(answer(&none, b"{}"), Answer::Unusable { status: 201 });
    }

    #[test]
    fn a_rejection_is_read_leniently() {
        let rejected = |kind: Option<&str>, description: Option<&str>| Answer::Rejected {
            status: 400,
            kind: kind.map(Into::into),
            description: description.map(Into::into),
        };
        assert_eq!(
            hear(400, r#"{"@type":"UpdateFailedError","description":"no"}"#),
            rejected(Some("UpdateFailedError"), Some("no"))
        );
        assert_eq!(hear(400, r#"{"@type":["x"],"description":"no"}"#), rejected(None, Some("no")));
        for body in ["", "no JSON", "[]", "null", r#""text""#] {
            assert_eq!(hear(400, body), rejected(None, None), "{body}");
        }
    }

    #[test]
    fn a_known_kind_outlives_an_unlucky_name() {
        let request = br#"{"customer":{"givenName":"Tom"}}"#;
        let body = br#"{"@type":"IncompleteCustomerDetailsError","description":"Tom is no customer"}"#;
        let heard = Heard { status: 400, retry_after: None, body: Some(body) };
        assert_eq!(
            answer(&heard, request),
            Answer::Rejected {
                status: 400,
                kind: Some("IncompleteCustomerDetailsError".into()),
                description: Some("… is no …".into()),
            }
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let read = |text: &str| retry_after(text.as_bytes(), now);
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read(" 120 "), Some(Duration::from_mins(2)));
        assert_eq!(read("Fri, 02 Jan 2026 03:05:05 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(read("Fri, 02 Jan 2026 03:04:00 GMT"), Some(Duration::ZERO));
        for bad in ["", "-1", "+1", "1.5", "soon", "99999999999999999999999", "1 2"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(retry_after(b"\xff", now), None);
    }

    proptest! {
        #[test]
        fn every_status_has_its_class(status in 100_u16..1000, body in ".*") {
            let answer = hear(status, &body);
            let expected = match status {
                200..=299 => matches!(answer, Answer::Created(_) | Answer::Unusable { .. }),
                300..=399 | 401 | 403 | 404 | 405 | 407 => answer == Answer::Misconfigured { status },
                408 | 425 | 429 | 503 => matches!(answer, Answer::NotDone { .. }),
                400..=499 => matches!(answer, Answer::Rejected { .. }),
                _ => answer == Answer::Ambiguous { cause: Ambiguity::Status(status) },
            };
            prop_assert!(expected, "{status}: {answer:?}");
        }

        #[test]
        fn no_body_panics_and_no_identifier_is_unsafe(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let heard = Heard { status: 201, retry_after: None, body: Some(&body) };
            if let Answer::Created(account) = answer(&heard, b"{}") {
                prop_assert!(usable(&account.identifier));
            }
        }

        #[test]
        fn any_header_is_survived(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let now = Timestamp::UNIX_EPOCH;
            if let Some(wait) = retry_after(&value, now) {
                prop_assert!(std::str::from_utf8(&value).is_ok(), "{wait:?}");
            }
        }
    }
}
