//! The three encodings, each with its own rules: recognition, envelope, identity, data.

use super::*;
use base64::prelude::{BASE64_STANDARD, Engine as _};

const NOT_JSON: &str = "must be a JSON media type such as application/json";

fn with_data(members: &str) -> Message {
    envelope(&format!(r#"{members}"data":{EXAMPLE}"#))
}

#[test]
fn a_plain_example_goes_through_as_the_very_same_bytes() {
    let message = plain(EXAMPLE);
    let event = valid(&message);
    assert_eq!(event.request, EXAMPLE);
    assert_eq!(event.request.as_ptr(), message.body.as_ptr());
    assert_eq!((event.subject, event.trace), (None, Trace::default()));
}

#[test]
fn a_structured_example_goes_through_as_a_part_of_the_body() {
    let message = with_data("");
    let event = valid(&message);
    assert_eq!(event.request, EXAMPLE);
    assert!(message.body.as_ptr_range().contains(&event.request.as_ptr()));
    assert_eq!((event.id.as_str(), event.subject), ("1", None));
}

#[test]
fn a_structured_event_may_carry_its_data_in_base64() {
    let without = r#"{"customer":{"email":"a@example.com","givenName":"a","familyName":"b"}}"#;
    let message = envelope(&format!(r#""data":null,"data_base64":"{}""#, BASE64_STANDARD.encode(without)));
    let request: serde_json::Value = serde_json::from_slice(&valid(&message).request).unwrap();
    assert_eq!(request["customer"]["@type"], "Person");
    let example = envelope(&format!(r#""data_base64":"{}""#, BASE64_STANDARD.encode(EXAMPLE)));
    assert_eq!(valid(&example).request, EXAMPLE);
}

#[test]
fn a_binary_example_goes_through_with_each_prefix() {
    for prefix in ["ce-", "cloudEvents:", "cloudEvents_"] {
        let message = binary(prefix, &[("subject", long("member-7"))]);
        let event = valid(&message);
        assert_eq!(event.request.as_ptr(), message.body.as_ptr());
        assert_eq!((event.id.as_str(), event.subject.as_deref()), ("1", Some("member-7")), "{prefix}");
    }
}

#[test]
fn the_content_type_of_a_structured_event_has_parameters_and_any_case() {
    for content_type in
        ["application/cloudevents+json; charset=utf-8", "Application/CloudEvents+JSON", STRUCTURED]
    {
        let mut message = with_data("");
        message.properties = Properties::default().with_content_type(content_type.into());
        assert_eq!(valid(&message).id, "1", "{content_type}");
    }
}

#[test]
fn anything_else_is_plain() {
    for content_type in ["", "application/json", "text/plain", "application/cloudevents"] {
        let properties = Properties::default()
            .with_content_type(content_type.into())
            .with_message_id("m1".into())
            .with_type("CreateCustomer".into())
            .with_headers(headers(&[("ce-subject", long("x")), ("id", long("y"))]));
        let event = valid(&message(EXAMPLE, properties));
        assert_eq!((event.id.as_str(), event.subject), ("m1", None), "{content_type}");
    }
}

#[test]
fn one_event_has_one_key_in_every_encoding() {
    let key = valid(&with_data("")).key;
    for prefix in ["ce-", "cloudEvents:", "cloudEvents_"] {
        assert_eq!(valid(&binary(prefix, &[])).key, key);
    }
    assert_ne!(valid(&binary("ce-", &[("source", long("/other"))])).key, key);
    assert_ne!(valid(&binary("ce-", &[("id", long("2"))])).key, key);
    let message_id = Properties::default().with_message_id("1".into());
    assert_ne!(valid(&message(EXAMPLE, message_id)).key, key);
}

#[test]
fn a_plain_event_is_known_by_its_message_id_else_by_its_body() {
    let event = valid(&plain(EXAMPLE));
    assert_eq!(event.id.len(), 64);
    let empty = Properties::default().with_message_id("".into()).with_type("".into());
    assert_eq!(valid(&message(EXAMPLE, empty)).key, event.key);
    assert_ne!(valid(&plain(format!("{EXAMPLE} "))).key, event.key);
    let id = Properties::default().with_message_id("m1".into());
    assert_eq!(valid(&message(EXAMPLE, id.clone())).key, read(&message("?", id), TODAY).unwrap_err().key);
}

#[test]
fn an_invalid_event_keeps_its_own_key_where_source_and_id_can_be_read() {
    let key = valid(&with_data("")).key;
    assert_eq!(read(&envelope(r#""data":1"#), TODAY).unwrap_err().key, key);
    assert_eq!(read(&binary("ce-", &[("type", long("x"))]), TODAY).unwrap_err().key, key);
    let nameless = structured(r#"{"id":"1"}"#);
    assert_eq!(
        read(&nameless, TODAY).unwrap_err().key,
        read(&plain(r#"{"id":"1"}"#), TODAY).unwrap_err().key
    );
}

#[test]
fn every_attribute_has_its_rule() {
    let cases = [
        ("specversion", Some("\"0.3\""), "must be 1.0"),
        ("specversion", Some("1.0"), "must be a string"),
        ("specversion", None, "is required"),
        ("type", Some("\"DeleteCustomer\""), "must be CreateCustomer"),
        ("type", Some("null"), "is required"),
        ("source", Some("\"\""), "must not be empty"),
        ("source", None, "is required"),
        ("id", Some("7"), "must be a string"),
        ("id", None, "is required"),
        ("subject", Some("\"\""), "must not be empty"),
        ("subject", Some("{}"), "must be a string"),
        ("datacontenttype", Some("\"application/xml\""), NOT_JSON),
        ("datacontenttype", Some("\"json\""), NOT_JSON),
        ("datacontenttype", Some("[]"), "must be a string"),
    ];
    for (name, value, rule) in cases {
        let given = value.map(|value| (name, value));
        let others = [
            ("specversion", "\"1.0\""),
            ("type", "\"CreateCustomer\""),
            ("source", "\"s\""),
            ("id", "\"i\""),
        ];
        let members = others.into_iter().filter(|(other, _)| *other != name).chain(given);
        let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let found = invalid(&structured(format!("{{{},\"data\":{EXAMPLE}}}", members.join(","))));
        assert_eq!(found, [Problem::body(format!("/{name}"), rule)]);
    }
}

#[test]
fn attributes_that_are_not_set_or_not_known_are_no_problem() {
    let event = valid(&with_data(
        r#""subject":null,"datacontenttype":"application/vnd.imin+JSON; v=1","time":7,"dataschema":null,"tenant":"x","#,
    ));
    assert_eq!(event.subject, None);
    valid(&binary(
        "ce-",
        &[("subject", Value::Void), ("tenant", Value::Boolean(true)), ("time", Value::Timestamp(1))],
    ));
}

#[test]
fn a_binary_attribute_is_named_by_its_header() {
    let cases = [
        ("id", long(""), "must not be empty"),
        ("id", Value::LongInt(7), "must be a string"),
        ("id", Value::LongString(vec![0xff].into()), "must be a string"),
        ("id", Value::Void, "is required"),
        ("specversion", long("2.0"), "must be 1.0"),
        ("type", long("createcustomer"), "must be CreateCustomer"),
        ("datacontenttype", long("text/html"), NOT_JSON),
    ];
    for prefix in ["ce-", "cloudEvents:", "cloudEvents_"] {
        for (name, value, rule) in &cases {
            let found = invalid(&binary(prefix, &[(name, value.clone())]));
            assert_eq!(found, [Problem::header(&format!("{prefix}{name}"), *rule)]);
        }
    }
    let alone = message(EXAMPLE, Properties::default().with_headers(headers(&[("ce-id", long("1"))])));
    let missing =
        ["specversion", "type", "source"].map(|name| Problem::header(&format!("ce-{name}"), "is required"));
    assert_eq!(invalid(&alone), missing);
}

#[test]
fn amqp_properties_have_rules_too() {
    let kind = Properties::default().with_type("DeleteCustomer".into());
    let rule = "must be CreateCustomer where it is set";
    assert_eq!(invalid(&message(EXAMPLE, kind.clone())), [Problem::property("type", rule)]);
    let event = message(with_data("").body, kind.with_content_type(STRUCTURED.into()));
    assert_eq!(valid(&event).id, "1", "a CloudEvent says its type itself");
    let mut html = binary("ce-", &[]);
    html.properties = html.properties.with_content_type("text/html".into());
    assert_eq!(invalid(&html), [Problem::property("content_type", NOT_JSON)]);
    html.properties = html.properties.with_content_type("application/json;charset=utf-8".into());
    assert_eq!(valid(&html).id, "1");
}

#[test]
fn a_body_is_read_in_no_encoding_but_utf_8() {
    for encoding in ["", "identity", "utf-8", "UTF-8"] {
        valid(&message(EXAMPLE, Properties::default().with_content_encoding(encoding.into())));
    }
    for encoding in ["gzip", "utf-16"] {
        let found = invalid(&message(EXAMPLE, Properties::default().with_content_encoding(encoding.into())));
        let rule = "must be utf-8 or left out: send the body uncompressed";
        assert_eq!(found, [Problem::property("content_encoding", rule)]);
    }
}

#[test]
fn data_is_found_or_missed_in_its_place() {
    let cases = [
        (String::from(r#""x":1"#), "/data", "is required"),
        (String::from(r#""data":null"#), "/data", "is required"),
        (String::from(r#""data":"{}""#), "/data", "must be an object"),
        (String::from(r#""data":{}"#), "/data/customer", "is required"),
        (format!(r#""data":{EXAMPLE},"data_base64":"""#), "/data_base64", "must not stand beside data"),
        (String::from(r#""data_base64":1"#), "/data_base64", "must be a string"),
        (String::from(r#""data_base64":"@""#), "/data_base64", "must be Base64 (RFC 4648, with padding)"),
        (String::from(r#""data_base64":"""#), "/data_base64", "must not be empty"),
        (String::from(r#""data_base64":"gA==""#), "/data_base64", "must be UTF-8"),
        (String::from(r#""data_base64":"e30=""#), "/data_base64/customer", "is required"),
        (
            String::from(r#""data_base64":"ew==""#),
            "/data_base64",
            "must be JSON, but ends too early (line 1, column 1)",
        ),
    ];
    for (members, pointer, rule) in cases {
        assert_eq!(invalid(&envelope(&members)), [Problem::body(pointer, rule)]);
    }
}

#[test]
fn envelope_and_data_tell_their_problems_together() {
    let found = invalid(&structured(
        r#"{"specversion":"1.0","id":"","id":"2","data":{"customer":{"email":"x","givenName":"a","familyName":"b","q":{"r":1,"r":2}}}}"#,
    ));
    let pointers: Vec<&str> = found.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(pointers, ["/id", "/data/customer/*/*", "/type", "/source", "/id", "/data/customer/email"]);
}

#[test]
fn an_event_was_made_when_it_says_itself_else_when_amqp_says() {
    let second = |second| Some(jiff::Timestamp::from_second(second).unwrap());
    let dated = |mut message: Message| {
        message.properties = message.properties.with_timestamp(5);
        message
    };
    let told = r#""time":"1970-01-01T01:00:07+01:00","#;
    for (message, made) in [
        (plain(EXAMPLE), None),
        (dated(plain(EXAMPLE)), second(5)),
        (with_data(told), second(7)),
        (dated(with_data(told)), second(7)),
        (dated(with_data("")), second(5)),
        (dated(with_data(r#""time":"yesterday","#)), second(5)),
        (dated(with_data(r#""time":null,"#)), second(5)),
        (dated(binary("ce-", &[("time", long("1970-01-01T00:00:07Z"))])), second(7)),
        (dated(binary("cloudEvents_", &[("time", Value::Timestamp(7))])), second(7)),
        (dated(binary("ce-", &[("time", Value::Timestamp(u64::MAX))])), second(5)),
    ] {
        assert_eq!(valid(&message).made, made, "{message:?}");
    }
    // An event that is dead-lettered has an age, too.
    let made = |message| read(&message, TODAY).expect_err("no customer").made;
    assert_eq!(made(dated(plain("{}"))), second(5));
    assert_eq!(made(structured(r#"{"specversion":"1.0","time":"1970-01-01T00:00:07Z"}"#)), second(7));
    assert_eq!(made(dated(plain("no JSON"))), second(5));
}

#[test]
fn a_trace_comes_from_the_event_else_from_amqp() {
    let other = PARENT.replace("4bf9", "5bf9");
    let own = [("traceparent", long(PARENT)), ("tracestate", long("a=1"))];
    let plain = headers(&[("traceparent", long(&other)), ("tracestate", long("b=2"))]);
    let trace =
        |parent: &str, state: &str| Trace { parent: Some(parent.to_owned()), state: Some(state.to_owned()) };

    assert_eq!(valid(&binary("ce-", &own)).trace, trace(PARENT, "a=1"));
    let members = format!(r#""traceparent":"{PARENT}","tracestate":"a=1","#);
    let mut event = with_data(&members);
    event.properties = event.properties.with_headers(plain.clone());
    assert_eq!(valid(&event).trace, trace(PARENT, "a=1"));
    event.body = with_data(r#""traceparent":"nonsense","tracestate":"a=1","#).body;
    assert_eq!(valid(&event).trace, trace(&other, "b=2"));
    assert_eq!(
        valid(&message(EXAMPLE, Properties::default().with_headers(plain))).trace,
        trace(&other, "b=2")
    );
    let nonsense = headers(&[("traceparent", Value::LongInt(7)), ("tracestate", long("b=2"))]);
    assert_eq!(
        valid(&message(EXAMPLE, Properties::default().with_headers(nonsense))).trace,
        Trace::default()
    );
}

#[test]
fn debug_shows_the_key_alone() {
    let event = valid(&binary("ce-", &[("subject", long("geoff")), ("id", long("geoff"))]));
    assert_eq!(format!("{event:?}"), format!("Event {{ key: {}, .. }}", event.key));
}
