//! The limit: what the broker and lapin allow on this machine, without anything in between.
//!
//! Takes an event, publishes one of the size that the worker sends, persistent and confirmed, and
//! acknowledges in the worker's own batches. No parsing, no HTTP, no ledger, no logs, no metrics.

use anyhow::{Result, anyhow};
use futures_util::{StreamExt, stream::FuturesUnordered};
use imin_customer_worker::amqp::acks::{self, Acks, LINGER};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    },
    types::FieldTable,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

/// As long as the worker's event for an event of the bench.
const EVENT_OUT: [u8; 520] = [b'x'; 520];

/// Works with up to `concurrency` events at a time until SIGTERM, then finishes what it has begun.
pub(crate) async fn run(url: &str, concurrency: u16) -> Result<()> {
    // Two connections, as in the worker: the broker's flow control stops a whole connection.
    let consuming = Connection::connect(url, ConnectionProperties::default()).await?;
    let publishing = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = consuming.create_channel().await?;
    let prefetch = u16::try_from(acks::prefetch(usize::from(concurrency)))?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let deliveries = channel.basic_consume("customers.create".into(), "".into(), options, none).await?;
    let publisher = publishing.create_channel().await?;
    publisher.confirm_select(ConfirmSelectOptions::default()).await?;
    drain(&channel, deliveries, &publisher, usize::from(concurrency)).await?;
    consuming.close(200, "done".into()).await?;
    Ok(publishing.close(200, "done".into()).await?)
}

async fn drain(channel: &Channel, mut deliveries: Consumer, publisher: &Channel, most: usize) -> Result<()> {
    let mut confirms = FuturesUnordered::new();
    let (mut acks, mut due) = (Acks::new(most), Instant::now());
    let (mut terminate, mut ends) = (signal(SignalKind::terminate())?, false);
    while !(ends && confirms.is_empty() && acks.waiting() == 0) {
        tokio::select! {
            Some((tag, confirmed)) = confirms.next() => {
                let confirmed: lapin::Result<Confirmation> = confirmed;
                if !matches!(confirmed?, Confirmation::Ack(None)) {
                    return Err(anyhow!("an event was not confirmed"));
                }
                if acks.waiting() == 0 {
                    due = Instant::now() + LINGER;
                }
                acks.settle(tag, Instant::now());
                if acks.due() {
                    acknowledge(channel, &mut acks).await?;
                }
            }
            delivery = deliveries.next(), if confirms.len() < most && !ends => {
                let delivery = delivery.ok_or_else(|| anyhow!("the consumer was cancelled"))??;
                let confirm = publish(publisher, delivery.delivery_tag).await?;
                confirms.push(async move { (delivery.delivery_tag, confirm.await) });
            }
            () = sleep_until(due), if acks.waiting() > 0 => {
                due = Instant::now() + LINGER;
                acknowledge(channel, &mut acks).await?;
            }
            _ = terminate.recv() => ends = true,
        }
    }
    Ok(())
}

async fn publish(publisher: &Channel, tag: u64) -> lapin::Result<lapin::PublisherConfirm> {
    let properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_message_id(format!("limit-{tag:08}").into())
        .with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, key) = ("customers.events".into(), "customer.account.created".into());
    publisher.basic_publish(exchange, key, options, &EVENT_OUT, properties).await
}

async fn acknowledge(channel: &Channel, acks: &mut Acks) -> lapin::Result<()> {
    let flush = acks.flush(Instant::now(), false);
    if let Some(tag) = flush.up_to {
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    for tag in flush.alone {
        channel.basic_ack(tag, BasicAckOptions { multiple: false }).await?;
    }
    Ok(())
}
