//! What must hold for any bytes from outside: one function for each way in.
//!
//! `cargo fuzz` looks for bytes that break one of them; `tests/it/corpus.rs` includes this file and plays
//! the corpus back on every test run. Each function reads its bytes as text where it can, so that the
//! corpus can be read and written by hand.

use bytes::Bytes;
use imin_customer_worker::{
    broker::{Names, Publication},
    config::{Config, Needs, Surroundings, show},
    event::{self, EventKey},
    imin,
    letters::{
        self, Failure, Resolution, Travel,
        replay::{self, Order},
    },
    message::{Headers, Message, Properties, Value, long},
    outcome::{Answer, Reason},
    problem::MAX_PROBLEMS,
};
use jiff::Timestamp;
use std::{collections::BTreeMap, ffi::OsString, io, path::Path, time::Duration};
use uuid::Uuid;

/// Lines `name=value` up to an empty one, and what follows.
fn head(data: &[u8]) -> (Vec<(String, String)>, &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, rest) = end.map_or((data, &[][..]), |end| (&data[..end], &data[end + 2..]));
    let text = String::from_utf8_lossy(head).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    (pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), rest)
}

/// At most as many bytes of a text as a short string of AMQP holds.
fn short(text: &str) -> &str {
    let end = (0..=text.len().min(255)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// A message: `.name=` sets a property, `#name=` a number, `@name=` a table, anything else a text.
fn message(data: &[u8]) -> Message {
    let (lines, body) = head(data);
    let (mut properties, mut headers) = (Properties::default(), Headers::default());
    let (mut exchange, mut routing_key) = ("customers", "customer.create".to_owned());
    for (name, value) in &lines {
        let text = || short(value).into();
        match name.as_str() {
            ".content_type" => properties = properties.with_content_type(text()),
            ".content_encoding" => properties = properties.with_content_encoding(text()),
            ".message_id" => properties = properties.with_message_id(text()),
            ".correlation_id" => properties = properties.with_correlation_id(text()),
            ".type" => properties = properties.with_type(text()),
            ".expiration" => properties = properties.with_expiration(text()),
            ".user_id" => properties = properties.with_user_id(text()),
            ".by_name" => exchange = "",
            ".routing_key" => routing_key = short(value).to_owned(),
            _ => {
                let value = header(name, value);
                headers.insert(short(name.trim_start_matches(['#', '@'])).into(), value);
            }
        }
    }
    Message {
        body: Bytes::copy_from_slice(body),
        properties: properties.with_headers(headers),
        exchange: exchange.into(),
        routing_key: routing_key.as_str().into(),
        redelivered: false,
    }
}

fn header(name: &str, value: &str) -> Value {
    match name.as_bytes().first() {
        Some(b'#') => value.parse().map_or(Value::Void, Value::LongLongInt),
        Some(b'@') => {
            let mut table = Headers::default();
            table.insert("reason".into(), long(value));
            table.insert("exchange".into(), long(value));
            Value::FieldArray(vec![Value::FieldTable(table)].into())
        }
        _ => long(value),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("in range")
}

/// An event: read twice it is the same; valid, it makes a request that is JSON; invalid, its problems fit
/// a header and stand within their bound.
pub fn event(data: &[u8]) {
    let message = message(data);
    let today = imin_customer_worker::clock::today(now());
    match (event::read(&message, today), event::read(&message, today)) {
        (Ok(event), Ok(again)) => {
            assert_eq!(event.key, again.key);
            let request: serde_json::Value = serde_json::from_slice(&event.request).expect("JSON");
            assert_eq!(request["@type"], "CustomerAccount");
            assert_eq!(request["customer"]["@type"], "Person");
            let trace = event.trace.parent.iter().chain(&event.trace.state);
            assert!(trace.flat_map(|text| text.bytes()).all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
        }
        (Err(invalid), Err(again)) => {
            assert_eq!(invalid, again);
            assert!((1..=MAX_PROBLEMS).contains(&invalid.problems.len()));
            let detail = serde_json::json!({ "problems": invalid.problems });
            let letter = letters::dead(&names(), &message, &failure(invalid.key, detail));
            check_headers(&letter);
            let told = delivered(letter);
            let told = told.header_text("failure-detail").expect("a detail");
            assert!(told.contains("problems"), "{told}");
        }
        (one, other) => panic!("{one:?}, and then {other:?}"),
    }
}

/// The headers that travel: what is put back tells what it told before, what is dead or replayed forgets
/// it, a sender is not believed, and nothing that the broker acts upon is published again.
pub fn headers(data: &[u8]) {
    let message = message(data);
    let travel = Travel::read(&message);
    if !letters::is_ours(&message) {
        assert_eq!(travel, Travel::default());
    }
    let back = letters::put_back(&names(), &message, &travel, Some(Duration::from_secs(70)));
    check_headers(&back);
    assert_eq!(Travel::read(&delivered(back)), travel);
    let key = EventKey(Uuid::from_u128(7));
    let dead = letters::dead(&names(), &message, &failure(key, serde_json::Value::Null));
    check_headers(&dead);
    let letter = delivered(dead);
    assert_eq!(letter.body, message.body);
    check_replay(&letter);
    // As if the broker itself had dead-lettered it.
    check_replay(&message);
}

fn check_replay(letter: &Message) {
    let word = Resolution::NotCreated(Uuid::from_u128(1));
    let order = Order { watched_by: None, word: Some(word.clone()) };
    let replayed = replay::replayed(&names(), letter, &order);
    check_headers(&replayed);
    let again = Travel::read(&delivered(replayed));
    assert_eq!((again.attempts, again.failures, again.not_before), (0, 0, None));
    assert_eq!(again.resolution, Some(word));
    check_headers(&replay::restored(&names(), letter));
}

/// All headers fit one frame, and none makes the broker do anything.
fn check_headers(publication: &Publication) {
    let headers = publication.properties.headers().clone().unwrap_or_default();
    let size: usize = headers.inner().iter().map(|(name, value)| name.as_str().len() + size(value)).sum();
    assert!(size < 126 * 1024, "{size}");
    assert!(["CC", "BCC"].iter().all(|name| !headers.inner().contains_key(*name)));
    assert_eq!(publication.properties.user_id(), &None);
    assert_eq!(publication.properties.expiration(), &None);
    assert_eq!(publication.properties.delivery_mode(), &Some(2));
}

/// What a value takes on the wire.
fn size(value: &Value) -> usize {
    match value {
        Value::LongString(text) => 6 + text.as_bytes().len(),
        Value::FieldArray(values) => 6 + values.as_slice().iter().map(size).sum::<usize>(),
        Value::FieldTable(table) => {
            6 + table.inner().iter().map(|(name, value)| name.as_str().len() + size(value)).sum::<usize>()
        }
        _ => 10,
    }
}

fn delivered(publication: Publication) -> Message {
    Message {
        body: publication.body,
        properties: publication.properties,
        exchange: publication.exchange,
        routing_key: publication.routing_key,
        redelivered: false,
    }
}

fn failure(key: EventKey, detail: serde_json::Value) -> Failure {
    Failure {
        key,
        reason: Reason::InvalidEvent,
        detail,
        status: None,
        attempts: 0,
        first_attempt_at: None,
        at: now(),
    }
}

/// imin's answer, `status=…`, `retry-after=…` and a body: its class is its status's, an identifier is
/// something to print, and no value of the customer's comes out.
pub fn answer(data: &[u8]) {
    const REQUEST: &[u8] = br#"{"customer":{"email":"tolly.zed@example.com","givenName":"Tolly"}}"#;
    let (lines, body) = head(data);
    let line = |name: &str| lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let status = line("status").and_then(|status| status.parse().ok()).unwrap_or(201);
    let retry_after = line("retry-after").map(str::as_bytes);
    match imin::understand(status, retry_after, body, REQUEST, now()) {
        Answer::Created(account) => {
            assert!(matches!(status, 200 | 201));
            let texts = [Some(&account.identifier), account.id.as_ref()];
            let mut texts = texts.into_iter().flatten();
            assert!(texts.all(|text| !text.trim().is_empty() && !text.chars().any(char::is_control)));
        }
        Answer::Unusable { .. } => assert!((200..300).contains(&status)),
        Answer::Rejected { kind, description, .. } => {
            assert!((400..500).contains(&status));
            for text in [kind, description].into_iter().flatten() {
                assert!(!text.to_lowercase().contains("tolly"), "{text}");
                assert!(text.chars().count() <= 200 && !text.chars().any(char::is_control));
            }
        }
        Answer::NotDone { .. } => assert!(matches!(status, 408 | 425 | 429 | 503)),
        Answer::Misconfigured { .. } => {
            assert!(matches!(status, 300..=399 | 401 | 403 | 404 | 405 | 407));
        }
        Answer::Ambiguous { .. } => assert!(!(200..500).contains(&status)),
    }
}

/// `Retry-After`: any bytes are a wait or none, and only digits or a date are a wait.
pub fn retry_after(data: &[u8]) {
    let Answer::NotDone { retry_after, .. } = imin::understand(429, Some(data), b"", b"{}", now()) else {
        panic!("a 429 is not done");
    };
    if retry_after.is_some() {
        let text = std::str::from_utf8(data).expect("text");
        assert!(text.trim().is_ascii() && !text.trim().is_empty(), "{text:?}");
    }
}

/// Settings, lines of `NAME=value` and after an empty line a TOML file: right, or wrong with every error
/// named and no secret repeated.
pub fn settings(data: &[u8]) {
    const FILE: &str = "settings.toml";
    let (lines, file) = head(data);
    let world =
        World { env: lines.iter().cloned().collect(), file: String::from_utf8_lossy(file).into_owned() };
    let path = (!file.is_empty()).then(|| Path::new(FILE));
    if let Err(error) = Config::load(&world, path, Needs::ApiKey) {
        assert!(!error.0.is_empty());
        check_secret(&world, &error.to_string());
    }
    let (shown, _) = show::in_force(&world, path);
    check_secret(&world, &show::columns(&shown));
}

/// The key is nowhere in a text, unless it is somebody's word for another setting, too.
fn check_secret(world: &World, text: &str) {
    let Some(key) = world.env.get("IMIN_API_KEY").filter(|key| key.starts_with("s3cret")) else { return };
    let said = |(name, value): (&String, &String)| name != "IMIN_API_KEY" && value.contains(key.as_str());
    if !world.env.iter().any(said) && !world.file.contains(key.as_str()) {
        assert!(!text.contains(key.as_str()), "{text}");
    }
}

struct World {
    env: BTreeMap<String, String>,
    file: String,
}

impl Surroundings for World {
    fn env(&self, name: &str) -> Option<OsString> {
        self.env.get(name).map(OsString::from)
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.file.clone())
    }

    fn terminal(&self) -> bool {
        false
    }
}

fn names() -> Names {
    Names {
        queue: "customers.create".into(),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        events_exchange: "customers.events".into(),
        events_routing_key: "customer.account.created".into(),
        unrouted_exchange: "customers.unrouted".into(),
        unrouted_queue: "customers.unrouted".into(),
        dead_exchange: "customers.dead".into(),
        dead_queue: "customers.create.dead".into(),
    }
}
