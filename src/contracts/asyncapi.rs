//! The `AsyncAPI` 3 document: channels, operations and messages, with their AMQP bindings.

use super::{create, created, dead};
use crate::{
    VERSION,
    broker::Names,
    event::CREATE_CUSTOMER,
    letters::{CREATED, INSTANCE},
};
use serde_json::{Value, json};

/// The version of the AMQP bindings.
const BINDING: &str = "0.3.0";
/// The content type of a structured CloudEvent.
const STRUCTURED: &str = "application/cloudevents+json";

/// The document.
pub(super) fn document(names: &Names) -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "imin-customer-worker",
            "version": VERSION,
            "description": "Turns create-customer events into imin customer accounts, and tells the rest of the platform which identifier each customer got. Each incoming event ends as exactly one of: a created event, a dead letter, or still in the queue.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": STRUCTURED,
        "channels": channels(names),
        "operations": operations(),
        "components": {"messages": messages(), "schemas": {
            "CreateCustomer": create::event("#/components/schemas/CreateCustomerData"),
            "CreateCustomerData": create::data(),
            "CustomerAccountCreated": created::event(),
        }},
    })
}

fn channels(names: &Names) -> Value {
    let message = |name: &str| json!({"$ref": format!("#/components/messages/{name}")});
    json!({
        "createCustomer": {
            "title": "Create customer",
            "description": format!("Senders publish here: persistent, mandatory and confirmed. The queue {} is bound here.", names.queue),
            "address": names.routing_key,
            "messages": {
                "structured": message("CreateCustomer"),
                "binary": message("CreateCustomerBinary"),
                "plain": message("CreateCustomerPlain"),
            },
            "bindings": {"amqp": exchange(&names.exchange, "topic")},
        },
        "customerAccountCreated": {
            "title": "Customer account created",
            "description": format!("Bind a queue of your own here. What nobody subscribes to is kept in the queue {}.", names.unrouted_queue),
            "address": names.events_routing_key,
            "messages": {"event": message("CustomerAccountCreated")},
            "bindings": {"amqp": exchange(&names.events_exchange, "topic")},
        },
        "deadLetters": {
            "title": "Dead letters",
            "description": "Events that did not become a customer, byte for byte as they came, each with its reason in its headers.",
            "address": names.dead_queue,
            "messages": {"letter": message("DeadLetter")},
            "bindings": {"amqp": {
                "is": "queue",
                "queue": {"name": names.dead_queue, "durable": true, "exclusive": false, "autoDelete": false},
                "bindingVersion": BINDING,
            }},
        },
    })
}

fn exchange(name: &str, kind: &str) -> Value {
    json!({
        "is": "routingKey",
        "exchange": {"name": name, "type": kind, "durable": true, "autoDelete": false},
        "bindingVersion": BINDING,
    })
}

fn operations() -> Value {
    let on = |channel: &str| json!({"$ref": format!("#/channels/{channel}")});
    let sends = json!({"amqp": {"deliveryMode": 2, "mandatory": true, "bindingVersion": BINDING}});
    json!({
        "takeSignup": {
            "action": "receive",
            "summary": "Takes an event and makes a customer account at imin, once.",
            "channel": on("createCustomer"),
            "bindings": {"amqp": {"ack": true, "bindingVersion": BINDING}},
        },
        "tellIdentifier": {
            "action": "send",
            "summary": "Tells the identifier of the account, at least once.",
            "channel": on("customerAccountCreated"),
            "bindings": sends,
        },
        "giveUp": {
            "action": "send",
            "summary": "Puts aside what cannot become a customer, with the reason.",
            "channel": on("deadLetters"),
            "bindings": sends,
        },
    })
}

fn messages() -> Value {
    let schema = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let example = create::example_data();
    json!({
        "CreateCustomer": {
            "title": "Create customer, CloudEvents structured",
            "contentType": STRUCTURED,
            "payload": schema("CreateCustomer"),
            "examples": [{"name": "documented", "payload": create::example()}],
        },
        "CreateCustomerBinary": {
            "title": "Create customer, CloudEvents binary",
            "description": "The attributes as headers with the prefix ce-, cloudEvents: or cloudEvents_.",
            "contentType": "application/json",
            "headers": {
                "type": "object",
                "required": ["ce-specversion", "ce-type", "ce-source", "ce-id"],
                "properties": {
                    "ce-specversion": {"const": "1.0"},
                    "ce-type": {"const": CREATE_CUSTOMER},
                    "ce-source": {"type": "string", "minLength": 1},
                    "ce-id": {"type": "string", "minLength": 1},
                    "ce-subject": {"type": "string", "minLength": 1},
                },
            },
            "payload": schema("CreateCustomerData"),
            "examples": [{
                "name": "documented",
                "headers": {"ce-specversion": "1.0", "ce-type": CREATE_CUSTOMER, "ce-source": "/signup", "ce-id": "1"},
                "payload": example,
            }],
        },
        "CreateCustomerPlain": {
            "title": "Create customer, plain JSON",
            "description": "The AMQP property message_id is the event's identity; without one, the SHA-256 of the body is. The property type must be CreateCustomer where it is set.",
            "contentType": "application/json",
            "payload": schema("CreateCustomerData"),
            "bindings": {"amqp": {"messageType": CREATE_CUSTOMER, "bindingVersion": BINDING}},
            "examples": [{"name": "documented", "payload": example}],
        },
        "CustomerAccountCreated": {
            "title": "Customer account created",
            "contentType": STRUCTURED,
            "correlationId": {"description": "Groups all that one signup caused.", "location": "$message.payload#/causationid"},
            "headers": {"type": "object", "properties": {
                INSTANCE: {"type": "string", "description": "Which worker published it."},
                "traceparent": super::traceparent(),
                "tracestate": {"type": "string"},
            }},
            "payload": schema("CustomerAccountCreated"),
            "bindings": {"amqp": {"messageType": CREATED, "bindingVersion": BINDING}},
            "examples": [{"name": "created", "payload": created::example()}],
        },
        "DeadLetter": {
            "title": "Dead letter",
            "description": "The body and the properties of the event as they came.",
            "headers": dead::headers(),
            "payload": {"description": "Whatever was sent."},
        },
    })
}
