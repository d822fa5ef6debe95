//! Tests of the room as a whole, through `read`.
//!
//! Owns the messages that the tests are made of; what they show is in the submodules.

use super::*;
use crate::message::{Headers, Properties, Value, long};
use jiff::civil::date;
use std::collections::BTreeMap;

mod encodings;
mod hostile;
mod properties;

/// imin's own example of a request, as their page prints it.
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
const TODAY: Date = date(2026, 2, 28);
const STRUCTURED: &str = "application/cloudevents+json";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn message(body: impl Into<Bytes>, properties: Properties) -> Message {
    Message {
        body: body.into(),
        properties,
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        redelivered: false,
    }
}

fn plain(body: impl Into<Bytes>) -> Message {
    message(body, Properties::default())
}

fn structured(body: impl Into<Bytes>) -> Message {
    message(body, Properties::default().with_content_type(STRUCTURED.into()))
}

fn headers(pairs: &[(&str, Value)]) -> Headers {
    let pairs = pairs.iter().map(|(name, value)| ((*name).into(), value.clone()));
    pairs.collect::<BTreeMap<_, _>>().into()
}

/// A binary CloudEvent with the example's body; `more` replaces or adds headers, without prefix.
fn binary(prefix: &str, more: &[(&str, Value)]) -> Message {
    let mut pairs = vec![
        ("specversion", long("1.0")),
        ("type", long("CreateCustomer")),
        ("source", long("/signup")),
        ("id", long("1")),
    ];
    pairs.extend_from_slice(more);
    let named: Vec<_> = pairs.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect();
    let named: Vec<_> = named.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    message(EXAMPLE, Properties::default().with_headers(headers(&named)))
}

/// A structured CloudEvent with these members behind the required ones.
fn envelope(members: &str) -> Message {
    structured(format!(
        r#"{{"specversion":"1.0","type":"CreateCustomer","source":"/signup","id":"1",{members}}}"#
    ))
}

fn valid(message: &Message) -> Event {
    read(message, TODAY).unwrap_or_else(|invalid| panic!("{:?}", invalid.problems))
}

fn invalid(message: &Message) -> Vec<Problem> {
    read(message, TODAY).expect_err("a valid event").problems
}
