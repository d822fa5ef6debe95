//! Long waits leave the process: the headers that travel, restarts of the worker and of the broker.

use super::stage::{DEAD, Stage, WORK, channel, print_recovery};
use crate::support::{
    broker::Broker,
    worker::{PATIENCE, poll},
};
use imin_customer_worker::{
    message::{number, text},
    sandbox::Options,
};
use jiff::Timestamp;
use lapin::{
    BasicProperties, Channel,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

const SHORTEST: &str = "customers.create.retry.5s";

/// Takes the next message off a queue, waiting for it.
async fn take(channel: &Channel, queue: &str) -> BasicGetMessage {
    let taken = async {
        loop {
            let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await;
            match got.expect("the queue stands") {
                Some(got) => return got,
                None => poll().await,
            }
        }
    };
    timeout(PATIENCE, taken).await.unwrap_or_else(|_| panic!("nothing in {queue}"))
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    let value = properties.headers().as_ref()?.inner().get(name)?;
    text(value).map(ToOwned::to_owned).or_else(|| number(value).map(|n| n.to_string()))
}

fn time(properties: &BasicProperties, name: &str) -> Timestamp {
    header(properties, name).expect("there").parse().expect("a time")
}

#[tokio::test]
async fn a_long_wait_is_spent_in_the_broker_and_outlives_the_worker() {
    let mut stage = Stage::start().await;
    let settings = stage
        .settings()
        .set("RETRY_IN_PROCESS_MAX", "100ms")
        .set("RETRY_INITIAL", "3s")
        .set("RETRY_MAX_INTERVAL", "3s")
        .set("RETRY_JITTER", "0");
    let mut worker = settings.start().ready().await;
    stage.send_one("later", "geoff+fault-503x1@example.com").await;
    let (_connection, channel) = channel(&stage.vhost).await;
    let waiting = take(&channel, SHORTEST).await;
    let properties = waiting.properties.clone();
    assert_eq!(header(&properties, "attempts").as_deref(), Some("1"));
    assert_eq!(header(&properties, "failures").as_deref(), Some("1"));
    let wait = time(&properties, "not-before").duration_since(time(&properties, "first-attempt-at"));
    assert!(wait.as_secs() >= 3, "{wait:?}");
    // RabbitMQ 3.10 says 0 of a message that it never counted.
    assert_eq!(header(&properties, "x-delivery-count").unwrap_or("0".into()), "0");
    let (options, persistent) = (BasicPublishOptions::default(), properties.with_delivery_mode(2));
    let back = channel.basic_publish("".into(), SHORTEST.into(), options, &waiting.data, persistent).await;
    let since = Instant::now();
    assert!(back.expect("written").await.expect("confirmed").is_ack());
    worker.until("in_flight", |n| n == 0.0).await;
    worker.kill().await;

    let mut worker = settings.start().ready().await;
    let books = stage.balance(&worker).await;
    assert!(since.elapsed() >= Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(books.calls, 2);
    worker.stop().await;
}

#[tokio::test]
async fn the_time_for_retries_is_counted_over_restarts() {
    let mut stage = Stage::start().await;
    let settings = stage
        .settings()
        .set("RETRY_IN_PROCESS_MAX", "0s")
        .set("RETRY_MAX_INTERVAL", "1s")
        .set("RETRY_MAX_ELAPSED", "4s");
    let mut worker = settings.start().ready().await;
    stage.send_one("never", "geoff+fault-503@example.com").await;
    worker.until("retries_total{cause=\"unavailable\"}", |n| n == 1.0).await;
    worker.stop().await;
    let mut worker = settings.start().ready().await;
    let (_connection, channel) = channel(&stage.vhost).await;
    let dead = take(&channel, DEAD).await.properties.clone();
    assert_eq!(header(&dead, "failure-reason").as_deref(), Some("retries_exhausted"));
    assert_eq!(header(&dead, "failure-attempts").as_deref(), Some("2"));
    let tried = time(&dead, "failure-at").duration_since(time(&dead, "first-attempt-at"));
    assert!(tried.as_secs() >= 4, "{tried:?}");
    worker.stop().await;
    assert_eq!(stage.calls(), 2);
}

/// The broker's death in between is the broker's own affair: nothing of it concerns the worker's slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiting_messages_hold_no_slot_and_outlive_the_broker() {
    const COUNT: usize = 1000;
    let broker = Arc::new(tokio::task::spawn_blocking(Broker::start).await.expect("starts"));
    let mut stage = Stage::on(broker.vhost(), Options::default()).await;
    let settings = stage
        .settings()
        .set("CONCURRENCY", "16")
        .set("RETRY_IN_PROCESS_MAX", "1s")
        .set("RETRY_INITIAL", "15s")
        .set("RETRY_MAX_INTERVAL", "15s")
        .set("RETRY_JITTER", "0")
        .set("BREAKER_MIN_CALLS", "1000000");
    stage.faults(&["503"]);
    stage.send(0..COUNT).await;
    let mut worker = settings.start().ready().await;
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    worker.until("retries_total{cause=\"unavailable\"}", |n| n >= COUNT as f64).await;
    stage.faults(&[]);
    let waiting = async {
        while stage.vhost.depth(WORK).await > 0 || worker.metric("in_flight").await > 0.0 {
            poll().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("all of them wait, and none of them here");

    let node = Arc::clone(&broker);
    let cycle = move || {
        node.kill();
        node.restart();
    };
    tokio::task::spawn_blocking(cycle).await.expect("killed and restarted");
    let since = Instant::now();
    let books = stage.balance(&worker).await;
    print_recovery("the restart of the broker, with a thousand waiting messages done", since);
    println!("{} calls for {COUNT} events, {} events repeated", books.calls, books.repeats);
    worker.stop().await;
}
