//! Somebody changes what stands on the broker: queues deleted, unbound, full.

use super::stage::{DEAD, Stage, WORK, bind, channel, lines, print_recovery};
use crate::support::{
    worker::{PATIENCE, poll},
    world::names,
};
use imin_customer_worker::amqp::topology::Topology;
use lapin::{
    Channel,
    options::{QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout};

async fn delete(channel: &Channel, queue: &str) {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("deleted");
}

async fn unbind_the_dead(channel: &Channel) {
    let (queue, exchange) = (DEAD.into(), "customers.dead".into());
    channel.queue_unbind(queue, exchange, "".into(), FieldTable::default()).await.expect("unbound");
}

#[tokio::test]
async fn the_work_queue_is_deleted() {
    let mut stage = Stage::start().await;
    let mut worker = stage.settings().start().ready().await;
    stage.send(0..10).await;
    stage.accounts(10, &worker).await;
    stage.idle(&worker).await;
    let (_connection, channel) = channel(&stage.vhost).await;
    let since = Instant::now();
    delete(&channel, WORK).await;
    worker.log.line("the broker cancelled the consumer").await;
    lines(&worker.log, "consuming", 2).await;
    print_recovery("the queue was deleted", since);
    // Declared and bound again: the senders' exchange finds it.
    stage.send(10..20).await;
    stage.balance(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn the_work_queue_is_deleted_and_the_worker_may_not_declare() {
    let mut stage = Stage::start().await;
    let mut worker = stage.settings().set("TOPOLOGY", "verify").start().ready().await;
    stage.send(0..10).await;
    stage.accounts(10, &worker).await;
    stage.idle(&worker).await;
    let (_connection, channel) = channel(&stage.vhost).await;
    delete(&channel, WORK).await;
    let named = async {
        while !worker.readiness(503).await.contains(WORK) {
            poll().await;
        }
    };
    timeout(PATIENCE, named).await.expect("/readyz says what is missing");
    let since = Instant::now();
    Topology::new(&names(), Some(100)).apply(&channel).await.expect("declared");
    worker.readiness(200).await;
    print_recovery("an operator declared the queue", since);
    stage.send(10..20).await;
    stage.balance(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_delay_queue_is_deleted() {
    let mut stage = Stage::start().await;
    let settings = stage.settings().set("RETRY_IN_PROCESS_MAX", "0s");
    let mut worker = settings.start().ready().await;
    let (_connection, channel) = channel(&stage.vhost).await;
    delete(&channel, "customers.create.retry.5s").await;
    stage.send_one("later", "geoff+fault-503x1@example.com").await;
    worker.log.line("declared all of them again").await;
    stage.balance(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn the_exchange_of_the_events_is_deleted() {
    let mut stage = Stage::start().await;
    let mut worker = stage.settings().start().ready().await;
    let (_connection, channel) = channel(&stage.vhost).await;
    let deleted = channel.exchange_delete("customers.events".into(), Default::default()).await;
    deleted.expect("deleted");
    stage.send(0..10).await;
    worker.log.line("declared all of them again").await;
    stage.accounts(10, &worker).await;
    // Their subscriber is not the worker's to bind: without one they are kept as unrouted.
    stage.idle(&worker).await;
    assert_eq!(stage.vhost.depth("customers.unrouted").await, 10);
    assert_eq!(stage.sandbox.accounts().doubles, 0);
    worker.stop().await;
}

#[tokio::test]
async fn dead_letters_find_no_queue_and_the_worker_binds_it() {
    let mut stage = Stage::start().await;
    let mut worker = stage.settings().start().ready().await;
    let (_connection, channel) = channel(&stage.vhost).await;
    unbind_the_dead(&channel).await;
    stage.send_one("bad", "geoff+fault-422@example.com").await;
    worker.log.line("declared all of them again").await;
    worker.until("dead_letters_total{reason=\"rejected_by_api\"}", |n| n == 1.0).await;
    assert_eq!(stage.vhost.depth(DEAD).await, 1);
    assert_eq!(stage.calls(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn dead_letters_find_no_queue_and_wait_for_an_operator() {
    let mut stage = Stage::start().await;
    let mut worker = stage.settings().set("TOPOLOGY", "verify").start().ready().await;
    let (_connection, channel) = channel(&stage.vhost).await;
    unbind_the_dead(&channel).await;
    stage.send_one("bad", "geoff+fault-422@example.com").await;
    lines(&worker.log, "publishing it again", 3).await;
    assert_eq!(worker.metric("dead_letters_total{reason=\"rejected_by_api\"}").await, 0.0);
    // Not even the end of the worker loses it.
    worker.kill().await;
    let mut worker = stage.settings().set("TOPOLOGY", "verify").start().ready().await;
    worker.log.line("publishing it again").await;
    bind(&channel, DEAD, "customers.dead", "").await;
    worker.until("dead_letters_total{reason=\"rejected_by_api\"}", |n| n == 1.0).await;
    assert_eq!(stage.vhost.depth(DEAD).await, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_subscriber_that_is_full_makes_the_broker_refuse() {
    let mut stage = Stage::start().await;
    let (_connection, channel) = channel(&stage.vhost).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare("full".into(), durable, arguments).await.expect("declared");
    bind(&channel, "full", "customers.events", "customer.account.created").await;
    let mut worker = stage.settings().start().ready().await;
    stage.send(0..5).await;
    lines(&worker.log, "basic.nack", 3).await;
    assert!(worker.metric("events_published_total").await < 5.0);
    let emptied = async {
        while worker.metric("events_published_total").await < 5.0 {
            channel.queue_purge("full".into(), QueuePurgeOptions::default()).await.expect("purged");
            poll().await;
        }
    };
    timeout(PATIENCE, emptied).await.expect("all are confirmed once there is room");
    let books = stage.balance(&worker).await;
    assert_eq!(books.calls, 5);
    worker.stop().await;
}
