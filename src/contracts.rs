//! What others may rely on: the messages as JSON Schemas, and the whole as an `AsyncAPI` document.
//!
//! Owns the documents' form. What they say is taken from the rooms that do it: the constants of
//! `customer`, `event` and `letters`, the closed set of `outcome`, the names of the broker. What cannot
//! be taken over, tests hold against the worker's own verdict (`tests/it/contracts.rs`).

mod asyncapi;
mod create;
mod created;
mod dead;

use crate::broker::Names;
use serde_json::{Value, json};

/// A document's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The customer, as a plain message or a binary CloudEvent carries it: imin's request body.
    CreateCustomerData,
    /// The event that comes in, as a structured CloudEvent.
    CreateCustomer,
    /// The event that goes out.
    CustomerAccountCreated,
    /// All messages and where they go.
    Asyncapi,
}

/// A document for a broker with these names.
pub fn document(name: Name, names: &Names) -> Value {
    match name {
        Name::CreateCustomerData => schema("create-customer-data", create::data()),
        Name::CreateCustomer => {
            let mut event = create::event("#/$defs/data");
            event["$defs"] = json!({"data": create::data()});
            schema("create-customer", event)
        }
        Name::CustomerAccountCreated => schema("customer-account-created", created::event()),
        Name::Asyncapi => asyncapi::document(names),
    }
}

/// A schema with its name and dialect in front.
fn schema(name: &str, schema: Value) -> Value {
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:imin-customer-worker:{name}"),
    });
    if let (Value::Object(document), Value::Object(schema)) = (&mut document, schema) {
        document.extend(schema);
    }
    document
}

/// A text that is not empty.
fn word(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "description": description})
}

/// A `traceparent`.
fn traceparent() -> Value {
    json!({"type": "string", "description": "W3C Trace Context of the signup, passed on as it came."})
}
