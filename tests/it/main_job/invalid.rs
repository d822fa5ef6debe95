//! Invalid: every problem at once, by place and rule, and the worker goes on.

use super::Failure;
use crate::support::world::{World, customer, plain};
use imin_customer_worker::message::Properties;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A message that is no event, and the problems that must be told: part, pointer, rule.
struct Case {
    id: &'static str,
    properties: Properties,
    body: Vec<u8>,
    problems: Vec<(&'static str, &'static str, &'static str)>,
}

fn case(
    id: &'static str,
    body: impl Into<Vec<u8>>,
    problem: (&'static str, &'static str, &'static str),
) -> Case {
    Case { id, properties: plain(id), body: body.into(), problems: vec![problem] }
}

/// The customer, with one more property, or another one.
fn with(pointer: &str, value: Value) -> String {
    let mut data = customer("geoff@example.com");
    let (at, name) = pointer.rsplit_once('/').expect("a pointer");
    data.pointer_mut(at).expect("an object")[name] = value;
    data.to_string()
}

fn cases() -> Vec<Case> {
    let long = with("/customer/note", json!("x".repeat(1024 * 1024)));
    let deep = format!(r#"{{"customer":{}"#, "[".repeat(200_000));
    let twice =
        r#"{"customer":{"email":"a@example.com","email":"b@example.com","givenName":"A","familyName":"B"}}"#;
    let event = json!({
        "specversion": "1.0", "type": "DeleteCustomer", "source": "/signup", "id": "e",
        "data": customer("geoff@example.com"),
    });
    let structured = |id| plain(id).with_content_type("application/cloudevents+json".into());
    vec![
        case("long", long, ("body", "", "must not be longer than 1 MiB")),
        case("latin1", &b"{\"customer\":{\"givenName\":\"Zo\xeb\"}}"[..], ("body", "", "must be UTF-8")),
        case("deep", deep, ("body", "", "must not be nested deeper than 127 levels")),
        case("twice", twice, ("body", "/customer/email", "must not stand twice in one object")),
        case(
            "context",
            with("/@context", json!("https://schema.org/")),
            ("body", "/@context", "must be https://openactive.io/"),
        ),
        case("kind", with("/@type", json!("Person")), ("body", "/@type", "must be CustomerAccount")),
        case(
            "person",
            with("/customer/@type", json!("Robot")),
            ("body", "/customer/@type", "must be Person"),
        ),
        case("empty", "", ("body", "", "must not be empty")),
        case("blank", " \n ", ("body", "", "must not be empty")),
        case("cut", r#"{"customer":{"email":"#, ("body", "", "must be JSON, but ends too early")),
        case("array", "[]", ("body", "", "must be an object")),
        Case {
            properties: plain("type").with_type("DeleteCustomer".into()),
            ..case(
                "type",
                customer("geoff@example.com").to_string(),
                ("properties", "/type", "must be CreateCustomer"),
            )
        },
        Case {
            properties: plain("packed").with_content_encoding("gzip".into()),
            ..case("packed", &[0x1f, 0x8b, 8, 0][..], ("properties", "/content_encoding", "uncompressed"))
        },
        Case {
            properties: structured("ce-type"),
            ..case("ce-type", event.to_string(), ("body", "/type", "must be CreateCustomer"))
        },
        Case {
            properties: structured("all"),
            problems: everything().1,
            ..case("all", everything().0, ("", "", ""))
        },
    ]
}

/// One event with every mistake, and all that must be said of it.
fn everything() -> (String, Vec<(&'static str, &'static str, &'static str)>) {
    let body = json!({
        "specversion": "2.0", "type": "CreateCustomer", "id": "",
        "data": {
            "@context": "https://openactive.io", "@type": 7,
            "customer": {
                "@type": "person", "email": "geoff", "givenName": " ", "familyName": null,
                "telephone": 44, "birthDate": "1970-02-30", "gender": [], "imin:is13OrOver": "yes",
                "address": {"@type": "Address", "streetAddress": 1, "addressCountry": "UK"},
                "emergencyContact": "Ralph",
            },
        },
    });
    let problems = vec![
        ("body", "/specversion", "must be 1.0"),
        ("body", "/source", "is required"),
        ("body", "/id", "must not be empty"),
        ("body", "/data/@context", "must be https://openactive.io/"),
        ("body", "/data/@type", "must be CustomerAccount"),
        ("body", "/data/customer/@type", "must be Person"),
        ("body", "/data/customer/email", "must be an e-mail address"),
        ("body", "/data/customer/givenName", "must not be blank"),
        ("body", "/data/customer/familyName", "must be a string"),
        ("body", "/data/customer/telephone", "must be a string"),
        ("body", "/data/customer/birthDate", "must be a date that exists"),
        ("body", "/data/customer/gender", "must be a string"),
        ("body", "/data/customer/imin:is13OrOver", "must be true or false"),
        ("body", "/data/customer/address/@type", "must be PostalAddress"),
        ("body", "/data/customer/address/streetAddress", "must be a string"),
        ("body", "/data/customer/address/addressCountry", "ISO 3166-1 alpha-2"),
        ("body", "/data/customer/emergencyContact", "must be an object"),
    ];
    (body.to_string(), problems)
}

#[tokio::test]
async fn what_is_no_event_is_a_dead_letter_and_the_worker_goes_on() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let cases = cases();
    for case in &cases {
        world.publish(&case.body, case.properties.clone()).await;
    }
    world.send("good", &customer("geoff@example.com")).await;
    assert_eq!(crate::support::world::json(&world.created(1).await[0])["causationid"], "good");

    let dead = world.dead_by_id(cases.len()).await;
    for case in &cases {
        let letter = &dead[case.id];
        assert!(letter.body == case.body, "{}: the body is not what was sent", case.id);
        let failure = Failure::of(letter);
        assert_eq!(
            (&*failure.reason, failure.attempts, failure.status),
            ("invalid_event", 0, None),
            "{}",
            case.id
        );
        assert!(!failure.was_tried());
        check_problems(case, &failure.detail);
        let headers = letter.properties.headers().clone().expect("headers");
        assert_eq!(letter.properties, case.properties.clone().with_headers(headers), "{}", case.id);
    }
    check_counts(&worker, cases.len()).await;
    assert_eq!(world.accounts(), 1, "none of them was called for");
    worker.stop().await;
    assert_eq!(world.depth("customers.create").await, 0);
}

fn check_problems(case: &Case, detail: &Value) {
    let told = detail["problems"].as_array().expect("a list");
    let text = |problem: &Value, name: &str| problem[name].as_str().expect("a text").to_owned();
    for (part, pointer, rule) in &case.problems {
        let found = told.iter().any(|problem| {
            text(problem, "in") == *part
                && text(problem, "pointer") == *pointer
                && text(problem, "rule").contains(rule)
        });
        assert!(found, "{}: {part} {pointer} {rule} is not in {detail}", case.id);
    }
    assert_eq!(told.len(), case.problems.len(), "{}: {detail}", case.id);
    let members: BTreeSet<&String> =
        told.iter().flat_map(|problem| problem.as_object().expect("an object").keys()).collect();
    assert_eq!(members.len(), 3, "place and rule, and nothing else: {members:?}");
}

async fn check_counts(worker: &crate::support::worker::Worker, invalid: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let all = invalid as f64;
    worker.until("outcomes_total{outcome=\"invalid\"}", |n| n == all).await;
    worker.until("outcomes_total{outcome=\"created\"}", |n| n == 1.0).await;
    assert_eq!(worker.metric("dead_letters_total{reason=\"invalid_event\"}").await, all);
    assert_eq!(worker.metric("api_requests_total{status=\"201\"}").await, 1.0);
    assert_eq!(worker.metric("in_flight").await, 0.0);
}
