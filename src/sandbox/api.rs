//! imin's endpoints as its documentation has them, and the faults on the way.
//!
//! Owns what is checked, in which order, and what a call comes to. Bodies are `reply`'s.

use super::{
    Shared, admin,
    fault::{Effect, Fault, Words},
    reply::{self, Reply},
    state::Ending,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
};
use bytes::Bytes;
use hyper::body::Incoming;
use serde::Deserialize;
use std::{borrow::Cow, fmt, time::Duration};

/// The longest request body that is read, in bytes.
const LONGEST_REQUEST: usize = 2 * 1024 * 1024;

/// The connection ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hangup {
    /// By a TCP reset.
    Reset,
    /// In good order.
    Close,
}

impl fmt::Display for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hung up, as asked")
    }
}

impl std::error::Error for Hangup {}

/// Answers a request, or hangs up.
pub(super) async fn route(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Hangup> {
    let path = request.uri().path();
    if let Some(name) = path.strip_prefix("/sandbox/") {
        let name = name.to_owned();
        return Ok(admin::route(shared, &name, request).await);
    }
    match (path.strip_prefix("/api/v2/customer-accounts"), request.method()) {
        (Some(""), &Method::POST) => create(shared, request).await,
        (Some(""), _) => Ok(not_allowed("POST")),
        (Some(rest), method) if rest.starts_with('/') => match method {
            &Method::GET => Ok(read(shared, &rest[1..], request.headers())),
            _ => Ok(not_allowed("GET")),
        },
        _ => Ok(reply::named_error(
            StatusCode::NOT_FOUND,
            "UnknownOrIncorrectEndpointError",
            "No such endpoint.",
        )),
    }
}

/// 405 with the one method that there is.
pub(super) fn not_allowed(allowed: &'static str) -> Reply {
    let mut reply = reply::error(StatusCode::METHOD_NOT_ALLOWED, "This endpoint does not take that method.");
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    reply
}

fn read(shared: &Shared, identifier: &str, headers: &HeaderMap) -> Reply {
    if let Some(refusal) = refusal(shared, headers.get("x-api-key")) {
        return refusal;
    }
    match shared.state.find(identifier) {
        Some(body) if body.is_empty() => reply::api(StatusCode::OK, reply::bare(&shared.base, identifier)),
        Some(body) => reply::api(StatusCode::OK, reply::mirrored(&body, &shared.base, identifier)),
        None => reply::error(StatusCode::NOT_FOUND, "No such customer account."),
    }
}

/// Why this key is none, if it is none.
fn refusal(shared: &Shared, key: Option<&HeaderValue>) -> Option<Reply> {
    let Some(key) = key else {
        let description = "X-API-KEY is missing.";
        return Some(reply::named_error(StatusCode::FORBIDDEN, "NoAPITokenError", description));
    };
    let wrong = shared.api_key.as_deref().is_some_and(|expected| key.as_bytes() != expected.as_bytes());
    wrong.then(|| reply::error(StatusCode::UNAUTHORIZED, "This X-API-KEY is not known."))
}

async fn create(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Hangup> {
    let (head, body) = request.into_parts();
    let idempotency_key = idempotency_key(&head.headers);
    let api_key = head.headers.get("x-api-key").cloned();
    let mut call = shared.state.begin(idempotency_key.as_deref(), head.headers);
    let body = axum::body::to_bytes(Body::new(body), LONGEST_REQUEST).await;
    let reply = match (refusal(shared, api_key.as_ref()), body) {
        (Some(refusal), _) => Ok(refusal),
        (None, Ok(body)) => answer(shared, idempotency_key.as_deref(), &body).await,
        (None, Err(_)) => {
            Ok(reply::error(StatusCode::PAYLOAD_TOO_LARGE, "The body is too long, or broke off."))
        }
    };
    call.ends(match &reply {
        Ok(reply) => Ending::Status(reply.status().as_u16()),
        Err(Hangup::Reset) => Ending::Reset,
        Err(Hangup::Close) => Ending::Close,
    });
    reply
}

/// The key inside the quotes of a structured-field string; as it is where there are none.
fn idempotency_key(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("idempotency-key")?.to_str().ok()?;
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    Some(bare.unwrap_or(text).to_owned())
}

async fn answer(shared: &Shared, key: Option<&str>, body: &Bytes) -> Result<Reply, Hangup> {
    let customer = Customer::read(body);
    let email = customer.as_ref().ok().map(|customer| customer.email.as_ref());
    let fault = shared.state.fault(email);
    work(shared, shared.latency + fault.map_or(Duration::ZERO, |fault: Fault| fault.delay)).await;
    let effect = fault.map_or(Effect::Serve, |fault| fault.effect);
    let made = match &customer {
        Ok(customer) if effect.makes() => Some(make(shared, key, customer, body, effect)),
        _ => None,
    };
    let identifier = match made.transpose() {
        Ok(identifier) => identifier,
        Err(refusal) => return Ok(*refusal),
    };
    match effect {
        Effect::Timeout { .. } => std::future::pending().await,
        Effect::Reset { .. } => Err(Hangup::Reset),
        Effect::Close { .. } => Err(Hangup::Close),
        Effect::Status { status, .. } if !(200..300).contains(&status) => {
            Ok(refused(shared, effect, customer.as_ref().ok()))
        }
        Effect::Serve | Effect::Status { .. } | Effect::Body(_) => Ok(match (identifier, customer) {
            (Some(identifier), _) => created(shared, effect, body, &identifier),
            (None, Err(problem)) => reply::error(StatusCode::BAD_REQUEST, &problem),
            (None, Ok(_)) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, "No account was made."),
        }),
    }
}

/// Takes its time, at one of the places where there are only so many.
async fn work(shared: &Shared, time: Duration) {
    let _place = match &shared.places {
        Some(places) => places.acquire().await.ok(),
        None => None,
    };
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn make(
    shared: &Shared,
    key: Option<&str>,
    customer: &Customer<'_>,
    body: &[u8],
    effect: Effect,
) -> Result<String, Box<Reply>> {
    let made = shared.state.make(key, &customer.email, body, effect);
    made.map_err(|error| {
        let description = format!("The journal cannot be written: {error}");
        Box::new(reply::error(StatusCode::SERVICE_UNAVAILABLE, &description))
    })
}

fn created(shared: &Shared, effect: Effect, body: &[u8], identifier: &str) -> Reply {
    let mirrored = reply::mirrored(body, &shared.base, identifier);
    match effect {
        Effect::Body(odd) => reply::odd(odd, body, mirrored),
        Effect::Status { status, .. } => reply::api(code(status), mirrored),
        _ => reply::api(StatusCode::CREATED, mirrored),
    }
}

/// The answer of a fault with a status that is no success.
fn refused(shared: &Shared, effect: Effect, customer: Option<&Customer<'_>>) -> Reply {
    let Effect::Status { status, retry_after, words, .. } = effect else { return reply::html(code(500)) };
    let mut reply = match (words, customer) {
        (Words::Html, _) => reply::html(code(status)),
        (Words::Echo, Some(customer)) => {
            let Customer { email, given, family } = customer;
            reply::error(code(status), &format!("No account for {given} {family} <{email}>."))
        }
        _ => reply::error(code(status), "As asked for."),
    };
    let mut header = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            reply.headers_mut().insert(name, value);
        }
    };
    if let Some(wait) = retry_after {
        header(header::RETRY_AFTER, reply::retry_after(wait));
    }
    if (300..400).contains(&status) {
        // Back to here: whoever follows it shows as a second call.
        header(header::LOCATION, format!("{}/customer-accounts", shared.base));
    }
    reply
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What imin requires of a request.
struct Customer<'a> {
    email: Cow<'a, str>,
    given: Cow<'a, str>,
    family: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Account<'a> {
    #[serde(borrow, rename = "@context")]
    context: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "@type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    customer: Option<Person<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Person<'a> {
    #[serde(borrow, rename = "@type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    given_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    family_name: Option<Cow<'a, str>>,
}

impl<'a> Customer<'a> {
    /// The customer, or what is wrong with the request, in imin's place.
    fn read(body: &'a [u8]) -> Result<Self, String> {
        let account: Account<'a> = serde_json::from_slice(body)
            .map_err(|_| "The body is not a customer account as JSON.".to_owned())?;
        let person = account.customer.unwrap_or_default();
        let mut missing = Vec::new();
        let mut need = |value: Option<Cow<'a, str>>, name| {
            let value = value.unwrap_or_default();
            if value.is_empty() {
                missing.push(name);
            }
            value
        };
        need(account.context, "@context");
        need(account.kind, "@type");
        need(person.kind, "customer.@type");
        let customer = Self {
            email: need(person.email, "customer.email"),
            given: need(person.given_name, "customer.givenName"),
            family: need(person.family_name, "customer.familyName"),
        };
        if missing.is_empty() { Ok(customer) } else { Err(format!("Required: {}.", missing.join(", "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_missing_is_named_at_once() {
        let read = |body: &str| Customer::read(body.as_bytes()).map(|customer| customer.email.into_owned());
        assert_eq!(
            read(r#"{"@type":"CustomerAccount","customer":{"email":"a@b.example","givenName":""}}"#),
            Err("Required: @context, customer.@type, customer.givenName, customer.familyName.".into())
        );
        for bad in ["", "{", "7", r#"{"customer":{"email":7}}"#] {
            assert_eq!(read(bad), Err("The body is not a customer account as JSON.".into()), "{bad}");
        }
        let escaped = r#"{"@context":"c","@type":"t","customer":{"@type":"p","email":"\u0061@b.example",
            "givenName":"G","familyName":"F","more":{}}}"#;
        assert_eq!(read(escaped), Ok("a@b.example".into()));
    }

    #[test]
    fn a_key_loses_its_quotes() {
        let of = |text| {
            idempotency_key(&HeaderMap::from_iter([(
                header::HeaderName::from_static("idempotency-key"),
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(of("\"abc\"").as_deref(), Some("abc"));
        assert_eq!(of("abc").as_deref(), Some("abc"));
        assert_eq!(of("\"").as_deref(), Some("\""));
    }
}
