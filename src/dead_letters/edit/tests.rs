//! Edits in each encoding, and that nothing else changes.

use super::*;
use crate::{
    clock,
    dead_letters::samples::{event, now},
};
use proptest::prelude::*;
use serde_json::json;

const PLAIN: &str =
    r#"{ "z":1.0, "customer": {"familyName":"Capes",  "email":"wrong", "givenName":"Geoff"} }"#;

fn sets(texts: &[&str]) -> Vec<Set> {
    texts.iter().map(|text| text.parse().expect("a place and a value")).collect()
}

fn after(body: &str, texts: &[&str]) -> String {
    String::from_utf8(set(body.as_bytes(), &sets(texts)).expect("set")).expect("UTF-8")
}

fn today() -> Date {
    clock::today(now())
}

#[test]
fn what_is_not_set_keeps_its_bytes_and_its_order() {
    assert_eq!(
        after(PLAIN, &["/customer/email=geoff@example.com", "/customer/imin:is13OrOver=true"]),
        r#"{"z":1.0,"customer":{"familyName":"Capes","email":"geoff@example.com","givenName":"Geoff","imin:is13OrOver":true}}"#
    );
    assert_eq!(after(PLAIN, &["/customer/email=wrong"]), PLAIN, "nothing changed, so nothing does");
}

#[test]
fn the_data_of_a_structured_event_is_found() {
    let structured = format!(r#"{{"specversion":"1.0","id":"1","data":{PLAIN}}}"#);
    let changed: Value =
        serde_json::from_str(&after(&structured, &["/customer/email=a@b.co"])).expect("JSON");
    assert_eq!(changed["data"]["customer"]["email"], "a@b.co");
    let changed: Value =
        serde_json::from_str(&after(&structured, &["/data/customer/email=a@b.co"])).expect("JSON");
    assert_eq!(changed["data"]["customer"]["email"], "a@b.co");
    let changed: Value = serde_json::from_str(&after(&structured, &["/id=2"])).expect("JSON");
    assert_eq!(changed["id"], 2);
}

#[test]
fn data_in_base64_is_opened_and_closed_again() {
    let body = json!({"specversion": "1.0", "data_base64": BASE64_STANDARD.encode(PLAIN)}).to_string();
    for pointer in ["/customer/email", "/data_base64/customer/email"] {
        let changed = after(&body, &[&format!("{pointer}=a@b.co")]);
        let changed: Value = serde_json::from_str(&changed).expect("JSON");
        let inner = BASE64_STANDARD.decode(changed["data_base64"].as_str().expect("text")).expect("Base64");
        assert_eq!(
            inner,
            PLAIN
                .replace("wrong", "a@b.co")
                .replace("{ \"z\":1.0, \"customer\": {", "{\"z\":1.0,\"customer\":{")
                .replace(",  ", ",")
                .replace(", \"givenName\"", ",\"givenName\"")
                .replace("} }", "}}")
                .into_bytes()
        );
    }
}

#[test]
fn a_patch_is_rfc_6902() {
    let operations: Patch = serde_json::from_value(json!([
        {"op": "test", "path": "/customer/email", "value": "wrong"},
        {"op": "move", "from": "/customer/email", "path": "/customer/mail"},
        {"op": "remove", "path": "/z"},
    ]))
    .expect("a patch");
    let patched = patch(PLAIN.as_bytes(), &operations).expect("applies");
    assert_eq!(
        String::from_utf8(patched.clone()).expect("UTF-8"),
        r#"{"customer":{"familyName":"Capes","givenName":"Geoff","mail":"wrong"}}"#
    );
    let error = patch(&patched, &operations).expect_err("the test fails").to_string();
    assert!(error.contains("operation 0") && !error.contains("wrong"), "{error}");
}

#[test]
fn what_cannot_be_set_says_so_without_a_value() {
    assert!("customer=1".parse::<Set>().is_err() && "/customer".parse::<Set>().is_err());
    let not_json = set(b"Geoff", &sets(&["/customer/email=a@b.co"])).expect_err("no JSON").to_string();
    assert!(not_json.contains("/customer/email") && !not_json.contains("Geoff"), "{not_json}");
    let nowhere = set(b"{}", &sets(&["/customer/email=a@b.co"])).expect_err("no parent").to_string();
    assert!(nowhere.contains("does not apply") && !nowhere.contains("a@b.co"), "{nowhere}");
}

#[test]
fn an_event_known_by_its_body_keeps_its_identity() {
    for id in [None, Some("")] {
        keeps_its_identity(&event(PLAIN, id));
    }
}

fn keeps_its_identity(letter: &Message) {
    let edited =
        edited(letter, set(PLAIN.as_bytes(), &sets(&["/customer/email=a@b.co"])).expect("set"), today());
    assert_eq!(edited.problems, []);
    assert_eq!(edited.key, read(letter, today()).0);
    assert_eq!(read(&edited.message, today()).0, edited.key, "as the worker will read it");
}

#[test]
fn an_event_with_an_id_is_not_touched_but_for_its_body() {
    let letter = event(PLAIN, Some("signup-1"));
    let edited = edited(&letter, b"{}".to_vec(), today());
    assert_eq!(edited.message.properties, letter.properties);
    assert_eq!(edited.key, read(&letter, today()).0);
    assert_eq!(edited.problems[0].rule, "is required");
}

#[test]
fn an_event_that_gets_its_id_by_the_edit_is_that_event() {
    let structured = |id: &str| {
        format!(r#"{{"specversion":"1.0","type":"CreateCustomer","source":"/s"{id},"data":{{}}}}"#)
    };
    let properties =
        crate::message::Properties::default().with_content_type("application/cloudevents+json".into());
    let letter = Message { properties, ..event(&structured(""), None) };
    let given = edited(&letter, structured(r#","id":"1""#).into_bytes(), today());
    assert_ne!(given.key, read(&letter, today()).0);
    assert_eq!(given.message.properties.message_id(), &None);
}

#[test]
fn changes_name_places_and_no_values() {
    let changed = after(PLAIN, &["/customer/email=a@b.co", "/customer/telephone=1", "/mine=2"]);
    assert_eq!(
        changes(PLAIN.as_bytes(), changed.as_bytes()).expect("JSON"),
        ["/customer/email", "/customer/telephone (new)", "/* (new)"]
    );
    assert_eq!(changes(b"[1,2]", b"[1]"), Some(vec!["/1 (removed)".to_owned()]));
    assert_eq!(changes(b"1", b"2"), Some(vec!["(all of it)".to_owned()]));
    assert_eq!(changes(b"x", b"2"), None);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"é]{0,4}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever is written means the new value, and an unchanged value is the old text.
    #[test]
    fn what_is_written_is_what_is_meant(old in json(), new in json()) {
        let text = serde_json::to_string_pretty(&old).expect("JSON");
        let raw: &RawValue = serde_json::from_str(&text).expect("JSON");
        let written = bytes::write(&new, raw);
        prop_assert_eq!(&serde_json::from_str::<Value>(&written).expect("JSON"), &new);
        prop_assert_eq!(bytes::write(&old, raw), text);
    }
}
