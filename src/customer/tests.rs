//! Tests of each field's rule and of the splice.

use super::*;
use crate::{json, problem::Problem};
use bytes::Bytes;
use serde_json::{Value, json};

const TODAY: Date = jiff::civil::date(2026, 2, 28);

fn full() -> Value {
    json!({
        "@context": "https://openactive.io/", "@type": "CustomerAccount",
        "customer": {
            "@type": "Person", "email": "geoffcapes@example.com", "telephone": "020 811 8055",
            "givenName": "Geoff", "familyName": "Capes", "birthDate": "1970-01-01",
            "gender": "https://schema.org/Female", "imin:is13OrOver": true,
            "address": {
                "@type": "PostalAddress", "streetAddress": "46A West Barnes Lane", "addressLocality": "New Malden",
                "addressRegion": "London", "postalCode": "NW5 3DU", "addressCountry": "GB"
            },
            "emergencyContact": {"@type": "Person", "name": "Ralph Capes", "telephone": "020 811 8055"}
        }
    })
}

fn problems(text: &str) -> Vec<Problem> {
    let mut problems = Problems::default();
    check(&json::parse(text).unwrap(), &Path::Root, TODAY, &mut problems);
    problems.into_list()
}

/// The full example with the value at `pointer` put in, or taken away.
fn with(pointer: &str, value: Option<Value>) -> Value {
    let mut data = full();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let object = data.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
    data
}

fn rule_for(pointer: &str, value: Option<Value>) -> Option<String> {
    let mut found = problems(&with(pointer, value).to_string());
    let problem = found.pop()?;
    assert_eq!(found, [], "more than one problem for {pointer}");
    assert_eq!(problem.pointer, pointer);
    Some(problem.rule)
}

fn supply(text: &'static str) -> (Bytes, Bytes) {
    let data = Bytes::from_static(text.as_bytes());
    let mut problems = Problems::default();
    let missing = check(&json::parse(text).unwrap(), &Path::Root, TODAY, &mut problems);
    assert_eq!(problems.into_list(), []);
    (missing.supply(&data), data)
}

const STRINGS: [&str; 13] = [
    "/customer/email",
    "/customer/givenName",
    "/customer/familyName",
    "/customer/telephone",
    "/customer/gender",
    "/customer/address/streetAddress",
    "/customer/address/addressLocality",
    "/customer/address/addressRegion",
    "/customer/address/postalCode",
    "/customer/address/addressCountry",
    "/customer/emergencyContact/name",
    "/customer/emergencyContact/telephone",
    "/customer/birthDate",
];
const REQUIRED: [&str; 4] = ["/customer", "/customer/email", "/customer/givenName", "/customer/familyName"];
const OPTIONAL: [&str; 13] = [
    "/customer/telephone",
    "/customer/gender",
    "/customer/birthDate",
    "/customer/imin:is13OrOver",
    "/customer/address",
    "/customer/address/streetAddress",
    "/customer/address/addressLocality",
    "/customer/address/addressRegion",
    "/customer/address/postalCode",
    "/customer/address/addressCountry",
    "/customer/emergencyContact",
    "/customer/emergencyContact/name",
    "/customer/emergencyContact/telephone",
];
const CONSTANTS: [(&str, &str); 5] = [
    ("/@context", "https://openactive.io/"),
    ("/@type", "CustomerAccount"),
    ("/customer/@type", "Person"),
    ("/customer/address/@type", "PostalAddress"),
    ("/customer/emergencyContact/@type", "Person"),
];

#[test]
fn the_documented_example_has_no_problem() {
    assert_eq!(problems(&full().to_string()), []);
}

#[test]
fn required_fields_are_required_and_the_others_are_not() {
    for pointer in REQUIRED {
        assert_eq!(rule_for(pointer, None).as_deref(), Some("is required"), "{pointer}");
    }
    for pointer in OPTIONAL.iter().chain(CONSTANTS.iter().map(|(pointer, _)| pointer)) {
        assert_eq!(rule_for(pointer, None), None, "{pointer}");
    }
}

#[test]
fn null_is_no_way_to_leave_a_property_out() {
    for pointer in OPTIONAL {
        let rule = rule_for(pointer, Some(Value::Null));
        assert_eq!(rule.as_deref(), Some("must not be null: leave the property out instead"), "{pointer}");
    }
    assert_eq!(rule_for("/customer", Some(Value::Null)).unwrap(), "must be an object");
    assert_eq!(rule_for("/customer/email", Some(Value::Null)).unwrap(), "must be a string");
}

#[test]
fn types_are_as_documented() {
    for pointer in STRINGS {
        for value in [json!(1), json!(true), json!([]), json!({})] {
            let rule = rule_for(pointer, Some(value)).unwrap();
            let date = pointer.ends_with("birthDate");
            assert_eq!(
                rule,
                if date { "must be a date such as 1970-01-31" } else { "must be a string" },
                "{pointer}"
            );
        }
    }
    for value in [json!("true"), json!(1), json!([]), json!({})] {
        let rule = rule_for("/customer/imin:is13OrOver", Some(value)).unwrap();
        assert_eq!(rule, "must be true or false");
    }
    for pointer in ["/customer", "/customer/address", "/customer/emergencyContact"] {
        for value in [json!("x"), json!(1), json!(true), json!([])] {
            assert_eq!(rule_for(pointer, Some(value)).unwrap(), "must be an object", "{pointer}");
        }
    }
}

#[test]
fn data_that_is_no_object_is_one_problem() {
    for text in ["null", "1", "\"x\"", "[]", "true"] {
        assert_eq!(problems(text), [Problem::body("", "must be an object")], "{text}");
    }
}

#[test]
fn constants_must_be_right_where_they_are_given() {
    for (pointer, right) in CONSTANTS {
        assert_eq!(rule_for(pointer, Some(json!(right))), None);
        let wrong = [json!("person"), json!(null), json!([right]), json!(""), json!(right.to_uppercase())];
        for value in wrong {
            let rule = rule_for(pointer, Some(value)).unwrap();
            assert_eq!(rule, format!("must be {right} where it is given"), "{pointer}");
        }
    }
}

#[test]
fn names_must_show_something() {
    for pointer in ["/customer/givenName", "/customer/familyName", "/customer/email"] {
        for blank in ["", " ", "\t\r\n", "\u{a0}\u{3000}", "\0", "\u{200b}\u{feff}"] {
            assert_eq!(rule_for(pointer, Some(json!(blank))).unwrap(), "must not be blank", "{blank:?}");
        }
    }
    for name in ["O'Neil", " Ng ", "李", "محمد", "A\u{200d}B", "X Æ A-12"] {
        assert_eq!(rule_for("/customer/givenName", Some(json!(name))), None, "{name}");
    }
}

#[test]
fn an_email_is_the_bare_address_of_a_mailbox() {
    let long = format!("{}@example.com", "x".repeat(65));
    let right = [
        "a@example.com",
        "a.b+c@mail.example.co.uk",
        "o'neil@example.com",
        "\"a b\"@example.com",
        "用户@例え.jp",
    ];
    for email in right {
        assert_eq!(rule_for("/customer/email", Some(json!(email))), None, "{email}");
    }
    let wrong = [
        ("geoff", "such as name@"),
        ("@example.com", "such as name@"),
        ("geoff@", "such as name@"),
        ("geoff@@example.com", "such as name@"),
        ("ge off@example.com", "such as name@"),
        ("a@example..com", "such as name@"),
        ("a@example.com.", "such as name@"),
        ("a@-example.com", "such as name@"),
        ("a@example.com\0", "such as name@"),
        ("a@example.com,b@example.com", "such as name@"),
        (&long, "such as name@"),
        ("a@localhost", "a dot"),
        ("a@[127.0.0.1]", "a dot"),
        ("Geoff <a@example.com>", "bare"),
        ("<a@example.com>", "bare"),
        (" <a@example.com>", "bare"),
        (" a@example.com", "bare"),
        ("a@example.com\n", "bare"),
    ];
    for (email, word) in wrong {
        let rule = rule_for("/customer/email", Some(json!(email))).unwrap();
        assert!(rule.contains(word), "{email:?}: {rule}");
    }
}

#[test]
fn a_birth_date_is_a_day_that_has_come() {
    let form = "must be a date such as 1970-01-31";
    let cases = [
        ("1970-01-31", None),
        ("2024-02-29", None),
        ("2026-02-28", None),
        ("2026-03-01", Some("must not lie in the future")),
        ("9999-12-31", Some("must not lie in the future")),
        ("2023-02-29", Some("must be a date that exists")),
        ("1970-13-01", Some("must be a date that exists")),
        ("1970-00-00", Some("must be a date that exists")),
        ("", Some(form)),
        ("1970-1-31", Some(form)),
        ("19700131", Some(form)),
        ("1970-W05-6", Some(form)),
        ("31/01/1970", Some(form)),
        ("1970-01-31T00:00:00Z", Some(form)),
        ("+970-01-31", Some(form)),
        ("1970-01-é", Some(form)),
        ("１970-01-1", Some(form)),
    ];
    for (text, rule) in cases {
        assert_eq!(rule_for("/customer/birthDate", Some(json!(text))).as_deref(), rule, "{text}");
    }
}

#[test]
fn a_country_is_a_code_in_capitals() {
    let pointer = "/customer/address/addressCountry";
    for code in ["GB", "IE", "AX", "ZW"] {
        assert_eq!(rule_for(pointer, Some(json!(code))), None, "{code}");
    }
    for code in ["", "gb", "UK", "GBR", "ZZ", "United Kingdom", "G\0"] {
        let rule = rule_for(pointer, Some(json!(code))).unwrap();
        assert_eq!(rule, "must be an ISO 3166-1 alpha-2 country code in capitals, such as GB", "{code}");
    }
}

#[test]
fn every_problem_is_found_at_once_and_unknown_properties_are_none() {
    let found = problems(
        r#"{"@type":1,"x":null,"customer":{"email":"x","givenName":" ","y":[],
            "address":{"addressCountry":"UK"},"emergencyContact":{"name":2}}}"#,
    );
    let pointers: Vec<&str> = found.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/@type",
            "/customer/email",
            "/customer/givenName",
            "/customer/familyName",
            "/customer/address/addressCountry",
            "/customer/emergencyContact/name"
        ]
    );
}

#[test]
fn nothing_is_copied_where_no_constant_is_missing() {
    let (request, data) = supply(
        r#" {"customer":{"familyName":"b","givenName":"a","email":"a@example.com","@type":"Person"},
            "@type":"CustomerAccount","@context":"https:\/\/openactive.io\/"} "#,
    );
    assert_eq!(request.as_ptr(), data.as_ptr());
    assert_eq!(request, data);
}

#[test]
fn missing_constants_stand_first_in_their_object_and_the_rest_stays_in_place() {
    let cases = [
        (
            r#"{"customer":{"email":"a@example.com","givenName":"a","familyName":"b"}}"#,
            concat!(
                r#"{"@context":"https://openactive.io/","@type":"CustomerAccount","#,
                r#""customer":{"@type":"Person","email":"a@example.com","givenName":"a","familyName":"b"}}"#
            ),
        ),
        (
            "\n{ \"x\" : 1.50e0,\"@type\":\"CustomerAccount\",\"customer\" : { \"email\":\"a@example.com\",\
             \"givenName\":\"\\u0061\",\"familyName\":\"b\" } , \"y\":{} }\n",
            "\n{\"@context\":\"https://openactive.io/\", \"x\" : 1.50e0,\"@type\":\"CustomerAccount\",\"customer\" : \
             {\"@type\":\"Person\", \"email\":\"a@example.com\",\"givenName\":\"\\u0061\",\"familyName\":\"b\" } , \
             \"y\":{} }\n",
        ),
        (
            r#"{"z":{"customer":{}},"@context":"https://openactive.io/","\u0063ustomer":{"@type":"Person","email":"a@example.com","givenName":"a","familyName":"b"}}"#,
            r#"{"@type":"CustomerAccount","z":{"customer":{}},"@context":"https://openactive.io/","\u0063ustomer":{"@type":"Person","email":"a@example.com","givenName":"a","familyName":"b"}}"#,
        ),
        (
            r#"{"@type":"CustomerAccount","z":"{","@context":"https://openactive.io/","\u0063ustomer":{"email":"a@example.com","givenName":"a","familyName":"b"}}"#,
            r#"{"@type":"CustomerAccount","z":"{","@context":"https://openactive.io/","\u0063ustomer":{"@type":"Person","email":"a@example.com","givenName":"a","familyName":"b"}}"#,
        ),
    ];
    for (data, request) in cases {
        assert_eq!(supply(data).0, request);
    }
}
