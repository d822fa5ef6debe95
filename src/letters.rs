//! The messages that the worker writes: the created event, the dead letter, the message put back.
//!
//! Pure. Owns the headers that travel with a message from one delivery to the next, and which of a
//! message's own headers must not travel: the broker acts on some of them.

use crate::{
    NAME, VERSION,
    broker::{Names, Publication},
    event::{Event, EventKey, Trace},
    ledger::Recorded,
    message::{Headers, Message, Properties, ShortString, Value, long, number},
    outcome::Reason,
};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

pub mod death;
pub mod replay;

/// The `type` of the event that goes out.
pub const CREATED: &str = "CustomerAccountCreated";
/// Its `source`.
pub const SOURCE: &str = "/imin-customer-worker";

/// Attempts that count so far.
pub const ATTEMPTS: &str = "attempts";
/// Failures in a row so far: where the schedule stands.
pub const FAILURES: &str = "failures";
/// When the first attempt was made.
pub const FIRST_ATTEMPT_AT: &str = "first-attempt-at";
/// Before when the message must not be tried.
pub const NOT_BEFORE: &str = "not-before";
/// The exchange the sender published to.
pub const ORIGINAL_EXCHANGE: &str = "original-exchange";
/// The routing key the sender used.
pub const ORIGINAL_ROUTING_KEY: &str = "original-routing-key";
/// How often an operator replayed the message.
pub const REPLAY_COUNT: &str = "replay-count";
/// An operator's word on an unknown outcome: `not-created` or `created`.
pub const RESOLUTION: &str = "resolution";
/// The id of that word, which counts once.
pub const RESOLUTION_ID: &str = "resolution-id";
/// The identifier that the operator found at imin.
pub const RESOLUTION_IDENTIFIER: &str = "resolution-identifier";

/// The header of an outgoing event that tells this worker's from another's.
pub const INSTANCE: &str = "worker-instance";

/// Headers that say how far a message got; a dead letter says it in `failure-*` instead.
const TRAVELLING: [&str; 6] =
    [ATTEMPTS, FAILURES, NOT_BEFORE, RESOLUTION, RESOLUTION_ID, RESOLUTION_IDENTIFIER];
/// Headers that tell of a message's way so far, beside those of `TRAVELLING`: the worker's to write.
const TOLD: [&str; 11] = [
    FIRST_ATTEMPT_AT,
    ORIGINAL_EXCHANGE,
    ORIGINAL_ROUTING_KEY,
    REPLAY_COUNT,
    "failure-reason",
    "failure-detail",
    "failure-status",
    "failure-attempts",
    "failure-at",
    "event-key",
    "worker-version",
];
/// Headers that the broker writes and acts upon: on RabbitMQ before 4.0 a client's own `x-death` makes
/// it see a cycle and drop the message, and `CC` routes a copy.
const BROKERS: [&str; 9] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    "x-delivery-count",
    "x-acquired-count",
];
/// Headers that route copies, renamed so that they say what they said without doing it again.
const ROUTING: [(&str, &str); 2] = [("CC", "original-cc"), ("BCC", "original-bcc")];
/// What all headers together may take: RabbitMQ's default frame of 128 KiB less room for the rest.
const HEADERS_MAX: usize = 120 * 1024;
/// No identifier of imin's is longer: what is, is no operator's word.
const IDENTIFIER_MAX: usize = 512;
/// What a failure's detail may take.
const DETAIL_MAX: usize = 32 * 1024;

/// Headers while they are worked on: lapin's table can only grow.
type Table = BTreeMap<ShortString, Value>;

/// How far a message has got, from its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Travel {
    /// Attempts that count.
    pub attempts: u32,
    /// Failures in a row.
    pub failures: u32,
    /// The first attempt.
    pub first_attempt_at: Option<Timestamp>,
    /// Before when the message must not be tried.
    pub not_before: Option<Timestamp>,
    /// An operator's word.
    pub resolution: Option<Resolution>,
}

/// An operator's word on an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// No account was made: call again. The word's id.
    NotCreated(Uuid),
    /// The account is there, under this identifier.
    Created(String),
}

/// Whether a message came into its queue by that queue's name, as the worker, its delay queues and an
/// operator's replay put it there. On any other one, what the headers tell of its way is a sender's
/// word: who may publish to the exchange may not answer for imin, nor have a message wait for years.
pub fn is_ours(message: &Message) -> bool {
    message.exchange.as_str().is_empty()
}

impl Travel {
    /// Reads the headers; what is absent or no number is nothing, and so is what a sender says.
    pub fn read(message: &Message) -> Self {
        if !is_ours(message) {
            return Self::default();
        }
        let count = |name| message.header_number(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let time = |name| message.header_text(name).and_then(|text| text.parse().ok());
        Self {
            attempts: count(ATTEMPTS),
            failures: count(FAILURES),
            first_attempt_at: time(FIRST_ATTEMPT_AT),
            not_before: time(NOT_BEFORE),
            resolution: Resolution::read(message),
        }
    }
}

impl Resolution {
    fn read(message: &Message) -> Option<Self> {
        match message.header_text(RESOLUTION)? {
            "not-created" => message.header_text(RESOLUTION_ID)?.parse().ok().map(Self::NotCreated),
            "created" => {
                let identifier = message.header_text(RESOLUTION_IDENTIFIER)?;
                (identifier.len() <= IDENTIFIER_MAX).then(|| Self::Created(identifier.to_owned()))
            }
            _ => None,
        }
    }
}

/// Why a message is a dead letter.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The event.
    pub key: EventKey,
    /// The reason.
    pub reason: Reason,
    /// More about it, without a value of the event.
    pub detail: serde_json::Value,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// Attempts that counted.
    pub attempts: u32,
    /// The first attempt.
    pub first_attempt_at: Option<Timestamp>,
    /// Now.
    pub at: Timestamp,
}

#[derive(Serialize)]
struct CreatedEvent<'a> {
    specversion: &'static str,
    r#type: &'static str,
    source: &'static str,
    id: Text<EventKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Text<Timestamp>,
    datacontenttype: &'static str,
    causationid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    possibleduplicate: bool,
    data: CreatedData<'a>,
}

#[derive(Serialize)]
struct CreatedData<'a> {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    identifier: &'a str,
}

/// Whatever is written as it is displayed.
struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The event that carries the identifier, in this trace.
pub fn created(
    names: &Names,
    instance: &str,
    event: &Event,
    trace: &Trace,
    message: &Message,
    recorded: &Recorded,
    now: Timestamp,
) -> Publication {
    let body = CreatedEvent {
        specversion: "1.0",
        r#type: CREATED,
        source: SOURCE,
        id: Text(event.key),
        subject: event.subject.as_deref(),
        time: Text(now),
        datacontenttype: "application/json",
        causationid: &event.id,
        traceparent: trace.parent.as_deref(),
        tracestate: trace.state.as_deref(),
        possibleduplicate: recorded.possible_duplicate,
        data: CreatedData {
            context: "https://openactive.io/",
            kind: "CustomerAccount",
            id: recorded.account.id.as_deref(),
            identifier: &recorded.account.identifier,
        },
    };
    // Strings and a timestamp: there is nothing that could fail to serialise.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut properties = Properties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_message_id(event.key.to_string().into())
        .with_type(CREATED.into())
        .with_app_id(NAME.into())
        .with_headers(event_headers(trace, instance))
        .with_timestamp(u64::try_from(now.as_second()).unwrap_or_default());
    if let Some(correlation) = message.properties.correlation_id() {
        properties = properties.with_correlation_id(correlation.clone());
    }
    Publication {
        exchange: names.events_exchange.as_str().into(),
        routing_key: names.events_routing_key.as_str().into(),
        properties,
        body: body.into(),
    }
}

fn event_headers(trace: &Trace, instance: &str) -> Headers {
    let mut headers = Headers::default();
    headers.insert(INSTANCE.into(), long(instance));
    if let Some(parent) = &trace.parent {
        headers.insert("traceparent".into(), long(parent));
    }
    if let Some(state) = &trace.state {
        headers.insert("tracestate".into(), long(state));
    }
    headers
}

/// The dead letter: the body as it came, and why it is here.
pub fn dead(names: &Names, message: &Message, failure: &Failure) -> Publication {
    let (properties, mut headers) = carry(message, is_ours(message));
    let replays = headers.get(REPLAY_COUNT).and_then(number).unwrap_or(0);
    for name in TRAVELLING {
        headers.remove(name);
    }
    let mut set = |name: &'static str, value: Value| headers.insert(name.into(), value);
    set("failure-reason", long(failure.reason.as_str()));
    set("failure-detail", long(&bounded(&failure.detail)));
    set("failure-attempts", Value::LongLongInt(failure.attempts.into()));
    set("failure-at", long(&failure.at.to_string()));
    set("event-key", long(&failure.key.to_string()));
    set(REPLAY_COUNT, Value::LongLongInt(i64::try_from(replays).unwrap_or(i64::MAX)));
    set("worker-version", long(VERSION));
    if let Some(status) = failure.status {
        set("failure-status", Value::LongLongInt(status.into()));
    }
    if let Some(first) = failure.first_attempt_at {
        set(FIRST_ATTEMPT_AT, long(&first.to_string()));
    }
    fit(&mut headers);
    Publication {
        exchange: names.dead_exchange.as_str().into(),
        routing_key: names.queue.as_str().into(),
        properties: properties.with_headers(headers.into()),
        body: message.body.clone(),
    }
}

/// The message put back: at once into the work queue, or by way of a delay queue.
pub fn put_back(names: &Names, message: &Message, travel: &Travel, wait: Option<Duration>) -> Publication {
    let (properties, mut headers) = carry(message, is_ours(message));
    let mut set = |name: &'static str, value: Value| headers.insert(name.into(), value);
    set(ATTEMPTS, Value::LongLongInt(travel.attempts.into()));
    set(FAILURES, Value::LongLongInt(travel.failures.into()));
    if let Some(first) = travel.first_attempt_at {
        set(FIRST_ATTEMPT_AT, long(&first.to_string()));
    }
    match travel.not_before {
        Some(at) => headers.insert(NOT_BEFORE.into(), long(&at.to_string())),
        None => headers.remove(NOT_BEFORE),
    };
    fit(&mut headers);
    let queue = wait.map_or_else(|| names.queue.clone(), |wait| names.retry_queue(wait));
    Publication {
        exchange: ShortString::default(),
        routing_key: queue.as_str().into(),
        properties: properties.with_headers(headers.into()),
        body: message.body.clone(),
    }
}

/// The message's own properties and headers, as far as they may be published again: persistent, in
/// nobody's name (the broker refuses another user's), never expiring (a dead letter must not), and
/// without the headers that the broker acts upon; what they tell of its way only if that is `believed`.
fn carry(message: &Message, believed: bool) -> (Properties, Table) {
    let old = &message.properties;
    let mut headers = old.headers().as_ref().map(|headers| headers.inner().clone()).unwrap_or_default();
    if !believed {
        for name in TRAVELLING.iter().chain(&TOLD) {
            headers.remove(*name);
        }
    }
    for name in BROKERS {
        headers.remove(name);
    }
    for (name, aside) in ROUTING {
        if let Some(value) = headers.remove(name) {
            headers.insert(aside.into(), value);
        }
    }
    if let Some(user) = old.user_id() {
        headers.insert("original-user-id".into(), long(user.as_str()));
    }
    if let Some(expiration) = old.expiration() {
        headers.insert("original-expiration".into(), long(expiration.as_str()));
    }
    if !headers.contains_key(ORIGINAL_ROUTING_KEY) {
        headers.insert(ORIGINAL_EXCHANGE.into(), long(message.exchange.as_str()));
        headers.insert(ORIGINAL_ROUTING_KEY.into(), long(message.routing_key.as_str()));
    }
    (rebuild(old).with_delivery_mode(2), headers)
}

fn rebuild(old: &Properties) -> Properties {
    let mut new = Properties::default();
    if let Some(value) = old.content_type() {
        new = new.with_content_type(value.clone());
    }
    if let Some(value) = old.content_encoding() {
        new = new.with_content_encoding(value.clone());
    }
    if let Some(value) = old.priority() {
        new = new.with_priority(*value);
    }
    if let Some(value) = old.correlation_id() {
        new = new.with_correlation_id(value.clone());
    }
    if let Some(value) = old.reply_to() {
        new = new.with_reply_to(value.clone());
    }
    if let Some(value) = old.message_id() {
        new = new.with_message_id(value.clone());
    }
    if let Some(value) = old.timestamp() {
        new = new.with_timestamp(*value);
    }
    if let Some(value) = old.kind() {
        new = new.with_type(value.clone());
    }
    if let Some(value) = old.app_id() {
        new = new.with_app_id(value.clone());
    }
    new
}

fn bounded(detail: &serde_json::Value) -> String {
    let text = detail.to_string();
    if text.len() <= DETAIL_MAX { text } else { r#"{"truncated":true}"#.to_owned() }
}

/// All headers must fit one frame, or the broker closes the connection: the message would come again
/// and close it again, for ever. The sender's headers go first, the largest of them before the others.
fn fit(headers: &mut Table) {
    let foreign = |name: &ShortString| !TRAVELLING.iter().chain(&TOLD).any(|own| *own == name.as_str());
    let mut sizes: Vec<(bool, usize, ShortString)> = headers
        .iter()
        .map(|(name, value)| (foreign(name), name.as_str().len() + size(value), name.clone()))
        .collect();
    let mut total: usize = sizes.iter().map(|(_, size, _)| size).sum();
    if total <= HEADERS_MAX {
        return;
    }
    sizes.sort();
    let mut dropped = 0i64;
    while total > HEADERS_MAX
        && let Some((_, size, name)) = sizes.pop()
    {
        total -= size;
        headers.remove(name.as_str());
        dropped += 1;
    }
    headers.insert("headers-dropped".into(), Value::LongLongInt(dropped));
}

/// About what a value takes on the wire, never less.
fn size(value: &Value) -> usize {
    16 + match value {
        Value::ShortString(text) => text.as_str().len(),
        Value::LongString(text) => text.as_bytes().len(),
        Value::ByteArray(bytes) => bytes.as_slice().len(),
        Value::FieldArray(values) => values.as_slice().iter().map(size).sum(),
        Value::FieldTable(table) => {
            table.inner().iter().map(|(name, value)| name.as_str().len() + size(value)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
