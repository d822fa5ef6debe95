//! imin limits or is slow: the whole worker slows, and retries do not make it worse.

use super::stage::Stage;
use crate::support::{broker::Vhost, worker::poll};
use imin_customer_worker::sandbox::Options;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_429_holds_the_whole_worker() {
    let mut stage = Stage::start().await;
    stage.faults(&["429-retry-after-3x1"]);
    let mut worker = stage.settings().start().ready().await;
    stage.send(0..1).await;
    while stage.calls() == 0 {
        poll().await;
    }
    let since = Instant::now();
    stage.send(1..20).await;
    while stage.calls() == 1 {
        poll().await;
    }
    // Looking takes a moment, and the hold began before the first look.
    assert!(since.elapsed() >= Duration::from_millis(2500), "called after {:?}", since.elapsed());
    let books = stage.balance(&worker).await;
    assert_eq!(books.calls, 21);
    worker.stop().await;
}

#[tokio::test]
async fn the_rate_limit_holds_over_all_slots() {
    let mut stage = Stage::start().await;
    stage.send(0..80).await;
    let settings = stage.settings().set("RATE_LIMIT", "20").set("CONCURRENCY", "40");
    let mut worker = settings.start().ready().await;
    while stage.calls() == 0 {
        poll().await;
    }
    let (before, since) = (stage.calls(), Instant::now());
    stage.accounts(80, &worker).await;
    #[expect(clippy::cast_precision_loss, reason = "at most eighty")]
    let least = Duration::from_secs_f64((80 - before - 1) as f64 / 20.0);
    assert!(since.elapsed() >= least, "{:?} is shorter than {least:?}", since.elapsed());
    stage.balance(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_brown_out_is_not_made_worse_by_retries() {
    const COUNT: u64 = 300;
    let mut stage = Stage::start().await;
    stage.faults(&["503@30%"]);
    stage.send(0..300).await;
    let since = Instant::now();
    let settings = stage
        .settings()
        .set("CONCURRENCY", "32")
        .set("RETRY_BUDGET", "0.2")
        .set("BREAKER_FAILURE_RATE", "1")
        .set("BREAKER_MIN_CALLS", "1000");
    let mut worker = settings.start().ready().await;
    let books = stage.balance(&worker).await;
    let retries = books.calls - COUNT;
    // A fifth of the first calls, ten to begin with and ten a second.
    let budget = COUNT / 5 + 10 + 10 * (since.elapsed().as_secs() + 1);
    println!("{retries} retries for {COUNT} events in {:.1?}, {budget} affordable", since.elapsed());
    assert!(retries <= budget, "{retries} retries of {budget}");
    worker.stop().await;
}

/// An imin that works on eight calls at a time and lets the others wait.
async fn narrow() -> Stage {
    let options = Options { capacity: Some(8), latency: Duration::from_millis(50), ..Options::default() };
    Stage::on(Vhost::fresh(), options).await
}

#[tokio::test]
async fn a_slow_imin_gets_fewer_calls_at_a_time_and_is_kept_busy() {
    let mut stage = narrow().await;
    stage.send(0..900).await;
    let since = Instant::now();
    let mut worker = stage.settings().set("CONCURRENCY", "64").start().ready().await;
    worker.until("concurrency_limit", |limit| limit <= 24.0).await;
    let mut lowest = 64.0_f64;
    while stage.sandbox.accounts().total < 900 {
        lowest = lowest.min(worker.metric("concurrency_limit").await);
        poll().await;
    }
    println!("900 events in {:.1?} (5.6 s at best), {lowest} calls at a time at the lowest", since.elapsed());
    assert!(lowest >= 8.0, "imin could take eight, the worker asked for {lowest} at a time");
    stage.balance(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn told_not_to_adapt_it_does_not() {
    let mut stage = narrow().await;
    stage.send(0..300).await;
    let settings = stage.settings().set("CONCURRENCY", "64").set("ADAPTIVE_CONCURRENCY", "false");
    let mut worker = settings.start().ready().await;
    stage.balance(&worker).await;
    assert_eq!(worker.metric("concurrency_limit").await, 64.0);
    assert!(stage.sandbox.stats().max_in_flight > 32);
    worker.stop().await;
}
