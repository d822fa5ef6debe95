//! How signups end, seen from outside: the events and dead letters that leave the worker.
//!
//! Owns two queues of the demo's own, beside those of the platform: looking takes nothing away.

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use imin_customer_worker::message;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer,
    message::Delivery,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::Value;

/// One end of one signup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// The signup: the id of its CloudEvent.
    pub(crate) id: String,
    /// The event's key: imin saw it as `Idempotency-Key`.
    pub(crate) key: String,
    /// As what it ended.
    pub(crate) how: How,
}

/// As what a signup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// As a customer.
    Created {
        /// Whether the event says that a second account may exist.
        possible_duplicate: bool,
    },
    /// As a dead letter.
    Dead {
        /// `failure-reason`.
        reason: String,
        /// `failure-detail`, in words.
        why: String,
    },
}

/// The two queues.
pub(crate) struct Watch {
    created: Consumer,
    dead: Consumer,
    _connection: Connection,
}

impl Watch {
    /// Binds the queues; the exchanges must stand.
    pub(crate) async fn begin(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let created = tap(&channel, "customers.events", "customer.account.created").await?;
        let dead = tap(&channel, "customers.dead", "").await?;
        Ok(Self { created, dead, _connection: connection })
    }

    /// The next end. Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> Result<End> {
        let (delivery, read): (_, fn(&Delivery) -> Result<End>) = tokio::select! {
            delivery = self.created.next() => (delivery, read_created),
            delivery = self.dead.next() => (delivery, read_dead),
        };
        let delivery = delivery.context("the broker ended the demo's consumer")??;
        read(&delivery)
    }
}

async fn tap(channel: &Channel, exchange: &str, routing_key: &str) -> Result<Consumer> {
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.clone(), exchange.into(), routing_key.into(), options, none).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    Ok(channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?)
}

fn read_created(delivery: &Delivery) -> Result<End> {
    let event: Value = serde_json::from_slice(&delivery.data)?;
    if event["data"]["identifier"].as_str().is_none_or(str::is_empty) {
        bail!("a CustomerAccountCreated event carries no identifier");
    }
    let possible_duplicate = event["possibleduplicate"].as_bool().unwrap_or_default();
    let how = How::Created { possible_duplicate };
    Ok(End { id: text(&event["causationid"])?, key: text(&event["id"])?, how })
}

fn read_dead(delivery: &Delivery) -> Result<End> {
    let event: Value = serde_json::from_slice(&delivery.data)?;
    let detail: Value = serde_json::from_str(&header(delivery, "failure-detail")?)?;
    let how = How::Dead { reason: header(delivery, "failure-reason")?, why: why(delivery, &detail) };
    Ok(End { id: text(&event["id"])?, key: header(delivery, "event-key")?, how })
}

/// An invalid event's problems, else the status of imin's answer.
fn why(delivery: &Delivery, detail: &Value) -> String {
    if let Some(problems) = detail["problems"].as_array() {
        let words = problems.iter().filter_map(|problem| {
            Some(format!("{} {}", problem["pointer"].as_str()?, problem["rule"].as_str()?))
        });
        return words.collect::<Vec<_>>().join("; ");
    }
    let kind = detail["type"].as_str().unwrap_or_default();
    let status = header(delivery, "failure-status").unwrap_or_default();
    format!("imin answered {status} {kind}").trim_end().to_owned()
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("an attribute is missing")?.to_owned())
}

/// A header's text, or its number in digits.
fn header(delivery: &Delivery, name: &str) -> Result<String> {
    let headers = delivery.properties.headers().as_ref().context("a dead letter has no headers")?;
    let value = headers.inner().get(name).with_context(|| format!("a dead letter has no {name}"))?;
    let number = || message::number(value).map(|number| number.to_string());
    message::text(value)
        .map(str::to_owned)
        .or_else(number)
        .with_context(|| format!("a dead letter's {name} is neither text nor a whole number"))
}
