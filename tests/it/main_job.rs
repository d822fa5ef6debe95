//! The main job on the real binary: every outcome, from the queue to where it ends.

use crate::support::world::{World, customer, json};

#[tokio::test]
async fn a_signup_becomes_a_customer_and_its_identifier_goes_out() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    world.send("signup-1", &customer("geoff@example.com")).await;
    let event = json(&world.created(1).await[0]);
    let made = world.sandbox.accounts();
    assert_eq!(made.total, 1);
    assert_eq!(event["type"], "CustomerAccountCreated");
    assert_eq!(event["causationid"], "signup-1");
    worker.until("outcomes_total{outcome=\"created\"}", |n| n == 1.0).await;
    worker.stop().await;
    assert_eq!(world.depth("customers.create").await, 0);
    assert_eq!(world.depth("customers.create.dead").await, 0);
}
