//! What the broker itself wrote on a message that it dead-lettered: `x-death`.
//!
//! Owns the reading of that header. What follows from it is the reader's business.

use crate::message::{Headers, Message, Value, number, text};
use jiff::Timestamp;

/// Why and where from the broker dead-lettered a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// `delivery_limit`, `expired`, `rejected` or `maxlen`.
    pub reason: String,
    /// The exchange by which the message had come into that queue.
    pub exchange: String,
    /// The routing key by which it had come.
    pub routing_key: String,
    /// When it happened.
    pub at: Option<Timestamp>,
}

impl Death {
    /// The latest death for the delivery limit, else the latest of all: a message that died of the limit
    /// may have expired in delay queues before, which is how it went round.
    pub fn of(message: &Message) -> Option<Self> {
        let Value::FieldArray(deaths) = message.header("x-death")? else { return None };
        let deaths: Vec<Self> = deaths.as_slice().iter().filter_map(Self::read).collect();
        let limit = deaths.iter().position(|death| death.reason == "delivery_limit");
        deaths.into_iter().nth(limit.unwrap_or(0))
    }

    fn read(death: &Value) -> Option<Self> {
        let Value::FieldTable(death) = death else { return None };
        let word = |name| death.inner().get(name).and_then(text).map(str::to_owned);
        Some(Self {
            reason: word("reason")?,
            exchange: word("exchange").unwrap_or_default(),
            routing_key: routing_key(death).unwrap_or_default(),
            at: death.inner().get("time").and_then(time),
        })
    }
}

fn routing_key(death: &Headers) -> Option<String> {
    let Value::FieldArray(keys) = death.inner().get("routing-keys")? else { return None };
    keys.as_slice().first().and_then(text).map(str::to_owned)
}

fn time(value: &Value) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(number(value)?).ok()?).ok()
}
