//! Not done, ambiguous, exhausted: calling again, for as long as that is right.

use super::Failure;
use crate::support::{
    door::Door,
    world::{World, customer, json},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn what_was_certainly_not_done_is_done_later() {
    let mut world = World::start().await;
    let mut worker = world.settings().set("RETRY_AFTER_MAX", "2s").start().ready().await;
    let event = sent(&mut world, "503x2").await;
    assert_eq!(event.get("possibleduplicate"), None, "nothing was made before");
    worker.until("retries_total{cause=\"unavailable\"}", |n| n == 2.0).await;
    for fault in ["408x1", "425x1"] {
        sent(&mut world, fault).await;
    }
    worker.until("retries_total{cause=\"unavailable\"}", |n| n == 4.0).await;

    // imin says when, in seconds or as a date, and is believed up to a limit.
    for (fault, least) in [
        ("429-retry-after-1x1", 1),
        ("429-retry-after-date-2x1", 1),
        ("429-retry-after-3600x1", 2),
        ("503-retry-after-1x1", 1),
    ] {
        let started = Instant::now();
        sent(&mut world, fault).await;
        assert!(started.elapsed() >= Duration::from_secs(least), "{fault}: too early");
    }
    worker.until("retries_total{cause=\"rate_limited\"}", |n| n == 3.0).await;
    worker.until("outcomes_total{outcome=\"created\"}", |n| n == 7.0).await;
    assert_eq!((world.accounts(), world.sandbox.accounts().doubles), (7, 0));
    worker.stop().await;
    assert_eq!(world.depth("customers.create.dead").await, 0);
}

/// Sends a customer whose call meets this fault, and waits for its event.
async fn sent(world: &mut World, fault: &str) -> Value {
    world.send(fault, &customer(&format!("geoff+fault-{fault}@example.com"))).await;
    let event = json(&world.created(1).await[0]);
    assert_eq!(event["causationid"], fault);
    event
}

#[tokio::test]
async fn an_imin_that_is_not_there_yet_is_waited_for() {
    let mut world = World::start().await;
    let door = Door::closed();
    let base = format!("http://{}/api/v2", door.addr);
    // One attempt is allowed: an outage is nobody's attempt.
    let settings = world.settings().set("IMIN_BASE_URL", base).set("RETRY_MAX_ATTEMPTS", "1");
    let mut worker = settings.start().ready().await;
    world.send("early", &customer("geoff@example.com")).await;
    worker.until("retries_total{cause=\"connect\"}", |n| n >= 3.0).await;
    assert_eq!(world.depth("customers.create.dead").await, 0);
    door.open(world.sandbox.addr());
    let event = json(&world.created(1).await[0]);
    assert_eq!((&event["causationid"], event.get("possibleduplicate")), (&json!("early"), None));
    worker.stop().await;
    assert_eq!(world.accounts(), 1);
}

#[tokio::test]
async fn an_ambiguous_call_is_made_again_and_flagged() {
    let mut world = World::start().await;
    let mut worker =
        world.settings().set("IMIN_TIMEOUT", "3s").set("IMIN_CONNECT_TIMEOUT", "3s").start().ready().await;
    let faults = ["500-afterx1", "502x1", "504x1", "reset-afterx1", "reset-beforex1", "timeout-afterx1"];
    for fault in faults {
        let event = sent(&mut world, fault).await;
        assert_eq!(event["possibleduplicate"], json!(true), "{fault}");
    }
    worker.until("retries_total{cause=\"ambiguous\"}", |n| n >= 6.0).await;
    for status in ["500", "502", "504"] {
        assert_eq!(worker.metric(&format!("api_requests_total{{status=\"{status}\"}}")).await, 1.0);
    }
    assert_eq!(worker.metric("api_requests_total{status=\"reset\"}").await, 2.0);
    assert!(world.sandbox.accounts().doubles >= 3, "they were made before the answer was lost");
    worker.stop().await;
    assert_eq!(world.depth("customers.create.dead").await, 0);
}

#[tokio::test]
async fn an_ambiguous_call_can_be_left_to_a_person() {
    let world = World::start().await;
    let mut worker = world.settings().set("AMBIGUOUS", "park").start().ready().await;
    for (fault, status, ended) in [("500-after", Some(500), "status"), ("reset-after", None, "reset")] {
        world.send(fault, &customer(&format!("geoff+fault-{fault}@example.com"))).await;
        let failure = Failure::of(&world.dead().await);
        assert_eq!((&*failure.reason, failure.attempts, failure.status), ("outcome_unknown", 1, status));
        assert_eq!(failure.detail, json!({"cause": "ambiguous", "ended": ended}));
        assert!(failure.was_tried());
    }
    // Sent again, it is still unknown, and imin is not called.
    world.send("500-after", &customer("geoff+fault-500-after@example.com")).await;
    assert_eq!(Failure::of(&world.dead().await).reason, "outcome_unknown");
    worker.until("outcomes_total{outcome=\"unknown\"}", |n| n == 3.0).await;
    assert_eq!(worker.metric("dead_letters_total{reason=\"outcome_unknown\"}").await, 3.0);
    assert_eq!((world.accounts(), world.sandbox.accounts().doubles), (2, 0));
    worker.stop().await;
}

#[tokio::test]
async fn attempts_are_used_up() {
    let world = World::start().await;
    let mut worker = world.settings().set("RETRY_MAX_ATTEMPTS", "2").start().ready().await;
    for (fault, status, detail) in [
        ("503", 503, json!({"cause": "unavailable"})),
        ("500", 500, json!({"cause": "ambiguous", "ended": "status", "possibleduplicate": true})),
    ] {
        world.send(fault, &customer(&format!("geoff+fault-{fault}@example.com"))).await;
        let failure = Failure::of(&world.dead().await);
        assert_eq!(
            (&*failure.reason, failure.attempts, failure.status),
            ("retries_exhausted", 2, Some(status))
        );
        assert_eq!(failure.detail, detail);
        assert!(failure.was_tried());
        assert_eq!(worker.metric(&format!("api_requests_total{{status=\"{status}\"}}")).await, 2.0);
    }
    worker.until("outcomes_total{outcome=\"exhausted\"}", |n| n == 2.0).await;
    assert_eq!(worker.metric("dead_letters_total{reason=\"retries_exhausted\"}").await, 2.0);
    worker.stop().await;
    assert_eq!((world.accounts(), world.depth("customers.create").await), (0, 0));
}
