//! *Customer account created*: what goes out. Its fields are those of `letters::created`.

use super::{traceparent, word};
use crate::{
    customer::{ACCOUNT, CONTEXT},
    letters::{CREATED, SOURCE},
};
use serde_json::{Value, json};

/// The structured CloudEvent. Readers should let further members pass.
pub(super) fn event() -> Value {
    json!({
        "title": "Customer account created",
        "description": "CloudEvents 1.0 in structured mode. Nothing in it is personal data. At least once: the same id is the same event.",
        "type": "object",
        "required": ["specversion", "type", "source", "id", "time", "datacontenttype", "causationid", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "type": {"const": CREATED},
            "source": {"const": SOURCE},
            "id": {"type": "string", "format": "uuid", "description": "UUIDv5 of the incoming event's source and id, so that a repeat is recognisable."},
            "subject": word("The incoming event's subject."),
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "causationid": word("The incoming event's id."),
            "traceparent": traceparent(),
            "tracestate": {"type": "string"},
            "possibleduplicate": {
                "type": "boolean",
                "description": "True where an earlier attempt may have made a second account; absent otherwise.",
            },
            "data": {
                "type": "object",
                "required": ["@context", "@type", "identifier"],
                "properties": {
                    "@context": {"const": CONTEXT},
                    "@type": {"const": ACCOUNT},
                    "@id": {"type": "string", "description": "The account's URL, where imin gave one."},
                    "identifier": word("imin's identifier of the customer account, as a text."),
                },
            },
        },
        "examples": [example()],
    })
}

/// An event.
pub(super) fn example() -> Value {
    json!({
        "specversion": "1.0",
        "type": CREATED,
        "source": SOURCE,
        "id": "7f2b5c3e-9d6a-5f7e-8a55-0d2c1b9e4f10",
        "subject": "member-4711",
        "time": "2026-01-31T09:30:01.2Z",
        "datacontenttype": "application/json",
        "causationid": "0b6d1a39-7e0b-4f0c-9d56-3a4f5d8a1c11",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": {
            "@context": CONTEXT,
            "@type": ACCOUNT,
            "@id": "https://book.imin.co/api/v2/customer-accounts/abc",
            "identifier": "abc",
        },
    })
}
