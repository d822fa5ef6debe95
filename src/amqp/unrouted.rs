//! Counts the events that nobody subscribed to.
//!
//! The alternate exchange keeps them without a word to the publisher, so the worker listens there: an
//! exclusive queue of its own, bound beside the durable one, whose messages carry the worker's mark.
//! It counts and keeps nothing; what it misses while it reconnects is still in the durable queue.

use super::{Endpoint, connection::Reconnect};
use crate::{letters::INSTANCE, message::text};
use futures_util::StreamExt;
use lapin::{
    message::Delivery,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use tracing::debug;

/// Listens for ever, and calls `count` for every event of `instance` that came to nobody.
pub async fn listen(endpoint: Endpoint, exchange: String, instance: String, count: impl Fn() + Send + Sync) {
    let mut reconnect = Reconnect::default();
    loop {
        if let Err(error) = session(&endpoint, &exchange, &instance, &count, &mut reconnect).await {
            debug!(%error, "events without a subscriber are not being counted, trying again");
        }
        reconnect.wait().await;
    }
}

async fn session(
    endpoint: &Endpoint,
    exchange: &str,
    instance: &str,
    count: &(impl Fn() + Send + Sync),
    reconnect: &mut Reconnect,
) -> Result<(), String> {
    let connection = endpoint.connect("unrouted").await?;
    let mut consumer = tap(&connection, exchange).await.map_err(|error| error.to_string())?;
    reconnect.reset();
    while let Some(delivery) = consumer.next().await {
        if is_mine(&delivery.map_err(|error| error.to_string())?, instance) {
            count();
        }
    }
    Err("the broker cancelled the consumer".into())
}

async fn tap(connection: &lapin::Connection, exchange: &str) -> lapin::Result<lapin::Consumer> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let name: ShortString = format!("{exchange}.tap.{}", uuid::Uuid::new_v4()).as_str().into();
    let queue = channel.queue_declare(name, options, FieldTable::default()).await?;
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(queue.name().clone(), exchange.into(), ShortString::default(), bind, none.clone())
        .await?;
    let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
    channel.basic_consume(queue.name().clone(), ShortString::default(), options, none).await
}

fn is_mine(delivery: &Delivery, instance: &str) -> bool {
    let headers = delivery.properties.headers().as_ref();
    headers.and_then(|headers| headers.inner().get(INSTANCE)).and_then(text) == Some(instance)
}
