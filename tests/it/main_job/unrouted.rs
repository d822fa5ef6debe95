//! Unrouted: an event that nobody subscribes to is kept, and counted.

use crate::support::world::{World, customer, json};
use lapin::options::QueueDeleteOptions;

#[tokio::test]
async fn an_event_that_nobody_subscribes_to_is_kept_and_counted() {
    let mut world = World::start().await;
    let mut worker = world.settings().set("RUST_LOG", "debug").start().ready().await;
    worker.log.line("events without a subscriber are counted").await;
    world.send("heard", &customer("geoff@example.com")).await;
    assert_eq!(json(&world.created(1).await[0])["causationid"], "heard");

    let channel = world.vhost.connect().await.create_channel().await.expect("a channel");
    channel.queue_delete("test.subscriber".into(), QueueDeleteOptions::default()).await.expect("deleted");
    world.send("unheard", &customer("geoff@example.com")).await;
    let kept = world.take("customers.unrouted").await;
    assert_eq!(json(&kept)["causationid"], "unheard");
    assert_eq!(
        kept.properties.kind().as_ref().map(ToString::to_string).as_deref(),
        Some("CustomerAccountCreated")
    );
    worker.until("events_unrouted_total", |n| n == 1.0).await;
    worker.until("events_published_total", |n| n == 2.0).await;
    assert_eq!(worker.metric("outcomes_total{outcome=\"created\"}").await, 2.0);
    worker.stop().await;
    assert_eq!(world.depth("customers.unrouted").await, 0, "the one that was heard is not in it");
}
