//! What the sandbox says: accounts, `OpenBookingError`s, and the odd bodies that a fault asks for.
//!
//! Owns bodies and their headers. Which of them a call gets is `api`'s.

use super::fault::{Odd, RetryAfter};
use crate::clock;
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use std::{
    io,
    time::{Duration, SystemTime},
};

/// The media type of the Open Booking API.
const MEDIA_TYPE: &str = "application/vnd.openactive.booking+json; version=1";
/// How long the sandbox waits before each byte of a dripping body.
const DRIP: Duration = Duration::from_millis(100);
/// How long a huge body is, in bytes.
const HUGE: usize = 1024 * 1024;

pub(super) type Reply = Response<Body>;

/// The request's body with `@id` and `identifier` added at its end; `body` is a JSON object with
/// something in it.
pub(super) fn mirrored(body: &[u8], base: &str, identifier: &str) -> Vec<u8> {
    let open = body.trim_ascii_end();
    let open = open.strip_suffix(b"}").unwrap_or(open);
    let added = format!(r#","@id":"{base}/customer-accounts/{identifier}","identifier":"{identifier}"}}"#);
    [open, added.as_bytes()].concat()
}

/// An account whose body was not kept.
pub(super) fn bare(base: &str, identifier: &str) -> Vec<u8> {
    mirrored(br#"{"@context":"https://openactive.io/","@type":"CustomerAccount"}"#, base, identifier)
}

/// A body of the API.
pub(super) fn api(status: StatusCode, body: impl Into<Body>) -> Reply {
    with_type(status, MEDIA_TYPE, body)
}

/// JSON of the sandbox's own.
pub(super) fn own(body: &impl Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(json) => with_type(StatusCode::OK, "application/json", json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A plain word of the sandbox's own.
pub(super) fn text(status: StatusCode, text: String) -> Reply {
    with_type(status, "text/plain; charset=utf-8", text)
}

/// A page, as a proxy in between would send it.
pub(super) fn html(status: StatusCode) -> Reply {
    with_type(status, "text/html", format!("<html><body><h1>{status}</h1></body></html>"))
}

fn with_type(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Reply {
    let bodyless = matches!(status.as_u16(), 204 | 205 | 304);
    let mut reply = Response::new(if bodyless { Body::empty() } else { body.into() });
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

/// An `OpenBookingError` with the class that goes with the status.
pub(super) fn error(status: StatusCode, description: &str) -> Reply {
    named_error(status, class(status), description)
}

/// An `OpenBookingError`.
pub(super) fn named_error(status: StatusCode, class: &str, description: &str) -> Reply {
    let body = json!({
        "@context": "https://openactive.io/",
        "@type": class,
        "statusCode": status.as_u16(),
        "description": description,
    });
    api(status, body.to_string())
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "IncompleteCustomerDetailsError",
        401 => "InvalidAPITokenError",
        403 => "UnauthenticatedError",
        404 => "NotFoundError",
        405 => "MethodNotAllowedError",
        410 => "GoneError",
        429 => "TooManyRequestsError",
        500 => "InternalApplicationError",
        _ => "OpenBookingError",
    }
}

/// `Retry-After`.
pub(super) fn retry_after(wait: RetryAfter) -> String {
    match wait {
        RetryAfter::Seconds(seconds) => seconds.to_string(),
        RetryAfter::Date(seconds) => {
            let now = SystemTime::try_from(clock::now()).unwrap_or(SystemTime::UNIX_EPOCH);
            httpdate::fmt_http_date(now + Duration::from_secs(seconds.into()))
        }
    }
}

/// A 201 for a request `sent` and its `mirrored` account, with a body that is not what it should be.
pub(super) fn odd(odd: Odd, sent: &[u8], mirrored: Vec<u8>) -> Reply {
    let length = mirrored.len();
    let mut reply = api(StatusCode::CREATED, odd_body(odd, sent, mirrored));
    match odd {
        Odd::Cut => reply.headers_mut().insert(header::CONTENT_LENGTH, length.into()),
        Odd::Gzip => reply.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        _ => None,
    };
    reply
}

fn odd_body(odd: Odd, sent: &[u8], mirrored: Vec<u8>) -> Body {
    match odd {
        Odd::Garbage => Body::from("{\"@type\": \"CustomerAcc"),
        Odd::NoIdentifier => Body::from(sent.to_vec()),
        Odd::Huge => Body::from([vec![b' '; HUGE - mirrored.len().min(HUGE)], mirrored].concat()),
        Odd::Endless => {
            let chunk = Bytes::from(vec![b' '; 8192]);
            Body::from_stream(stream::repeat_with(move || Ok::<_, io::Error>(chunk.clone())))
        }
        Odd::Drip => Body::from_stream(drip(mirrored.into())),
        Odd::Cut => Body::from_stream(cut(mirrored)),
        Odd::Gzip => {
            // The head of a gzip file, and a stream that nobody has to inflate to see the point.
            let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
            Body::from([head.to_vec(), vec![0; 64 * 1024]].concat())
        }
    }
}

fn drip(body: Bytes) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::unfold(body, |mut left| async {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(DRIP).await;
        let drop = left.split_to(1);
        Some((Ok(drop), left))
    })
}

fn cut(mut body: Vec<u8>) -> impl stream::Stream<Item = io::Result<Bytes>> {
    body.truncate(body.len() / 2);
    stream::unfold(Some(body), |half| async {
        if let Some(half) = half {
            return Some((Ok(half.into()), None));
        }
        // The first half goes out before the connection ends.
        tokio::task::yield_now().await;
        Some((Err(io::Error::other("cut")), None))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_mirror_adds_two_properties() {
        let body = mirrored(b" {\"customer\":{\"x\":1}} \n", "http://h/api/v2", "abc");
        let json: Value = serde_json::from_slice(&body).unwrap();
        let expected = json!({
            "customer": {"x": 1},
            "@id": "http://h/api/v2/customer-accounts/abc",
            "identifier": "abc",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_wait_is_a_number_or_a_date() {
        assert_eq!(retry_after(RetryAfter::Seconds(7)), "7");
        assert!(retry_after(RetryAfter::Date(7)).ends_with(" GMT"));
    }
}
