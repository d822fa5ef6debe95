//! Created: imin gets what the sender wrote, and the platform gets the identifier.

use crate::support::world::{World, customer, headers, json, plain, with_headers};
use imin_customer_worker::message::{Message, Properties};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The request of imin's documentation, character for character.
const EXAMPLE: &str = r#"{
  "@context": "https://openactive.io/",
  "@type": "CustomerAccount",
  "customer": {
    "@type": "Person",
    "email": "geoffcapes@example.com",
    "telephone": "020 811 8055",
    "givenName": "Geoff",
    "familyName": "Capes",
    "birthDate": "1970-01-01",
    "gender": "https://schema.org/Female",
    "imin:is13OrOver": true,
    "address": {
      "@type": "PostalAddress",
      "streetAddress": "Raynes Park High School, 46A West Barnes Lane",
      "addressLocality": "New Malden",
      "addressRegion": "London",
      "postalCode": "NW5 3DU",
      "addressCountry": "GB"
    },
    "emergencyContact": {
      "@type": "Person",
      "name": "Ralph Capes",
      "telephone": "020 811 8055"
    }
  }
}"#;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// What SHA-256 makes of `{"customer":{"email":"geoff@example.com","givenName":"Geoff","familyName":"Capes"}}`,
/// by sha256sum.
const HASHED: &str = "83090717629a2c61e5bbb5542ec0ae4a6d81392baefa8de8594d48d5fd923fb6";
const UNNAMED: &str =
    r#"{"customer":{"email":"geoff@example.com","givenName":"Geoff","familyName":"Capes"}}"#;

#[tokio::test]
async fn imin_gets_what_the_sender_wrote() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    world.publish(EXAMPLE.as_bytes(), plain("documented")).await;
    let got = next_account(&mut world).await;
    assert!(got.starts_with(EXAMPLE.trim_end_matches(['}', '\n'])), "not what was sent: {got}");
    let mut account: Value = serde_json::from_str(&got).expect("JSON");
    let object = account.as_object_mut().expect("an object");
    assert!(object.remove("@id").is_some() && object.remove("identifier").is_some());
    assert_eq!(account, serde_json::from_str::<Value>(EXAMPLE).expect("JSON"));

    // Unknown properties, odd numbers and spellings stay, in place; the constants are supplied.
    let odd = r#"{"x":[1.0,1e2,null],"customer":{"zz":{"\u00e9":"\/"},"email":"g@example.com","givenName":"G","familyName":"C","a":12345678901234567890}}"#;
    world.publish(odd.as_bytes(), plain("odd")).await;
    let got = next_account(&mut world).await;
    for part in [r#""x":[1.0,1e2,null],"#, r#""zz":{"\u00e9":"\/"},"email":"#, r#""a":12345678901234567890}"#]
    {
        assert!(got.contains(part), "{part} is not in: {got}");
    }
    let account: Value = serde_json::from_str(&got).expect("JSON");
    assert_eq!(
        (&account["@context"], &account["@type"]),
        (&json!("https://openactive.io/"), &json!("CustomerAccount"))
    );
    assert_eq!(account["customer"]["@type"], "Person");
    worker.stop().await;
}

/// What imin has of the account of the next event.
async fn next_account(world: &mut World) -> String {
    let event = json(&world.created(1).await[0]);
    world.account(event["data"]["identifier"].as_str().expect("an identifier")).await
}

/// An event in some encoding, and what must come of it.
struct Case {
    properties: Properties,
    body: Value,
    id: &'static str,
    /// The id of the outgoing event, where another implementation has computed it.
    key: Option<&'static str>,
    subject: Option<&'static str>,
    traced: bool,
}

fn cases() -> Vec<Case> {
    let data = customer("geoff@example.com");
    let structured = json!({
        "specversion": "1.0", "type": "CreateCustomer", "source": "/signup", "id": "1", "subject": "crm-1",
        "time": "2026-01-02T03:04:05Z", "traceparent": PARENT, "data": data,
    });
    let content_type =
        |media: &str| Properties::default().with_content_type(media.into()).with_delivery_mode(2);
    let binary = |prefix: &str, id: &str| {
        let attributes = [
            ("specversion", "1.0"),
            ("type", "CreateCustomer"),
            ("source", "/signup"),
            ("id", id),
            ("subject", "crm-2"),
        ];
        let named: Vec<(String, &str)> =
            attributes.iter().map(|(name, value)| (format!("{prefix}{name}"), *value)).collect();
        let headers: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        with_headers(content_type("application/json"), &headers)
    };
    let case = |properties, body: &Value, id, key, subject, traced| Case {
        properties,
        body: body.clone(),
        id,
        key,
        subject,
        traced,
    };
    // The keys are what Python's uuid.uuid5 makes of source and id.
    let (first, fifth) = ("15855196-ff0d-53b7-b503-415c48d1ba7d", "c0b48828-749a-5aca-aeca-b1716e25d7a2");
    vec![
        case(
            content_type("application/cloudevents+json; charset=utf-8"),
            &structured,
            "1",
            Some(first),
            Some("crm-1"),
            true,
        ),
        case(binary("ce-", "2"), &data, "2", None, Some("crm-2"), false),
        case(binary("cloudEvents:", "3"), &data, "3", None, Some("crm-2"), false),
        case(binary("cloudEvents_", "4"), &data, "4", None, Some("crm-2"), false),
        case(
            with_headers(plain("5").with_type("CreateCustomer".into()), &[("traceparent", PARENT)]),
            &data,
            "5",
            Some(fifth),
            None,
            true,
        ),
        case(plain("200"), &customer("geoff+fault-200@example.com"), "200", None, None, false),
    ]
}

#[tokio::test]
async fn every_encoding_becomes_the_same_event() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let cases = cases();
    for case in &cases {
        let correlated = case.properties.clone().with_correlation_id(format!("corr-{}", case.id).into());
        world.publish(case.body.to_string().as_bytes(), correlated).await;
    }
    world.publish(UNNAMED.as_bytes(), Properties::default().with_delivery_mode(2)).await;
    let events = world.created(cases.len() + 1).await;
    let events: BTreeMap<String, Message> = events.into_iter().map(|event| (cause(&event), event)).collect();
    for case in &cases {
        check(&world, case, &events[case.id]);
    }
    assert_eq!(events[HASHED].properties.correlation_id(), &None, "none came");
    check_counts(&worker, events.len()).await;
    assert_eq!((world.accounts(), world.sandbox.accounts().doubles), (events.len(), 0));
    worker.stop().await;
    assert_eq!((world.depth("customers.create").await, world.depth("customers.create.dead").await), (0, 0));
}

fn cause(event: &Message) -> String {
    json(event)["causationid"].as_str().expect("a cause").to_owned()
}

fn check(world: &World, case: &Case, event: &Message) {
    let body = json(event);
    let made = world.sandbox.accounts().accounts;
    let account =
        made.iter().find(|account| Some(account.identifier.as_str()) == body["data"]["identifier"].as_str());
    let key =
        account.and_then(|account| account.idempotency_key.as_deref()).expect("the account stands at imin");
    assert!(case.key.is_none_or(|expected| expected == key), "{key}");
    let identifier = body["data"]["identifier"].as_str().expect("an identifier");
    let time: jiff::Timestamp = body["time"].as_str().expect("a time").parse().expect("a time");
    let mut expected = json!({
        "specversion": "1.0", "type": "CustomerAccountCreated", "source": "/imin-customer-worker", "id": key,
        "time": time.to_string(), "datacontenttype": "application/json", "causationid": case.id,
        "data": {
            "@context": "https://openactive.io/", "@type": "CustomerAccount", "identifier": identifier,
            "@id": format!("{}/customer-accounts/{identifier}", world.sandbox.base_url()),
        },
    });
    let mut expected_headers = BTreeSet::from(["worker-instance"]);
    if let Some(subject) = case.subject {
        expected["subject"] = json!(subject);
    }
    if case.traced {
        expected["traceparent"] = json!(PARENT);
        expected_headers.insert("traceparent");
        assert_eq!(headers(event)["traceparent"], PARENT);
    }
    assert_eq!(body, expected);
    let headers = headers(event);
    assert_eq!(
        headers.as_object().expect("an object").keys().map(String::as_str).collect::<BTreeSet<_>>(),
        expected_headers
    );
    check_properties(case, event, key, time);
}

fn check_properties(case: &Case, event: &Message, key: &str, time: jiff::Timestamp) {
    let headers = event.properties.headers().clone().expect("headers");
    let expected = Properties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_message_id(key.into())
        .with_type("CustomerAccountCreated".into())
        .with_app_id("imin-customer-worker".into())
        .with_correlation_id(format!("corr-{}", case.id).into())
        .with_timestamp(u64::try_from(time.as_second()).expect("after 1970"))
        .with_headers(headers);
    assert_eq!(event.properties, expected);
    let address = (event.exchange.as_str(), event.routing_key.as_str());
    assert_eq!(address, ("customers.events", "customer.account.created"));
}

async fn check_counts(worker: &crate::support::worker::Worker, events: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let all = events as f64;
    worker.until("outcomes_total{outcome=\"created\"}", |n| n == all).await;
    for name in
        ["events_published_total", "api_requests_total{status=\"201\"}", "processing_duration_seconds_count"]
    {
        assert_eq!(worker.metric(name).await, all, "{name}");
    }
}
