//! What holds for every message, tried with many.

use super::*;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value as Json, json};

/// Stands in every value and every unknown name that the tests make up, and in no rule.
const MARK: &str = "QZX";

const NAMES: [&str; 19] = [
    "@context",
    "@type",
    "customer",
    "email",
    "givenName",
    "familyName",
    "telephone",
    "gender",
    "birthDate",
    "imin:is13OrOver",
    "address",
    "streetAddress",
    "addressCountry",
    "emergencyContact",
    "name",
    "id",
    "source",
    "data",
    "data_base64",
];

/// A string that holds the mark, in the forms that the rules look at.
fn marked() -> impl Strategy<Value = String> {
    let forms = vec![
        "{}",
        " {} ",
        "{}@example.com",
        "{} <{}@x.org>",
        "1970-01-{}",
        "https://{}/",
        "{}\u{0}\"\\\n",
        "é{}李",
    ];
    (select(forms), 0..1000).prop_map(|(form, n)| form.replace("{}", &format!("{MARK}{n}")))
}

fn any_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        4 => marked().prop_map(Json::from),
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        1 => any::<i64>().prop_map(Json::from),
        1 => select(&["Person", "PostalAddress", "CustomerAccount", "https://openactive.io/", "GB", "1970-01-01"][..])
            .prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Json::from), any_object(inner).prop_map(Json::Object)]
    })
}

fn any_object(values: impl Strategy<Value = Json>) -> impl Strategy<Value = Map<String, Json>> {
    let name = prop_oneof![3 => select(&NAMES[..]).prop_map(str::to_owned), 1 => marked()];
    vec((name, values), 0..6).prop_map(|pairs| pairs.into_iter().collect())
}

/// The example with some fields replaced by any values, and some of any name added.
fn damaged() -> impl Strategy<Value = Json> {
    (any_object(any_value()), any_object(any_value()), any_object(any_value())).prop_map(
        |(top, customer, address)| {
            let mut data: Json = serde_json::from_str(EXAMPLE).unwrap();
            data["customer"]["address"].as_object_mut().unwrap().extend(address);
            data["customer"].as_object_mut().unwrap().extend(customer);
            data.as_object_mut().unwrap().extend(top);
            data
        },
    )
}

/// Valid data: the required fields, any unknown properties around them, some constants left out.
fn valid_data() -> impl Strategy<Value = String> {
    let foreign = || {
        vec(("x-[a-z]{0,9}", any_value()), 0..5).prop_map(|pairs| pairs.into_iter().collect::<Map<_, _>>())
    };
    (foreign(), foreign(), any::<[bool; 3]>(), any::<bool>()).prop_map(
        |(mut top, mut customer, given, pretty)| {
            let constants = [("@context", "https://openactive.io/"), ("@type", "CustomerAccount")];
            let constants = constants.into_iter().zip(given).filter(|(_, given)| *given);
            top.extend(constants.map(|((name, value), _)| (name.to_owned(), value.into())));
            for (name, value) in [("email", "a@example.com"), ("givenName", "a"), ("familyName", "b")] {
                customer.insert(name.to_owned(), value.into());
            }
            if given[2] {
                customer.insert("@type".to_owned(), "Person".into());
            }
            top.insert("customer".to_owned(), customer.into());
            if pretty { serde_json::to_string_pretty(&top) } else { serde_json::to_string(&top) }.unwrap()
        },
    )
}

fn header_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(&["1.0", "CreateCustomer", "/signup", PARENT][..]).prop_map(long),
        marked().prop_map(|text| long(&text)),
        any::<i64>().prop_map(Value::LongLongInt),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Value::LongString(bytes.into())),
        Just(Value::Void),
    ]
}

/// Any properties: the content types and headers that a reader looks at, and marks elsewhere.
fn any_properties() -> impl Strategy<Value = Properties> {
    let names = vec![
        "ce-id",
        "ce-type",
        "ce-source",
        "ce-specversion",
        "cloudEvents:id",
        "cloudEvents_subject",
        "QZX",
    ];
    let types = vec!["", STRUCTURED, "application/json", "QZX/QZX"];
    let table = vec((select(names), header_value()), 0..7);
    (table, select(types), select(&["", "utf-8", "QZX"][..]), select(&["", "CreateCustomer", "QZX"][..]))
        .prop_map(|(table, content_type, encoding, kind)| {
            Properties::default()
                .with_headers(headers(&table))
                .with_content_type(content_type.into())
                .with_content_encoding(encoding.into())
                .with_type(kind.into())
                .with_message_id("QZX".into())
        })
}

/// The text with repeated, undocumented names behind one of its braces.
fn repeated(text: &[u8], at: prop::sample::Index) -> Vec<u8> {
    let braces: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'{').collect();
    let (before, after) = text.split_at(braces[at.index(braces.len())] + 1);
    [before, br#""QZX":{"QZX":[{"email":1,"email":2}]},"QZX":0,"#, after].concat()
}

/// Bodies from nonsense to nearly right.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let event = (damaged(), any_object(any_value())).prop_map(|(data, more)| {
        let mut event =
            json!({"specversion": "1.0", "type": "CreateCustomer", "source": "s", "id": "i", "data": data});
        event.as_object_mut().unwrap().extend(more);
        event.to_string().into_bytes()
    });
    let data = damaged().prop_map(|data| data.to_string().into_bytes());
    let encoded = damaged().prop_map(|data| {
        let data = BASE64_STANDARD.encode(data.to_string());
        json!({"specversion": "1.0", "type": "CreateCustomer", "source": "s", "id": "i", "data_base64": data})
            .to_string()
            .into_bytes()
    });
    let whole = prop_oneof![event, data, encoded];
    prop_oneof![
        3 => whole.clone(),
        1 => (whole.clone(), any::<prop::sample::Index>()).prop_map(|(body, at)| repeated(&body, at)),
        1 => (whole, any::<prop::sample::Index>(), vec(any::<u8>(), 0..4)).prop_map(|(mut body, at, bytes)| {
            let at = at.index(body.len());
            body.splice(at..(at + bytes.len() / 2).min(body.len()), bytes);
            body
        }),
        1 => vec(any::<u8>(), 0..200),
        1 => r#"[\[\]{}:,"\\u0-9a-f e+.-]{0,60}"#.prop_map(String::into_bytes),
    ]
}

proptest! {
    /// Whatever comes, the answer is an event or at least one problem, the same each time, and no
    /// word of it comes from the message.
    #[test]
    fn no_message_panics_or_gets_into_a_problem(body in any_body(), properties in any_properties()) {
        let message = message(body, properties);
        let (first, second) = (read(&message, TODAY), read(&message, TODAY));
        match (first, second) {
            (Ok(first), Ok(second)) => {
                prop_assert_eq!(first.key, second.key);
                prop_assert_eq!(first.request, second.request);
            },
            (Err(first), Err(second)) => {
                prop_assert!(!first.problems.is_empty());
                let words = serde_json::to_string(&first.problems).unwrap();
                prop_assert!(!words.contains(MARK), "{}", words);
                let debug = format!("{first:?}");
                prop_assert!(!debug.contains(MARK));
                prop_assert_eq!(first, second);
            },
            _ => prop_assert!(false, "two readings of one message differ"),
        }
    }

    /// Every pointer into a body without repeated names leads to a place, or to one just beside
    /// an object that lacks a property, once its stars are taken for what they stand for.
    #[test]
    fn pointers_lead_into_the_body(data in damaged()) {
        if let Err(invalid) = read(&plain(data.to_string()), TODAY) {
            for problem in invalid.problems {
                prop_assert!(!problem.pointer.contains('*'), "rules are for documented names: {}", problem.pointer);
                let parent = problem.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
                prop_assert!(data.pointer(parent).is_some(), "{}", problem.pointer);
                prop_assert_eq!(problem.rule == "is required", data.pointer(&problem.pointer).is_none());
            }
        }
    }

    /// The request is the data and the constants: nothing lost, changed or moved.
    #[test]
    fn data_is_passed_on_byte_for_byte_with_its_constants(data in valid_data()) {
        let request = valid(&plain(data.clone())).request;
        let mut expected: Json = serde_json::from_str(&data).unwrap();
        expected["@context"] = "https://openactive.io/".into();
        expected["@type"] = "CustomerAccount".into();
        expected["customer"]["@type"] = "Person".into();
        prop_assert_eq!(&serde_json::from_slice::<Json>(&request).unwrap(), &expected);

        let mut rest = std::str::from_utf8(&request).unwrap().to_owned();
        let top = [("\"@context\":\"https://openactive.io/\",", "@context"), ("\"@type\":\"CustomerAccount\",", "@type")];
        let parsed: Json = serde_json::from_str(&data).unwrap();
        for (text, name) in top {
            if parsed.get(name).is_none() {
                prop_assert_eq!(rest.find(text), Some(1), "right behind the brace");
                rest = rest.replacen(text, "", 1);
            }
        }
        if parsed["customer"].get("@type").is_none() {
            rest = rest.replacen("\"@type\":\"Person\",", "", 1);
        }
        prop_assert_eq!(rest, data);
    }

    /// An event is the same event in every encoding.
    #[test]
    fn one_event_is_one_key_and_one_request(data in valid_data(), source in "\\PC{1,20}", id in "\\PC{1,20}") {
        let attributes = [("specversion", "1.0"), ("type", "CreateCustomer"), ("source", &source), ("id", &id)];
        let members = attributes.map(|(name, value)| format!("{}:{}", json!(name), json!(value))).join(",");
        let inline = valid(&structured(format!("{{{members},\"data\":{data}}}")));
        let encoded = valid(&structured(format!("{{\"data_base64\":\"{}\",{members}}}", BASE64_STANDARD.encode(&data))));
        let mut binary = binary("ce-", &[("source", long(&source)), ("id", long(&id))]);
        binary.body = data.into();
        let binary = valid(&binary);
        prop_assert_eq!([encoded.key, binary.key], [inline.key; 2]);
        prop_assert_eq!([&encoded.request, &binary.request], [&inline.request; 2]);
        prop_assert_eq!([&inline.id, &encoded.id, &binary.id], [&id; 3]);
    }
}
