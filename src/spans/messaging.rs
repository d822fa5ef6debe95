//! What stands in a span about a message: one that is worked on, one that is sent.
//!
//! Owns the conventions for messaging and for RabbitMQ. Senders choose ids, routing keys and headers
//! freely, so nothing of a message is taken over: an event goes by its key, a place by the settings' name.

use super::{Parent, Span, Spans, Tracer};
use crate::{
    event::{EventKey, Trace},
    outcome::Disposition,
};
use jiff::Timestamp;
use opentelemetry::{
    KeyValue,
    trace::{SpanBuilder, SpanKind},
};
use std::{sync::Arc, time::SystemTime};

/// A message that has come.
pub struct Received<'a> {
    /// Its event.
    pub key: EventKey,
    /// The trace it brought.
    pub trace: &'a Trace,
    /// The exchange it came through; empty for the default exchange.
    pub exchange: &'a str,
    /// The routing key of the settings.
    pub routing_key: &'a str,
    /// The queue it was taken from.
    pub queue: &'a str,
    /// When.
    pub at: Timestamp,
}

impl Spans {
    /// The span of all that is done about a message, below the trace that it brought.
    pub fn process(&self, received: &Received<'_>) -> Span {
        self.root(received.trace, |tracer| {
            let Received { exchange, routing_key, queue, .. } = *received;
            // By way of the default exchange a message comes by its queue's name.
            let routing_key = if exchange.is_empty() { queue } else { routing_key };
            let destination = destination(&[exchange, routing_key, queue]);
            let builder = span(tracer, "process", destination, routing_key, received.key);
            let builder = builder.with_kind(SpanKind::Consumer);
            match SystemTime::try_from(received.at) {
                Ok(at) => builder.with_start_time(at),
                Err(_) => builder,
            }
        })
    }
}

impl Parent {
    /// The span of a publication, from here to its confirm.
    pub fn send(&self, exchange: &str, routing_key: &str, key: EventKey) -> Span {
        self.child(|tracer| {
            let destination = destination(&[exchange, routing_key]);
            span(tracer, "send", destination, routing_key, key).with_kind(SpanKind::Producer)
        })
    }
}

impl Span {
    /// The message is settled.
    pub fn settled(&mut self, disposition: Disposition) {
        if let Some(outcome) = disposition.label() {
            self.set(KeyValue::new("customer_worker.outcome", outcome));
        }
        self.told(match disposition {
            Disposition::DeadLetter(reason) => Some(reason.as_str().into()),
            Disposition::Retry { cause, .. } => Some(cause.as_str().into()),
            Disposition::Complete(_) | Disposition::Release => None,
        });
    }

    /// The broker has the message back, and whatever was done about it will be done again.
    pub fn lost(&mut self) {
        self.told(Some("delivery_lost".into()));
    }

    /// The publication is confirmed, or was given up.
    pub fn confirmed(&mut self, confirmed: bool) {
        self.told((!confirmed).then(|| "not_confirmed".into()));
    }
}

fn span(
    tracer: &Tracer,
    operation: &'static str,
    destination: String,
    routing_key: &str,
    key: EventKey,
) -> SpanBuilder {
    let name = format!("{operation} {destination}");
    let (host, port) = &tracer.broker;
    let attributes = vec![
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("messaging.destination.name", destination),
        KeyValue::new("messaging.rabbitmq.destination.routing_key", routing_key.to_owned()),
        KeyValue::new("messaging.message.id", key.to_string()),
        KeyValue::new("server.address", Arc::clone(host)),
        KeyValue::new("server.port", i64::from(*port)),
    ];
    SpanBuilder::from_name(name).with_attributes(attributes)
}

/// RabbitMQ's destination: exchange, routing key and queue, without what is empty or said already.
fn destination(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.retain(|part| !part.is_empty());
    parts.dedup();
    parts.join(":")
}
