//! What travels, what does not, and what the broker must never see again.

use super::*;
use crate::{event::Trace, outcome::Account};
use bytes::Bytes;
use uuid::Uuid;

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

fn message(headers: &[(&str, Value)]) -> Message {
    let mut table = Headers::default();
    for (name, value) in headers {
        table.insert((*name).into(), value.clone());
    }
    Message {
        body: Bytes::from_static(b"{ \"odd\" :1}"),
        properties: Properties::default()
            .with_headers(table)
            .with_content_type("application/json".into())
            .with_correlation_id("c-1".into())
            .with_message_id("m-1".into())
            .with_user_id("guest".into())
            .with_expiration("60000".into())
            .with_delivery_mode(1),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        redelivered: false,
    }
}

fn key() -> EventKey {
    EventKey(Uuid::from_u128(7))
}

fn failure() -> Failure {
    Failure {
        key: key(),
        reason: Reason::RejectedByApi,
        detail: serde_json::json!({"type": "X"}),
        status: Some(422),
        attempts: 3,
        first_attempt_at: Some(Timestamp::UNIX_EPOCH),
        at: Timestamp::UNIX_EPOCH,
    }
}

/// The message, had it been published to its queue by name.
fn by_name(message: Message) -> Message {
    Message { exchange: ShortString::default(), ..message }
}

/// What the broker would deliver of a publication.
fn delivered(publication: Publication) -> Message {
    Message {
        body: publication.body,
        properties: publication.properties,
        exchange: publication.exchange,
        routing_key: publication.routing_key,
        redelivered: false,
    }
}

#[test]
fn a_dead_letter_keeps_body_and_properties_and_says_why() {
    let original = message(&[("mine", long("kept"))]);
    let dead = dead(&names(), &original, &failure());
    assert_eq!(dead.body, original.body);
    let letter = delivered(dead);
    assert_eq!(letter.header_text("mine"), Some("kept"));
    assert_eq!(letter.header_text("failure-reason"), Some("rejected_by_api"));
    assert_eq!(letter.header_text("failure-detail"), Some(r#"{"type":"X"}"#));
    assert_eq!(letter.header_number("failure-status"), Some(422));
    assert_eq!(letter.header_number("failure-attempts"), Some(3));
    assert_eq!(letter.header_text("failure-at"), Some("1970-01-01T00:00:00Z"));
    assert_eq!(letter.header_text(FIRST_ATTEMPT_AT), Some("1970-01-01T00:00:00Z"));
    assert_eq!(letter.header_text(ORIGINAL_EXCHANGE), Some("customers"));
    assert_eq!(letter.header_text(ORIGINAL_ROUTING_KEY), Some("customer.create"));
    assert_eq!(letter.header_text("event-key"), Some(key().to_string().as_str()));
    assert_eq!(letter.header_number(REPLAY_COUNT), Some(0));
    assert_eq!(letter.header_text("worker-version"), Some(VERSION));
    assert_eq!(letter.properties.correlation_id().as_ref().map(ShortString::as_str), Some("c-1"));
    assert_eq!(letter.properties.content_type().as_ref().map(ShortString::as_str), Some("application/json"));
}

#[test]
fn nothing_that_the_broker_acts_upon_is_published_again() {
    let original =
        message(&[("x-death", long("old")), ("x-delivery-count", Value::LongInt(3)), ("CC", long("copy"))]);
    for publication in
        [dead(&names(), &original, &failure()), put_back(&names(), &original, &Travel::default(), None)]
    {
        let properties = publication.properties.clone();
        assert_eq!(properties.expiration(), &None, "a dead letter must not expire");
        assert_eq!(properties.user_id(), &None, "the broker refuses another user's name");
        assert_eq!(properties.delivery_mode(), &Some(2));
        let again = delivered(publication);
        for name in ["x-death", "x-delivery-count", "CC"] {
            assert_eq!(again.header(name), None, "{name}");
        }
        assert_eq!(again.header_text("original-cc"), Some("copy"));
        assert_eq!(again.header_text("original-expiration"), Some("60000"));
        assert_eq!(again.header_text("original-user-id"), Some("guest"));
    }
}

#[test]
fn what_is_put_back_comes_again_as_far_as_it_had_got() {
    let travel = Travel {
        attempts: 4,
        failures: 6,
        first_attempt_at: Some(Timestamp::UNIX_EPOCH),
        not_before: Timestamp::from_second(90).ok(),
        resolution: Some(Resolution::NotCreated(Uuid::from_u128(1))),
    };
    let original = by_name(message(&[
        (RESOLUTION, long("not-created")),
        (RESOLUTION_ID, long(&Uuid::from_u128(1).to_string())),
    ]));
    let publication = put_back(&names(), &original, &travel, Some(Duration::from_secs(70)));
    assert_eq!(publication.routing_key.as_str(), "customers.create.retry.1m");
    let again = delivered(publication);
    assert_eq!(Travel::read(&again), travel);
    let twice = delivered(put_back(&names(), &again, &Travel { not_before: None, ..travel.clone() }, None));
    assert_eq!(twice.routing_key.as_str(), "customers.create");
    assert_eq!(Travel::read(&twice), Travel { not_before: None, ..travel });
    assert_eq!(
        twice.header_text(ORIGINAL_ROUTING_KEY),
        Some("customer.create"),
        "the sender's, not the delay queue's"
    );
}

#[test]
fn a_dead_letter_forgets_how_far_it_had_got() {
    let original = by_name(message(&[(ATTEMPTS, Value::LongInt(5)), (RESOLUTION, long("created"))]));
    let letter = delivered(dead(&names(), &original, &failure()));
    assert_eq!(
        Travel::read(&by_name(letter)),
        Travel { first_attempt_at: Some(Timestamp::UNIX_EPOCH), ..Travel::default() }
    );
}

#[test]
fn what_a_sender_tells_of_a_messages_way_is_not_believed_nor_passed_on() {
    let forged: Vec<(&str, Value)> =
        TRAVELLING.iter().chain(&TOLD).map(|name| (*name, long("created"))).collect();
    let original = message(&forged);
    assert_eq!(Travel::read(&original), Travel::default());
    let again = delivered(put_back(&names(), &original, &Travel::default(), None));
    assert_eq!(Travel::read(&again), Travel::default(), "nor is it after a release");
    assert_eq!(again.header_text(ORIGINAL_EXCHANGE), Some("customers"));
    let untried = Failure { status: None, first_attempt_at: None, ..failure() };
    let letter = delivered(dead(&names(), &original, &untried));
    for name in ["failure-status", FIRST_ATTEMPT_AT, RESOLUTION] {
        assert_eq!(letter.header(name), None, "{name}");
    }
    assert_eq!(letter.header_text(ORIGINAL_ROUTING_KEY), Some("customer.create"));
    assert_eq!(letter.header_number(REPLAY_COUNT), Some(0));
}

#[test]
fn however_many_headers_a_sender_writes_the_worker_says_its_own() {
    let names_of_many: Vec<String> = (0..10_000).map(|n| format!("h{n}")).collect();
    let many: Vec<(&str, Value)> =
        names_of_many.iter().map(|name| (name.as_str(), Value::Boolean(true))).collect();
    let detail = serde_json::json!({ "problems": "x".repeat(DETAIL_MAX - 100) });
    let letter = delivered(dead(&names(), &message(&many), &Failure { detail, ..failure() }));
    for name in ["failure-reason", "failure-detail", "event-key", ORIGINAL_EXCHANGE, "headers-dropped"] {
        assert!(letter.header(name).is_some(), "{name}");
    }
}

#[test]
fn headers_that_would_break_the_connection_are_dropped_largest_first() {
    let large = "x".repeat(60 * 1024);
    let original = message(&[("a", long(&large)), ("b", long(&large)), ("small", long("kept"))]);
    let letter = delivered(dead(&names(), &original, &failure()));
    let total: usize =
        letter.properties.headers().iter().flat_map(|t| t.inner()).map(|(_, value)| size(value)).sum();
    assert!(total < HEADERS_MAX, "{total}");
    assert_eq!(letter.header_number("headers-dropped"), Some(1));
    assert_eq!(letter.header_text("small"), Some("kept"));
    assert_eq!(letter.header_text("failure-reason"), Some("rejected_by_api"));
}

#[test]
fn the_created_event_joins_the_two_without_personal_data() {
    let event = Event {
        key: key(),
        id: "in-1".into(),
        subject: Some("user-9".into()),
        trace: Trace {
            parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            state: None,
        },
        request: Bytes::from_static(b"{}"),
    };
    let account = Account { identifier: "abc".into(), id: Some("https://imin/abc".into()) };
    let recorded = Recorded { account, published: false, possible_duplicate: true };
    let publication =
        created(&names(), "w-1", &event, &event.trace, &message(&[]), &recorded, Timestamp::UNIX_EPOCH);
    let body: serde_json::Value = serde_json::from_slice(&publication.body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({
            "specversion": "1.0", "type": "CustomerAccountCreated", "source": "/imin-customer-worker",
            "id": key().to_string(), "subject": "user-9", "time": "1970-01-01T00:00:00Z",
            "datacontenttype": "application/json", "causationid": "in-1",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "possibleduplicate": true,
            "data": {"@context": "https://openactive.io/", "@type": "CustomerAccount",
                     "@id": "https://imin/abc", "identifier": "abc"}
        })
    );
    let properties = publication.properties;
    assert_eq!(properties.message_id().as_ref().map(|id| id.to_string()), Some(key().to_string()));
    assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some("CustomerAccountCreated"));
    assert_eq!(properties.correlation_id().as_ref().map(ShortString::as_str), Some("c-1"));
    assert_eq!(properties.delivery_mode(), &Some(2));
}
