//! *Create customer*: the data and the structured CloudEvent around it.
//!
//! The schema never refuses what the worker takes. Two rules of the worker are narrower, since no
//! schema can say them: an e-mail address is checked in full, and a birthday must have come.

use super::word;
use crate::{
    customer::{self, ACCOUNT, CONTEXT, PERSON},
    event::CREATE_CUSTOMER,
};
use serde_json::{Value, json};

/// A character that shows: no white space, control or invisible format character.
const SHOWS: &str = r"[^\s\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2060\ufeff]";
/// A media type of JSON, such as `application/json` or `application/vnd.x+json; charset=utf-8`.
const JSON_MEDIA_TYPE: &str = r"^[^;/]*/([^;]*\+)?[jJ][sS][oO][nN]\s*(;.*)?$";

/// imin's request body; the constants may be left out.
pub(super) fn data() -> Value {
    json!({
        "title": "Create customer: the data",
        "description": "imin's request body. Properties that are not named here are passed on to imin unchanged.",
        "type": "object",
        "required": ["customer"],
        "properties": {
            "@context": optional_constant(CONTEXT),
            "@type": optional_constant(ACCOUNT),
            "customer": customer(),
        },
        "examples": [example_data(), {"customer": {
            "email": "geoffcapes@example.com", "givenName": "Geoff", "familyName": "Capes",
        }}],
    })
}

/// The structured CloudEvent, whose data is described at `data` in the same document.
pub(super) fn event(data: &str) -> Value {
    json!({
        "title": "Create customer: the event",
        "description": "CloudEvents 1.0 in structured mode, content type application/cloudevents+json.",
        "type": "object",
        "required": ["specversion", "type", "source", "id"],
        "properties": {
            "specversion": {"const": "1.0"},
            "type": {"const": CREATE_CUSTOMER},
            "source": word("Where the event comes from. With `id` it makes the event's identity: the same two are the same event, however often it comes."),
            "id": word("The sender's id of the event."),
            "subject": {
                "type": ["string", "null"], "minLength": 1,
                "description": "The sender's own key for the customer; it comes back on the created event. No personal data.",
            },
            "datacontenttype": {"type": ["string", "null"], "pattern": JSON_MEDIA_TYPE},
            "time": {"description": "When the event was made."},
            "traceparent": {"description": "W3C Trace Context, passed on to imin and to the created event."},
            "tracestate": {"description": "Beside a traceparent."},
        },
        "oneOf": [
            {"required": ["data"], "properties": {"data": {"$ref": data}, "data_base64": {"type": "null"}}},
            {"required": ["data_base64"], "properties": {
                "data": {"type": "null"},
                "data_base64": {
                    "type": "string", "contentEncoding": "base64", "contentMediaType": "application/json",
                    "contentSchema": {"$ref": data},
                },
            }},
        ],
        "examples": [example()],
    })
}

fn customer() -> Value {
    json!({
        "type": "object",
        "required": ["email", "givenName", "familyName"],
        "properties": {
            "@type": optional_constant(PERSON),
            "email": {
                "type": "string", "format": "email", "pattern": r"^\S(.*\S)?@[^@\s]+\.[^@\s]+$",
                "description": "The bare address, its domain with a dot.",
            },
            "givenName": not_blank(),
            "familyName": not_blank(),
            "telephone": {"type": "string"},
            "gender": {"type": "string", "examples": ["https://schema.org/Female", "https://schema.org/Male"]},
            "birthDate": {
                "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
                "description": "Must not lie in the future.",
            },
            "imin:is13OrOver": {"type": "boolean"},
            "address": address(),
            "emergencyContact": {
                "type": "object",
                "properties": {
                    "@type": optional_constant(PERSON),
                    "name": {"type": "string"},
                    "telephone": {"type": "string"},
                },
            },
        },
    })
}

fn address() -> Value {
    json!({
        "type": "object",
        "properties": {
            "@type": optional_constant("PostalAddress"),
            "streetAddress": {"type": "string"},
            "addressLocality": {"type": "string"},
            "addressRegion": {"type": "string"},
            "postalCode": {"type": "string"},
            "addressCountry": {
                "description": "ISO 3166-1 alpha-2.",
                "enum": customer::countries(),
            },
        },
    })
}

fn optional_constant(value: &str) -> Value {
    json!({"const": value, "description": "May be left out; the worker supplies it."})
}

fn not_blank() -> Value {
    json!({"type": "string", "pattern": SHOWS})
}

/// imin's own example, as its documentation has it.
pub(super) fn example_data() -> Value {
    json!({
        "@context": CONTEXT,
        "@type": ACCOUNT,
        "customer": {
            "@type": PERSON,
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
                "addressCountry": "GB",
            },
            "emergencyContact": {"@type": PERSON, "name": "Ralph Capes", "telephone": "020 811 8055"},
        },
    })
}

/// A structured event with that example.
pub(super) fn example() -> Value {
    json!({
        "specversion": "1.0",
        "type": CREATE_CUSTOMER,
        "source": "/signup",
        "id": "0b6d1a39-7e0b-4f0c-9d56-3a4f5d8a1c11",
        "subject": "member-4711",
        "time": "2026-01-31T09:30:00Z",
        "datacontenttype": "application/json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": example_data(),
    })
}
