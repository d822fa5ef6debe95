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
use std::convert::Infallible;
use tracing::{debug, warn};

/// Listens for ever, and calls `count` for every event of `instance` that came to nobody.
pub async fn listen(endpoint: Endpoint, exchange: String, instance: String, count: impl Fn() + Send + Sync) {
    let mut reconnect = Reconnect::default();
    let mut told = false;
    loop {
        let mut began = false;
        let Err(error) = session(&endpoint, &exchange, &instance, &count, &mut began).await;
        if began {
            reconnect.reset();
        }
        // Once for each time that it stops, since the tries go on: a user without the right to declare
        // a queue would fill the log.
        if began || !std::mem::replace(&mut told, true) {
            warn!(
                %error,
                "events without a subscriber are not counted for now (they are kept); \
                 where the broker's user may not declare queues, set UNROUTED_TAP=false"
            );
        }
        reconnect.wait().await;
    }
}

async fn session(
    endpoint: &Endpoint,
    exchange: &str,
    instance: &str,
    count: &(impl Fn() + Send + Sync),
    began: &mut bool,
) -> Result<Infallible, String> {
    let connection = endpoint.connect("unrouted").await?;
    let mut consumer = tap(&connection, exchange).await.map_err(|error| error.to_string())?;
    *began = true;
    debug!("events without a subscriber are counted");
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
