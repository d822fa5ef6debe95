//! The contracts in `deploy/contracts`: what the code prints, and what the worker does.
//!
//! `UPDATE=1 cargo test --test it contracts` writes the files anew. What really went out is left in
//! `target/tmp/contracts`, for the judges that are not ours (`make check-deploy`).

use crate::support::{
    worker::{Settings, client},
    world::{KEY, World, json as body, names, plain, with_headers},
};
use bytes::Bytes;
use imin_customer_worker::{
    clock,
    event::{self, Event, EventKey, Trace},
    ledger::Recorded,
    letters::{self, Failure},
    message::{Message, Properties},
    outcome::{Account, Reason},
};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf};
use uuid::Uuid;

const TODAY: jiff::civil::Date = jiff::civil::date(2026, 1, 31);

fn path(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "deploy", "contracts", file].iter().collect()
}

fn contract(file: &str) -> Value {
    let text = fs::read_to_string(path(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

#[tokio::test]
async fn the_files_are_what_the_code_prints() {
    let settings = Settings::new(&[]);
    for (name, file) in [
        ("create-customer-data", "create-customer-data.schema.json"),
        ("create-customer", "create-customer.schema.json"),
        ("customer-account-created", "customer-account-created.schema.json"),
        ("asyncapi", "asyncapi.json"),
    ] {
        let printed = settings.run(&["contracts", name]).await;
        assert!(printed.status.success(), "{printed:?}");
        let printed = String::from_utf8(printed.stdout).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(path(file), &printed).unwrap();
        }
        let printed: Value = serde_json::from_str(&printed).unwrap();
        assert!(
            contract(file) == printed,
            "deploy/contracts/{file} is out of date: run this test with UPDATE=1"
        );
    }
}

#[test]
fn every_example_keeps_its_contract() {
    for file in [
        "create-customer-data.schema.json",
        "create-customer.schema.json",
        "customer-account-created.schema.json",
    ] {
        let schema = contract(file);
        assert!(jsonschema::meta::is_valid(&schema), "{file}");
        let (validator, examples) = (validator(&schema), schema["examples"].as_array().unwrap());
        assert!(!examples.is_empty());
        for example in examples {
            let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{file}: {errors:?}");
        }
    }
}

fn structured(event: &Value) -> Message {
    let properties = Properties::default().with_content_type("application/cloudevents+json".into());
    message(event.to_string(), properties)
}

fn message(body: impl Into<Bytes>, properties: Properties) -> Message {
    Message {
        body: body.into(),
        properties,
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        redelivered: false,
    }
}

fn worker_takes(event: &Value) -> bool {
    event::read(&structured(event), TODAY).is_ok()
}

/// Every place in a document, by its pointer.
fn places(document: &Value, at: &str, into: &mut Vec<String>) {
    if let Value::Object(members) = document {
        for (name, value) in members {
            let place = format!("{at}/{}", name.replace('/', "~1"));
            places(value, &place, into);
            into.push(place);
        }
    }
}

/// A document with another value at a place; with none, without it.
fn with(document: &Value, place: &str, value: Option<&Value>) -> Value {
    let mut changed = document.clone();
    let (parent, name) = place.rsplit_once('/').unwrap();
    let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value.clone()),
        None => parent.remove(name),
    };
    changed
}

#[test]
fn the_schema_and_the_worker_agree_on_every_field() {
    let schema = contract("create-customer.schema.json");
    let (validator, example) = (validator(&schema), schema["examples"][0].clone());
    assert!(worker_takes(&example));
    let mut all =
        vec!["/data_base64".to_owned(), "/tracestate".to_owned(), "/data/customer/other".to_owned()];
    places(&example, "", &mut all);
    assert!(all.len() > 30, "{all:?}");
    let values = [
        json!(null),
        json!(0),
        json!(1.5),
        json!(true),
        json!([]),
        json!(["x"]),
        json!({}),
        json!(""),
        json!(" "),
        json!("\u{200b}\u{a0}"),
        json!("\u{85}"),
        json!("x"),
        json!("GB"),
        json!("gb"),
        json!("XX"),
        json!("1.0"),
        json!("Person"),
        json!("1970-01-31"),
        json!("1970-02-30"),
        json!("2999-01-01"),
        json!("geoff@example.com"),
        json!("geoff@example"),
        json!("Geoff <geoff@example.com>"),
        json!(" geoff@example.com"),
        json!("application/json"),
        json!("application/vnd.imin+JSON ; charset=utf-8"),
        json!("text/plain"),
    ];
    for place in &all {
        // What no schema can say, so that the worker is stricter there.
        let stricter = ["/email", "/birthDate", "/data_base64"].iter().any(|end| place.ends_with(end));
        for value in values.iter().map(Some).chain([None]) {
            let changed = with(&example, place, value);
            let (taken, valid) = (worker_takes(&changed), validator.is_valid(&changed));
            let agreed = if stricter { valid || !taken } else { valid == taken };
            assert!(agreed, "{place} = {value:?}: the worker {taken}, the schema {valid}");
        }
    }
}

fn example_event() -> Event {
    Event {
        key: EventKey(Uuid::from_u128(1)),
        id: "signup-1".into(),
        subject: Some("member-4711".into()),
        trace: Trace {
            parent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            state: Some("vendor=1".into()),
        },
        request: Bytes::new(),
    }
}

fn names_of(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_created_event_has_the_members_that_its_contract_has() {
    let schema = contract("customer-account-created.schema.json");
    let account = Account { identifier: "abc".into(), id: Some("https://imin.example/abc".into()) };
    let recorded = Recorded { account, published: false, possible_duplicate: true };
    let incoming = message("{}", Properties::default());
    let event = example_event();
    let sent = letters::created(&names(), "w", &event, &event.trace, &incoming, &recorded, clock::now());
    let event: Value = serde_json::from_slice(&sent.body).unwrap();
    let errors: Vec<_> = validator(&schema).iter_errors(&event).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(names_of(&event), names_of(&schema["properties"]));
    assert_eq!(names_of(&event["data"]), names_of(&schema["properties"]["data"]["properties"]));
}

#[test]
fn a_dead_letter_has_the_headers_that_its_contract_has() {
    let contract = contract("asyncapi.json");
    let headers = &contract["components"]["messages"]["DeadLetter"]["headers"];
    let failure = Failure {
        key: EventKey(Uuid::from_u128(1)),
        reason: Reason::RejectedByApi,
        detail: json!({}),
        status: Some(400),
        attempts: 1,
        first_attempt_at: Some(clock::now()),
        at: clock::now(),
    };
    let letter = letters::dead(&names(), &message("{}", Properties::default()), &failure);
    let table = letter.properties.headers().clone().unwrap();
    let written: BTreeSet<&str> = table.inner().keys().map(lapin::types::ShortString::as_str).collect();
    assert_eq!(written, names_of(&headers["properties"]));
    let required = headers["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    assert!(required.collect::<BTreeSet<_>>().is_subset(&written));
    let reasons = headers["properties"]["failure-reason"]["enum"].as_array().unwrap();
    assert!(reasons.contains(&json!(Reason::RejectedByApi.as_str())));
}

/// Leaves what really went out where `deploy/scripts/check-deploy.sh` finds it.
fn leave(file: &str, document: &Value) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("contracts");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(file), document.to_string()).unwrap();
}

/// The request that made an account, from imin's mirror of it.
async fn request(world: &World, identifier: &str) -> Value {
    let url = format!("{}/customer-accounts/{identifier}", world.sandbox.base_url());
    let answer = client().get(url).header("X-API-KEY", KEY).send().await.unwrap();
    let mut account: Value = answer.json().await.unwrap();
    let members = account.as_object_mut().unwrap();
    members.remove("@id");
    members.remove("identifier");
    account
}

#[tokio::test]
async fn what_really_goes_out_keeps_its_contract() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let event = contract("create-customer.schema.json")["examples"][0].clone();
    let data = event["data"].to_string();
    world.publish(event.to_string().as_bytes(), structured(&event).properties).await;
    let attributes =
        [("ce-specversion", "1.0"), ("ce-type", "CreateCustomer"), ("ce-source", "/signup"), ("ce-id", "2")];
    world.publish(data.as_bytes(), with_headers(Properties::default(), &attributes)).await;
    world.publish(data.as_bytes(), plain("3")).await;
    let (out, data) = (
        validator(&contract("customer-account-created.schema.json")),
        validator(&contract("create-customer-data.schema.json")),
    );
    for (index, created) in world.created(3).await.iter().enumerate() {
        let created = body(created);
        assert!(out.is_valid(&created), "{created:#}");
        leave(&format!("event-{index}.json"), &created);
        let request = request(&world, created["data"]["identifier"].as_str().unwrap()).await;
        assert!(data.is_valid(&request), "{request:#}");
        leave(&format!("request-{index}.json"), &request);
    }
    worker.stop().await;
}
