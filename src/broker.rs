//! Ports to the broker: where deliveries come from, how one is settled, where messages go.
//!
//! Owns the three ports. lapin, connections and their rebuilding are `amqp`'s.

use crate::message::{Message, Properties, ShortString};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{sync::Arc, time::Duration};

/// A message that the broker waits to hear of. Settling consumes it, so that settling twice does
/// not compile; one that is dropped unsettled (a panic) is requeued.
#[must_use = "a delivery that is not settled stays with the broker until its consumer timeout"]
pub struct Delivery {
    /// The message.
    pub message: Message,
    settle: Option<Box<dyn Settle>>,
}

/// The way back to the session that a delivery came from.
pub trait Settle: Send + Sync {
    /// Acknowledges, soon: in a batch.
    fn ack(self: Box<Self>);
    /// Gives the message back to the queue. On RabbitMQ before 4.3 that counts towards the
    /// queue's delivery limit, so it is for panics only; a release publishes and acks.
    fn requeue(self: Box<Self>);
    /// Whether the session is gone: the broker has the message back already.
    fn lost(&self) -> bool;
}

impl Delivery {
    /// A delivery of `message`, settled through `settle`.
    pub fn new(message: Message, settle: Box<dyn Settle>) -> Self {
        Self { message, settle: Some(settle) }
    }

    /// Tells the broker that the message is dealt with.
    pub fn ack(mut self) {
        if let Some(settle) = self.settle.take() {
            settle.ack();
        }
    }

    /// Whether the session is gone: the broker delivers the message again, to somebody.
    pub fn lost(&self) -> bool {
        self.settle.as_ref().is_some_and(|settle| settle.lost())
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle.requeue();
        }
    }
}

/// Where deliveries come from.
pub trait Source: Send {
    /// The next delivery. Waits through outages for ever; safe to drop and call again.
    fn next(&mut self) -> BoxFuture<'_, Delivery>;
    /// Stops the flow and hands over what had been fetched ahead, for the caller to release.
    /// The next `next` starts it again. Safe to drop and call again.
    fn pause(&mut self) -> BoxFuture<'_, Vec<Delivery>>;
    /// One delivery, if the queue has one and the broker is there, without starting the flow. Safe to
    /// drop: a delivery that was under way comes with the next call of this or of `pause`.
    fn one(&mut self) -> BoxFuture<'_, Option<Delivery>>;
    /// Writes the acknowledgements that wait and lets go of the connection. Bounded in time.
    fn close(&mut self) -> BoxFuture<'_, ()>;
}

/// A message to publish: persistent, mandatory, confirmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The exchange; empty for the default exchange, whose routing key is a queue's name.
    pub exchange: ShortString,
    /// The routing key.
    pub routing_key: ShortString,
    /// The properties.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
}

/// Why a publication was not confirmed. It may have reached a queue all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker took it and then said no.
    #[error("the broker refused the message (basic.nack)")]
    Nack,
    /// No queue wanted it.
    #[error("no queue is bound where the message went (basic.return): {exchange} with {routing_key}")]
    Returned {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// No confirm in time.
    #[error("the broker did not confirm within {0:?}")]
    Timeout(Duration),
    /// The connection or channel broke, or there is none.
    #[error("no connection to the broker: {0}")]
    Connection(String),
}

/// Where messages go.
pub trait Publisher: Send + Sync {
    /// Publishes once and waits for the confirm, bounded in time.
    fn publish(&self, publication: Arc<Publication>) -> BoxFuture<'_, Result<(), PublishError>>;
}

/// The names of everything on the broker, and the ladder of its delay queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The work queue.
    pub queue: String,
    /// The topic exchange that senders publish to.
    pub exchange: String,
    /// The routing key that senders use.
    pub routing_key: String,
    /// The topic exchange of the events that go out.
    pub events_exchange: String,
    /// Their routing key.
    pub events_routing_key: String,
    /// The alternate exchange for events without a subscriber.
    pub unrouted_exchange: String,
    /// Its queue.
    pub unrouted_queue: String,
    /// The exchange for dead letters.
    pub dead_exchange: String,
    /// Its queue.
    pub dead_queue: String,
}

impl Names {
    /// The delays that the broker offers, shortest first. A longer wait takes several rounds.
    pub const DELAYS: [(Duration, &'static str); 6] = [
        (Duration::from_secs(5), "5s"),
        (Duration::from_secs(15), "15s"),
        (Duration::from_mins(1), "1m"),
        (Duration::from_mins(5), "5m"),
        (Duration::from_mins(15), "15m"),
        (Duration::from_hours(1), "1h"),
    ];

    /// The delays alone.
    pub fn delays(&self) -> impl Iterator<Item = Duration> {
        Self::DELAYS.iter().map(|(delay, _)| *delay)
    }

    /// The delay queue for a wait: the longest whose delay does not exceed it, else the shortest.
    /// What is left of the wait is waited for after the message has come back.
    pub fn retry_queue(&self, wait: Duration) -> String {
        let fits = Self::DELAYS.iter().rev().find(|(delay, _)| *delay <= wait).unwrap_or(&Self::DELAYS[0]);
        format!("{}.retry.{}", self.queue, fits.1)
    }
}
