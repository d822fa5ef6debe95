//! The exchanges, queues and bindings that the worker stands on: said once, declared, verified, printed.
//!
//! Owns the arguments of every queue and why they are so. Which names are used is a setting.

use crate::broker::Names;
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The delivery limit of the dead-letter queue: none, in effect. Looking at dead letters requeues
/// them; RabbitMQ 4 would delete them at the twentieth look without a limit of ours, RabbitMQ 3.10
/// at the first with `-1`. A number that nobody reaches means the same to all versions.
pub const UNLIMITED_DELIVERIES: i64 = 1_000_000_000;

/// An exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// `topic`, `fanout` or `direct`.
    pub kind: &'static str,
    /// Its arguments.
    pub arguments: Vec<(&'static str, Value)>,
}

/// A queue: durable and of the type quorum, which lost no acknowledgement when a broker was killed.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its arguments, without `x-queue-type`.
    pub arguments: Vec<(&'static str, Value)>,
}

/// A binding of a queue to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: String,
    /// The queue.
    pub queue: String,
    /// The routing key.
    pub key: String,
}

/// All of it, in the order in which it can be declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
    /// The queues.
    pub queues: Vec<Queue>,
    /// The bindings.
    pub bindings: Vec<Binding>,
}

/// Why the topology could not be declared or verified.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Something stands with other properties than the worker needs.
    #[error(
        "{what} stands with {argument} = {current}, the worker wants {wanted}. Either set what differs by hand \
         and run with TOPOLOGY=verify, or drain and delete it and let the worker declare it again"
    )]
    Differs {
        /// `queue 'customers.create' in vhost '/'`.
        what: String,
        /// The argument that differs.
        argument: String,
        /// What the broker has.
        current: String,
        /// What the worker declares.
        wanted: String,
    },
    /// With `TOPOLOGY=verify`: something is not there.
    #[error("{0}. Declare it (`imin-customer-worker topology print` says how), or run with TOPOLOGY=apply")]
    Missing(String),
    /// The user may not.
    #[error(
        "{0}. Grant the broker's user that right, or declare the topology yourself and run with TOPOLOGY=verify"
    )]
    Refused(String),
    /// The connection broke: not a finding about the topology.
    #[error("the topology could not be checked: {0}")]
    Connection(lapin::Error),
}

impl TopologyError {
    /// Whether trying again without a change by a person is of no use.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Connection(_))
    }
}

impl Topology {
    /// The topology for these names.
    pub fn new(names: &Names, delivery_limit: Option<u32>) -> Self {
        let mut queues = vec![dead_queue(names), work_queue(names, delivery_limit), unrouted_queue(names)];
        queues.extend(names.delays().map(|delay| retry_queue(names, delay)));
        Self { exchanges: exchanges(names), queues, bindings: bindings(names) }
    }

    /// Declares everything; what stands as wanted is left as it is.
    pub async fn apply(&self, channel: &Channel) -> Result<(), TopologyError> {
        for exchange in &self.exchanges {
            exchange.declare(channel, false).await.map_err(explain)?;
        }
        for queue in &self.queues {
            queue.declare(channel, false).await.map_err(explain)?;
        }
        for binding in &self.bindings {
            binding.declare(channel).await.map_err(explain)?;
        }
        Ok(())
    }

    /// Declares one of the queues; none of that name is none to declare.
    pub async fn declare_queue(&self, channel: &Channel, name: &str) -> Result<(), TopologyError> {
        match self.queues.iter().find(|queue| queue.name == name) {
            Some(queue) => queue.declare(channel, false).await.map_err(explain),
            None => Ok(()),
        }
    }

    /// Checks that every exchange and queue is there, and changes nothing.
    pub async fn verify(&self, channel: &Channel) -> Result<(), TopologyError> {
        for exchange in &self.exchanges {
            exchange.declare(channel, true).await.map_err(explain)?;
        }
        for queue in &self.queues {
            queue.declare(channel, true).await.map_err(explain)?;
        }
        Ok(())
    }

    /// As definitions for `rabbitmqctl import_definitions`.
    pub fn definitions(&self, vhost: &str) -> Value {
        json!({
            "exchanges": self.exchanges.iter().map(|e| json!({
                "name": e.name, "vhost": vhost, "type": e.kind, "durable": true, "auto_delete": false,
                "internal": false, "arguments": object(&e.arguments),
            })).collect::<Vec<_>>(),
            "queues": self.queues.iter().map(|q| json!({
                "name": q.name, "vhost": vhost, "durable": true, "auto_delete": false,
                "arguments": object(&q.all_arguments()),
            })).collect::<Vec<_>>(),
            "bindings": self.bindings.iter().map(|b| json!({
                "source": b.exchange, "vhost": vhost, "destination": b.queue, "destination_type": "queue",
                "routing_key": b.key, "arguments": {},
            })).collect::<Vec<_>>(),
        })
    }
}

fn exchanges(names: &Names) -> Vec<Exchange> {
    let exchange = |name: &str, kind, arguments| Exchange { name: name.to_owned(), kind, arguments };
    vec![
        exchange(&names.dead_exchange, "fanout", vec![]),
        exchange(&names.unrouted_exchange, "fanout", vec![]),
        exchange(&names.exchange, "topic", vec![]),
        exchange(
            &names.events_exchange,
            "topic",
            // An event that nobody subscribes to is kept, not dropped.
            vec![("alternate-exchange", json!(names.unrouted_exchange))],
        ),
    ]
}

fn bindings(names: &Names) -> Vec<Binding> {
    let binding = |exchange: &str, queue: &str, key: &str| Binding {
        exchange: exchange.to_owned(),
        queue: queue.to_owned(),
        key: key.to_owned(),
    };
    vec![
        binding(&names.dead_exchange, &names.dead_queue, ""),
        binding(&names.unrouted_exchange, &names.unrouted_queue, ""),
        binding(&names.exchange, &names.queue, &names.routing_key),
    ]
}

/// The net under the worker's own dead letters: what the broker takes away (the delivery limit) goes
/// to the same queue, at least once, which needs `reject-publish`.
fn work_queue(names: &Names, delivery_limit: Option<u32>) -> Queue {
    let mut arguments = vec![
        ("x-dead-letter-exchange", json!(names.dead_exchange)),
        ("x-dead-letter-strategy", json!("at-least-once")),
        ("x-overflow", json!("reject-publish")),
    ];
    if let Some(limit) = delivery_limit {
        arguments.push(("x-delivery-limit", json!(limit)));
    }
    Queue { name: names.queue.clone(), arguments }
}

fn dead_queue(names: &Names) -> Queue {
    Queue {
        name: names.dead_queue.clone(),
        arguments: vec![("x-delivery-limit", json!(UNLIMITED_DELIVERIES))],
    }
}

fn unrouted_queue(names: &Names) -> Queue {
    Queue {
        name: names.unrouted_queue.clone(),
        arguments: vec![("x-delivery-limit", json!(UNLIMITED_DELIVERIES))],
    }
}

/// One time to live for each queue, so that the first in is the first to expire.
fn retry_queue(names: &Names, delay: Duration) -> Queue {
    Queue {
        name: names.retry_queue(delay),
        arguments: vec![
            ("x-message-ttl", json!(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))),
            ("x-dead-letter-exchange", json!("")),
            ("x-dead-letter-routing-key", json!(names.queue)),
            ("x-dead-letter-strategy", json!("at-least-once")),
            ("x-overflow", json!("reject-publish")),
        ],
    }
}

impl Exchange {
    pub(super) fn kind(&self) -> ExchangeKind {
        match self.kind {
            "fanout" => ExchangeKind::Fanout,
            "direct" => ExchangeKind::Direct,
            _ => ExchangeKind::Topic,
        }
    }

    async fn declare(&self, channel: &Channel, passive: bool) -> lapin::Result<()> {
        let kind = self.kind();
        let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
        channel.exchange_declare(self.name.as_str().into(), kind, options, table(&self.arguments)).await
    }
}

impl Queue {
    pub(super) fn all_arguments(&self) -> Vec<(&'static str, Value)> {
        let mut all = vec![("x-queue-type", json!("quorum"))];
        all.extend(self.arguments.iter().cloned());
        all
    }

    async fn declare(&self, channel: &Channel, passive: bool) -> lapin::Result<()> {
        let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
        channel
            .queue_declare(self.name.as_str().into(), options, table(&self.all_arguments()))
            .await
            .map(drop)
    }
}

impl Binding {
    async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let (queue, exchange) = (self.queue.as_str().into(), self.exchange.as_str().into());
        let options = QueueBindOptions::default();
        channel.queue_bind(queue, exchange, self.key.as_str().into(), options, FieldTable::default()).await
    }
}

fn object(arguments: &[(&'static str, Value)]) -> Value {
    Value::Object(arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

pub(super) fn table<N: AsRef<str>>(arguments: &[(N, Value)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Value::Number(n) => AMQPValue::LongLongInt(n.as_i64().unwrap_or(i64::MAX)),
            other => AMQPValue::LongString(other.as_str().unwrap_or_default().into()),
        };
        table.insert(name.as_ref().into(), value);
    }
    table
}

/// Turns the broker's refusal into words that say what to do. RabbitMQ's 406 reads:
/// `inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received '5' but current is '9'`.
pub(super) fn explain(error: lapin::Error) -> TopologyError {
    let lapin::ErrorKind::ProtocolError(amqp) = error.kind() else {
        return TopologyError::Connection(error);
    };
    let text = amqp.get_message().to_string();
    match amqp.get_id() {
        406 => differs(&text).unwrap_or(TopologyError::Refused(text)),
        404 => TopologyError::Missing(text),
        403 => TopologyError::Refused(text),
        _ => TopologyError::Connection(error),
    }
}

fn differs(text: &str) -> Option<TopologyError> {
    let (_, rest) = text.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once("' for ")?;
    let (what, rest) = rest.split_once(": received ")?;
    let (wanted, current) = rest.split_once(" but current is ")?;
    let plain = |value: &str| {
        value
            .trim_start_matches("the value ")
            .split(" of type ")
            .next()
            .unwrap_or(value)
            .trim_matches('\'')
            .to_owned()
    };
    Some(TopologyError::Differs {
        what: what.to_owned(),
        argument: argument.to_owned(),
        current: plain(current),
        wanted: plain(wanted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifted_argument_is_named_with_both_values_and_a_remedy() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'customers.create' in vhost '/': \
                    received the value '100' of type 'long' but current is the value '20' of type 'long'";
        let error = differs(text).expect("RabbitMQ's words are understood").to_string();
        for part in
            ["queue 'customers.create' in vhost '/'", "x-delivery-limit = 20", "wants 100", "TOPOLOGY=verify"]
        {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn a_missing_argument_is_understood_too() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/': \
                    received the value 'reject-publish' of type 'longstr' but current is none";
        let error = differs(text).expect("RabbitMQ's words are understood").to_string();
        assert!(error.contains("x-overflow = none") && error.contains("wants reject-publish"), "{error}");
    }
}
