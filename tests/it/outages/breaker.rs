//! imin fails: the breaker opens, gives everything back, probes, and comes back by itself.

use super::stage::{Stage, WORK, causes, channel, count, print_recovery, print_timeline};
use crate::support::worker::{PATIENCE, Settings, poll};
use imin_customer_worker::message::number;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use tokio::time::{Instant, timeout};

fn nervous(stage: &Stage) -> Settings {
    stage.settings().set("BREAKER_MIN_CALLS", "5").set("CONCURRENCY", "16")
}

#[tokio::test]
async fn an_outage_opens_it_and_it_closes_by_itself() {
    let mut stage = Stage::start().await;
    stage.faults(&["503"]);
    stage.send(0..40).await;
    let mut worker = nervous(&stage).start().ready().await;
    worker.log.line("breaker open").await;
    assert_eq!(causes(&worker.readiness(503).await), ["breaker"]);
    worker.until("breaker_state{state=\"open\"}", |n| n == 1.0).await;
    worker.until("paused{cause=\"breaker\"}", |n| n == 1.0).await;
    let stopped = async {
        while stage.consumers().await > 0 || stage.vhost.depth(WORK).await < 38 {
            poll().await;
        }
    };
    timeout(PATIENCE, stopped).await.expect("nothing is consumed, and what was fetched is back");
    // A few probes fail.
    let seen = stage.calls();
    while stage.calls() < seen + 3 {
        poll().await;
    }
    stage.faults(&[]);
    let since = Instant::now();
    worker.log.line("breaker half open").await;
    worker.log.line("breaker closed").await;
    print_recovery("imin's first good answer was possible", since);
    let books = stage.balance(&worker).await;
    worker.readiness(200).await;
    worker.until("breaker_state{state=\"closed\"}", |n| n == 1.0).await;
    worker.until("paused{cause=\"breaker\"}", |n| n == 0.0).await;
    for change in ["breaker open", "breaker half open", "breaker closed"] {
        assert_eq!(count(&worker.log, change), 1, "one line a change: {change}");
    }
    println!("{} calls for 40 events", books.calls);
    print_timeline(&worker.log);
    worker.stop().await;
}

#[tokio::test]
async fn what_was_under_way_goes_back_without_a_mark() {
    let mut stage = Stage::start().await;
    stage.faults(&["503"]);
    stage.send(0..40).await;
    let mut worker = nervous(&stage).start().ready().await;
    worker.log.line("breaker open").await;
    let back = async {
        while stage.vhost.depth(WORK).await < 38 {
            poll().await;
        }
    };
    timeout(PATIENCE, back).await.expect("all but a probe are back");
    worker.stop().await;
    let (_connection, channel) = channel(&stage.vhost).await;
    let (mut tried, mut messages) = (0, Vec::new());
    while let Some(got) = channel.basic_get(WORK.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        let headers = got.properties.headers().clone().unwrap_or_default();
        // RabbitMQ 3.10 says 0 of a message that it never counted.
        let counted = headers.inner().get("x-delivery-count").and_then(number).unwrap_or(0);
        assert_eq!(counted, 0, "no step towards the delivery limit");
        tried += headers.inner().get("attempts").and_then(number).unwrap_or(0);
        messages.push(got);
    }
    assert_eq!(messages.len(), 40);
    // What opened it counts, and the sixteen calls under way with the last of those; what waited, and
    // what probed, does not.
    assert!(tried <= 4 + 16, "{tried} attempts were counted");
    for got in messages {
        let options = BasicPublishOptions::default();
        let back = channel.basic_publish("".into(), WORK.into(), options, &got.data, got.properties.clone());
        assert!(back.await.unwrap().await.unwrap().is_ack());
    }
    stage.faults(&[]);
    let mut worker = nervous(&stage).start().ready().await;
    stage.balance(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_single_message_is_tried_again_and_again_and_never_given_up() {
    let mut stage = Stage::start().await;
    stage.faults(&["503"]);
    stage.send(0..1).await;
    let settings = nervous(&stage).set("BREAKER_MIN_CALLS", "1").set("RETRY_MAX_ATTEMPTS", "2");
    let mut worker = settings.start().ready().await;
    let tried = async {
        while stage.calls() < 12 {
            poll().await;
        }
    };
    timeout(PATIENCE, tried).await.expect("probes go on, one at a time");
    assert_eq!(stage.sandbox.stats().max_in_flight, 1);
    stage.faults(&[]);
    stage.balance(&worker).await;
    worker.stop().await;
}

/// imin is well, and one event makes it fail whenever it is tried: the breaker that it opens, the others close.
#[tokio::test]
async fn one_event_that_always_fails_does_not_keep_the_others_waiting() {
    let mut stage = Stage::start().await;
    stage.send_one("poison", "poison+fault-503@example.com").await;
    let mut worker = nervous(&stage).set("RETRY_MAX_ATTEMPTS", "1000").start().ready().await;
    worker.log.line("breaker open").await;
    stage.send(0..20).await;
    stage.accounts(20, &worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn refused_customers_never_open_it() {
    let mut stage = Stage::start().await;
    stage.faults(&["422"]);
    stage.send(0..60).await;
    let mut worker = nervous(&stage).start().ready().await;
    worker.until("dead_letters_total{reason=\"rejected_by_api\"}", |n| n == 60.0).await;
    assert_eq!(worker.metric("breaker_state{state=\"closed\"}").await, 1.0);
    assert_eq!(worker.get("/readyz").await.0, 200);
    assert_eq!(count(&worker.log, "breaker"), 0);
    worker.stop().await;
}
