//! There and back.

use super::*;
use crate::message::{DecimalValue, Headers, ShortString, Value, long};
use proptest::prelude::*;
use uuid::Uuid;

fn key() -> EventKey {
    EventKey(Uuid::from_u128(7))
}

fn back(message: &Message) -> Message {
    read(&line(key(), message).expect("a line")).expect("a letter")
}

fn same(one: &Message, other: &Message) -> bool {
    one.body == other.body
        && one.properties == other.properties
        && one.exchange == other.exchange
        && one.routing_key == other.routing_key
}

fn message(headers: Option<Headers>, body: Vec<u8>) -> Message {
    let mut properties = Properties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("60000".into())
        .with_message_id("m".into())
        .with_timestamp(u64::MAX)
        .with_type("CreateCustomer".into())
        .with_user_id("guest".into())
        .with_app_id("a".into())
        .with_cluster_id("".into());
    if let Some(headers) = headers {
        properties = properties.with_headers(headers);
    }
    Message {
        body: body.into(),
        properties,
        exchange: "customers.dead".into(),
        routing_key: "customers.create".into(),
        redelivered: false,
    }
}

#[test]
fn every_property_goes_there_and_back() {
    for headers in [None, Some(Headers::default())] {
        let whole = message(headers, b"{}".to_vec());
        assert!(same(&back(&whole), &whole));
    }
    let bare = Message { properties: Properties::default(), ..message(None, vec![]) };
    assert!(same(&back(&bare), &bare));
}

#[test]
fn what_is_no_letter_says_so_without_a_value() {
    let whole = line(key(), &message(None, b"Geoff".to_vec())).expect("a line");
    for (wrong, says) in [
        (whole.replace("\"dead_letter\":1", "\"dead_letter\":2"), "newer version"),
        (whole.replace("R2VvZmY=", "%"), "no Base64"),
        (whole.replace("\"key\"", "\"Geoff\""), "no exported dead letter"),
        (whole.replace("\"m\"", &format!("\"{}\"", "x".repeat(256))), "longer than 255 bytes"),
    ] {
        let error = read(&wrong).expect_err("wrong");
        assert!(error.contains(says) && !error.contains("Geoff"), "{error}");
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-zé-]{1,12}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Boolean),
        any::<i8>().prop_map(Value::ShortShortInt),
        any::<u8>().prop_map(Value::ShortShortUInt),
        any::<i16>().prop_map(Value::ShortInt),
        any::<u16>().prop_map(Value::ShortUInt),
        any::<i32>().prop_map(Value::LongInt),
        any::<u32>().prop_map(Value::LongUInt),
        any::<i64>().prop_map(Value::LongLongInt),
        any::<f32>().prop_filter("NaN is not even itself", |n| !n.is_nan()).prop_map(Value::Float),
        any::<f64>().prop_filter("NaN is not even itself", |n| !n.is_nan()).prop_map(Value::Double),
        (any::<u8>(), any::<u32>())
            .prop_map(|(scale, value)| Value::DecimalValue(DecimalValue { scale, value })),
        any::<u64>().prop_map(Value::Timestamp),
        name().prop_map(|text| Value::ShortString(ShortString::from(text.as_str()))),
        ".{0,20}".prop_map(|text| long(&text)),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::LongString(bytes.into())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::ByteArray(bytes.into())),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| Value::FieldArray(values.into())),
            prop::collection::btree_map(name(), inner, 0..4).prop_map(|map| Value::FieldTable(table(map))),
        ]
    })
}

fn table(map: BTreeMap<String, Value>) -> Headers {
    let mut table = Headers::default();
    for (name, value) in map {
        table.insert(name.as_str().into(), value);
    }
    table
}

proptest! {
    #[test]
    fn any_letter_goes_there_and_back(headers in prop::collection::btree_map(name(), value(), 0..6),
        body in prop::collection::vec(any::<u8>(), 0..100)) {
        let whole = message(Some(table(headers)), body);
        prop_assert!(same(&back(&whole), &whole));
    }

    #[test]
    fn no_line_makes_it_panic(text in ".{0,200}") {
        let _ = read(&text);
        let _ = read(&format!("{{\"dead_letter\":1,{text}}}"));
    }
}
