//! Duplicate: an event that comes again makes nobody twice, and where nobody can know, it says so.

use super::Failure;
use crate::support::{
    slow::Slow,
    world::{World, customer, json},
};
use serde_json::json;

#[tokio::test]
async fn an_event_that_comes_again_makes_nobody_twice() {
    let mut world = World::start().await;
    let settings = world.settings();
    let mut worker = settings.start().ready().await;
    world.send("again", &customer("geoff@example.com")).await;
    assert_eq!(cause(&mut world).await, "again");
    worker.until("outcomes_total{outcome=\"created\"}", |n| n == 1.0).await;

    world.send("again", &customer("geoff@example.com")).await;
    worker.until("outcomes_total{outcome=\"duplicate\"}", |n| n == 1.0).await;
    // Nor does another worker that finds the ledger of one that was killed. It may get the killed one's
    // delivery too: that its outcome was counted does not say that its ack had gone out.
    worker.kill().await;
    let mut worker = settings.start().ready().await;
    world.send("again", &customer("geoff@example.com")).await;
    world.send("other", &customer("geoff@example.com")).await;
    assert_eq!(cause(&mut world).await, "other", "no second event for the first came before");
    worker.until("in_flight", |n| n == 0.0).await;
    assert!([1.0, 2.0].contains(&worker.metric("outcomes_total{outcome=\"duplicate\"}").await));
    assert_eq!(worker.metric("events_published_total").await, 1.0);
    worker.stop().await;
    assert_eq!((world.accounts(), world.sandbox.accounts().doubles), (2, 0));
    assert_eq!((world.depth("customers.create").await, world.depth("customers.create.dead").await), (0, 0));
}

async fn cause(world: &mut World) -> String {
    json(&world.created(1).await[0])["causationid"].as_str().expect("a cause").to_owned()
}

#[tokio::test]
async fn a_worker_killed_in_mid_call_leaves_an_open_attempt() {
    let mut world = World::start().await;
    let imin = Slow::start().await;
    let settings = world.settings().set("IMIN_BASE_URL", imin.url());
    let mut worker = settings.start().ready().await;
    world.send("cut-off", &customer("geoff@example.com")).await;
    imin.arrived(1).await;
    worker.kill().await;
    imin.answer(2);
    let mut worker = settings.start().ready().await;
    let event = json(&world.created(1).await[0]);
    assert_eq!((&event["causationid"], &event["possibleduplicate"]), (&json!("cut-off"), &json!(true)));
    assert_eq!(imin.calls(), 2);
    worker.stop().await;
    assert_eq!((world.depth("customers.create").await, world.depth("customers.create.dead").await), (0, 0));
}

#[tokio::test]
async fn an_open_attempt_can_be_left_to_a_person() {
    let world = World::start().await;
    let imin = Slow::start().await;
    let settings = world.settings().set("IMIN_BASE_URL", imin.url()).set("AMBIGUOUS", "park");
    let mut worker = settings.start().ready().await;
    world.send("cut-off", &customer("geoff@example.com")).await;
    imin.arrived(1).await;
    worker.kill().await;
    let mut worker = settings.start().ready().await;
    let failure = Failure::of(&world.dead().await);
    assert_eq!((&*failure.reason, failure.status), ("outcome_unknown", None));
    assert_eq!(failure.detail, json!({"cause": "ambiguous", "ended": "open_attempt"}));
    worker.stop().await;
    assert_eq!((imin.calls(), world.depth("customers.create").await), (1, 0));
}
