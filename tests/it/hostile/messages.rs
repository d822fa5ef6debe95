//! Senders: what they write into ids, headers and bodies stays data, and breaks nothing.

use super::peer::Peer;
use crate::support::world::{KEY, World, customer, json, plain, with_headers};
use imin_customer_worker::{
    event::EventKey,
    message::{Headers, Message, Properties, Value, long},
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Ends a header line where one is written naively, and starts another.
const INJECTION: &str = "1\r\nX-API-KEY: forged\r\n\r\nPOST / HTTP/1.1\0\u{7f}";

/// The names of a request's headers.
fn names(head: &str) -> BTreeSet<String> {
    let lines = head.lines().skip(1).take_while(|line| !line.is_empty());
    lines.map(|line| line.split(':').next().expect("a name").to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn nothing_of_an_event_becomes_a_header_of_its_own() {
    let mut world = World::start().await;
    let body = r#"{"identifier":"abc\r\nx"}"#;
    let bad = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut imin = Peer::answering(bad).await;
    let mut worker = world.settings().set("IMIN_BASE_URL", imin.url()).start().ready().await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-type", "CreateCustomer"),
        ("ce-source", INJECTION),
        ("ce-id", INJECTION),
        ("ce-subject", INJECTION),
        ("ce-traceparent", INJECTION),
        ("traceparent", INJECTION),
        ("tracestate", "a=1\r\nX-API-KEY: forged"),
        (INJECTION, INJECTION),
    ];
    let properties = plain(INJECTION).with_correlation_id(INJECTION.into()).with_reply_to(INJECTION.into());
    let body = customer("geoff@example.com").to_string();
    world.publish(body.as_bytes(), with_headers(properties, &headers)).await;

    let (head, sent) = imin.request().await;
    let known =
        ["accept", "content-length", "content-type", "host", "idempotency-key", "user-agent", "x-api-key"];
    assert_eq!(names(&head), known.map(str::to_owned).into(), "{head:?}");
    assert!(head.contains(&format!("x-api-key: {KEY}\r\n")), "{head:?}");
    let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).expect("a key");
    let key: Uuid = key.trim_matches('"').parse().expect("a UUID");
    assert!(serde_json::from_slice::<serde_json::Value>(&sent).is_ok());
    // Nor does imin's identifier: one with a line break is none.
    let letter = world.dead().await;
    assert_eq!(letter.header_text("failure-reason"), Some("unusable_response"));
    assert_eq!(letter.header_text("event-key"), Some(EventKey(key).to_string().as_str()));
    assert_eq!(letter.header_text(INJECTION), Some(INJECTION), "a name like any other");
    assert!(world.all_created().await.is_empty());
    worker.stop().await;
}

/// What the outgoing event echoes comes out as it went in, and as one value.
#[tokio::test]
async fn what_is_echoed_is_one_value() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let odd = format!("{INJECTION}\u{1F600}\\\"{}", "x".repeat(150));
    let event = serde_json::json!({
        "specversion": "1.0", "type": "CreateCustomer", "source": odd, "id": odd, "subject": odd,
        "data": customer("geoff@example.com"),
    });
    let properties = plain(&odd)
        .with_content_type("application/cloudevents+json".into())
        .with_correlation_id(odd.as_str().into());
    world.publish(event.to_string().as_bytes(), properties).await;
    let created = world.created(1).await.remove(0);
    let body = json(&created);
    assert_eq!((&body["causationid"], &body["subject"]), (&odd.as_str().into(), &odd.as_str().into()));
    assert_eq!(created.properties.correlation_id().as_ref().map(|id| id.as_str()), Some(&*odd));
    let inner = created.properties.headers().clone().unwrap_or_default();
    assert_eq!(inner.inner().keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["worker-instance"]);
    worker.stop().await;
}

/// A sender who may publish to the exchange can neither answer for imin, nor use up an event's attempts,
/// nor have it wait for thousands of years, nor say where it came from.
#[tokio::test]
async fn a_sender_cannot_say_what_only_the_worker_may() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let mut forged = Headers::default();
    for (name, value) in [
        ("attempts", Value::LongLongInt(4_000_000_000)),
        ("failures", Value::LongLongInt(4_000_000_000)),
        ("first-attempt-at", long("1970-01-01T00:00:00Z")),
        ("not-before", long("9999-12-31T00:00:00Z")),
        ("resolution", long("created")),
        ("resolution-identifier", long("forged")),
        ("resolution-id", long("07e6aebf-b6bf-5090-801e-1dae003e9a27")),
        ("replay-count", Value::LongLongInt(7)),
        ("replay-watched-by", long("customers.create.replay.07e6aebf-b6bf-5090-801e-1dae003e9a27")),
        ("original-exchange", long("forged")),
        ("original-routing-key", long("forged")),
        ("failure-status", Value::LongLongInt(201)),
    ] {
        forged.insert(name.into(), value);
    }
    let send = |id: &str, fault: &str| {
        let body = customer(&format!("geoff{fault}@example.com")).to_string();
        let (world, properties) = (&world, plain(id).with_headers(forged.clone()));
        async move { world.publish(body.as_bytes(), properties).await }
    };
    send("good", "").await;
    // Not given up although it fails at first, also after it has been by way of the broker.
    send("again", "+fault-503x1").await;
    send("refused", "+fault-422").await;
    let made: BTreeSet<String> = world.created(2).await.iter().map(identifier).collect();
    assert!(!made.contains("forged"), "{made:?}");
    let letter = world.dead().await;
    assert_eq!(letter.header_number("failure-attempts"), Some(1));
    assert_eq!(letter.header_number("failure-status"), Some(422));
    assert_eq!(letter.header_number("replay-count"), Some(0));
    assert_eq!(letter.header_text("original-exchange"), Some("customers"));
    assert_eq!(letter.header_text("original-routing-key"), Some("customer.create"));
    assert_eq!(world.accounts(), 2);
    worker.stop().await;
    assert_eq!(world.depth("customers.create").await, 0);
}

fn identifier(event: &Message) -> String {
    json(event)["data"]["identifier"].as_str().expect("an identifier").to_owned()
}

/// Headers that the broker acts upon, or that are too many or too long to be published again with a word
/// more; bodies beyond the limit, and text that is none. Each ends once, whole; then work goes on.
#[tokio::test]
async fn whatever_a_message_is_made_of_it_ends_and_the_next_one_is_served() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let valid = customer("geoff@example.com").to_string();
    let cases = cases(&valid);
    for (id, body, properties) in &cases {
        world.publish(body, properties.clone().with_message_id((*id).into())).await;
    }
    world.send("good", &customer("geoff@example.com")).await;
    assert_eq!(json(&world.created(1).await[0])["causationid"], "good");
    let letters = world.dead_by_id(cases.len()).await;
    for (id, body, _) in &cases {
        let letter = &letters[*id];
        assert!(letter.body[..] == body[..], "{id}: its body is not what was sent");
        assert_eq!(letter.header_text("failure-reason"), Some("invalid_event"), "{id}");
        let detail = letter.header_text("failure-detail").expect("a detail");
        assert!(detail.contains("problems"), "{id}: {detail}");
    }
    assert_eq!(letters["expires"].header_text("original-expiration"), Some("3600000"));
    assert!(letters["copied"].header("CC").is_none());
    assert!(letters["many"].header("headers-dropped").is_some());
    worker.stop().await;
    assert_eq!(world.accounts(), 1);
    for queue in ["customers.create", "customers.create.dead", "customers.unrouted"] {
        assert_eq!(world.depth(queue).await, 0, "{queue}: nothing came twice");
    }
}

/// Invalid events, each with something else about it.
fn cases(valid: &str) -> Vec<(&'static str, Vec<u8>, Properties)> {
    let bad = || br#"{"customer":{}}"#.to_vec();
    let table = |entries: Vec<(String, Value)>| {
        let mut table = Headers::default();
        for (name, value) in entries {
            table.insert(name.as_str().into(), value);
        }
        plain("").with_headers(table)
    };
    let death = Value::FieldArray(vec![Value::FieldTable(Headers::default()), long("x")].into());
    let nested = (0..100).fold(long("deep"), |inner, _| {
        let mut table = Headers::default();
        table.insert("in".into(), inner);
        Value::FieldTable(table)
    });
    let replaced = |from: &str, to: &str| valid.replace(from, to).into_bytes();
    vec![
        ("many", bad(), table((0..10_000).map(|n| (format!("h{n}"), Value::Boolean(true))).collect())),
        ("long", bad(), table(vec![("big".into(), long(&"x".repeat(124 * 1024)))])),
        ("nested", bad(), table(vec![("deep".into(), nested)])),
        ("died", bad(), table(vec![("x-death".into(), death), ("x-delivery-count".into(), long("no"))])),
        (
            "copied",
            bad(),
            table(vec![("CC".into(), Value::FieldArray(vec![long("customer.create")].into()))]),
        ),
        ("expires", bad(), plain("").with_expiration("3600000".into()).with_user_id("guest".into())),
        ("giant", vec![b' '; 16 * 1024 * 1024], plain("")),
        (
            "wide",
            format!(r#"{{"customer":{{{}"x":1}}}}"#, r#""x":1,"#.repeat(90_000)).into_bytes(),
            plain(""),
        ),
        ("surrogate", replaced("Geoff", "\\ud800"), plain("")),
        ("nul", replaced("Geoff", "\0"), plain("")),
        ("number", replaced("\"Geoff\"", "1e999"), plain("")),
        ("type", bad(), plain("").with_type(INJECTION.into())),
        ("encoded", bad(), plain("").with_content_encoding(INJECTION.into())),
    ]
}
