//! The main job on the real binary: every class of outcome, from the queue to where it ends.
//!
//! One file a class, or a few that belong together; here is what they share.

mod books;
mod created;
mod duplicate;
mod foreign;
mod invalid;
mod paused;
mod refused;
mod retried;
mod send;
mod unrouted;

use crate::support::world::headers;
use imin_customer_worker::{VERSION, message::Message};
use jiff::Timestamp;
use serde_json::Value;

/// The header that a quorum queue adds to its own deliveries: how many failed before.
const DELIVERIES: &str = "x-delivery-count";

/// What a dead letter says of itself, beyond the message that it was.
struct Failure {
    reason: String,
    detail: Value,
    status: Option<u64>,
    attempts: u64,
    /// The names of all headers that it was published with.
    names: Vec<String>,
}

impl Failure {
    /// Reads it, and checks what holds of every dead letter: what must be there is, times are times,
    /// and nothing is left of how far the message had got.
    fn of(dead: &Message) -> Self {
        let headers = headers(dead);
        let text = |name: &str| headers[name].as_str().unwrap_or_else(|| panic!("no {name}: {headers}"));
        let at: Timestamp = text("failure-at").parse().expect("a time");
        if let Some(first) = headers.get("first-attempt-at") {
            let first: Timestamp = first.as_str().expect("a text").parse().expect("a time");
            assert!(first <= at);
        }
        assert_eq!(
            (text("original-exchange"), text("original-routing-key")),
            ("customers", "customer.create")
        );
        assert_eq!(text("event-key").parse::<uuid::Uuid>().map(|key| key.get_version_num()), Ok(5));
        assert_eq!((text("worker-version"), &headers["replay-count"]), (VERSION, &Value::from(0)));
        for gone in ["attempts", "failures", "not-before", "x-death"] {
            assert!(headers.get(gone).is_none(), "{gone} is still there: {headers}");
        }
        // RabbitMQ 4 does not tell a first delivery.
        let deliveries = headers.get(DELIVERIES).and_then(Value::as_i64).unwrap_or_default();
        assert_eq!(deliveries, 0, "this delivery is its queue's first");
        assert_eq!(
            (dead.exchange.as_str(), dead.routing_key.as_str()),
            ("customers.dead", "customers.create")
        );
        assert_eq!(dead.properties.delivery_mode(), &Some(2), "persistent");
        Self {
            reason: text("failure-reason").to_owned(),
            detail: serde_json::from_str(text("failure-detail")).expect("JSON"),
            status: headers.get("failure-status").map(|status| status.as_u64().expect("a number")),
            attempts: headers["failure-attempts"].as_u64().expect("a number"),
            names: headers
                .as_object()
                .expect("an object")
                .keys()
                .filter(|name| *name != DELIVERIES)
                .cloned()
                .collect(),
        }
    }

    /// Whether there was an attempt, by its time.
    fn was_tried(&self) -> bool {
        self.names.iter().any(|name| name == "first-attempt-at")
    }
}

/// Everything that a dead letter may have of the worker's, in the order of the alphabet.
const DEAD_HEADERS: [&str; 11] = [
    "event-key",
    "failure-at",
    "failure-attempts",
    "failure-detail",
    "failure-reason",
    "failure-status",
    "first-attempt-at",
    "original-exchange",
    "original-routing-key",
    "replay-count",
    "worker-version",
];
