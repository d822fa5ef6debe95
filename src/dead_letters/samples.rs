//! Letters for the tests of this room.

use super::letter::{Letter, Why};
use crate::{
    broker::Names,
    event::EventKey,
    letters::{self, Failure},
    message::{Headers, Message, Properties},
    outcome::Reason,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// The time of all tests.
pub(crate) fn now() -> Timestamp {
    "2026-03-01T03:00:00Z".parse().expect("a time")
}

/// The names as they are by default.
pub(crate) fn names() -> Names {
    Names {
        queue: "customers.create".into(),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        events_exchange: "customers.events".into(),
        events_routing_key: "customer.account.created".into(),
        unrouted_exchange: "customers.unrouted".into(),
        unrouted_queue: "customers.unrouted".into(),
        dead_exchange: "customers.dead".into(),
        dead_queue: "customers.create.dead".into(),
    }
}

/// A letter with nothing but a reason.
pub(crate) fn letter(reason: Reason) -> Letter {
    Letter {
        key: EventKey(Uuid::from_u128(0x1585_5196_ff0d_53b7_b503_415c_48d1_ba7d)),
        why: Why::Known(reason),
        status: None,
        attempts: 0,
        replays: 0,
        at: Some(now()),
        first_attempt_at: None,
        problems: Vec::new(),
        detail: Value::Null,
        hint: None,
    }
}

/// A plain event.
pub(crate) fn event(body: &str, id: Option<&str>) -> Message {
    let mut properties =
        Properties::default().with_content_type("application/json".into()).with_headers(Headers::default());
    if let Some(id) = id {
        properties = properties.with_message_id(id.into());
    }
    Message {
        body: body.to_owned().into(),
        properties,
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        redelivered: false,
    }
}

/// What the worker makes of an event that it gives up.
pub(crate) fn dead(message: &Message, reason: Reason) -> Message {
    let failure = Failure {
        key: super::letter::identity(message, crate::clock::today(now())),
        reason,
        detail: json!({ "cause": "ambiguous" }),
        status: Some(422),
        attempts: 3,
        first_attempt_at: Some(now()),
        at: now(),
    };
    let publication = letters::dead(&names(), message, &failure);
    Message {
        body: publication.body,
        properties: publication.properties,
        exchange: publication.exchange,
        routing_key: publication.routing_key,
        redelivered: false,
    }
}
