//! The source on a real broker: whoever stops waiting for it leaves nothing behind.

use crate::support::{
    worker::{PATIENCE, poll},
    world::{World, customer, names},
};
use futures_util::FutureExt;
use imin_customer_worker::{
    amqp::{AmqpSource, Endpoint, source, topology::Topology},
    broker::{Delivery, Source},
};
use std::time::Duration;
use tokio::time::timeout;

async fn source(world: &World) -> AmqpSource {
    let endpoint = Endpoint::new(&world.vhost.url, Duration::from_secs(10)).expect("an address");
    let topology = Topology::new(&names(), Some(100));
    let settings = source::Settings { queue: names().queue, prefetch: 10, topology, apply: true };
    let mut source = AmqpSource::new(endpoint, settings, source::nobody());
    source.prepare().await.expect("the topology stands");
    source
}

/// The worker drops `next` whenever the gate changes its mind: also while the broker is being asked for
/// a consumer, which would then fetch messages that nobody settles.
#[tokio::test]
async fn a_start_that_nobody_waits_for_fetches_nothing_for_nobody() {
    let world = World::start().await;
    let mut source = source(&world).await;
    assert!(source.pause().await.is_empty());
    assert!(source.next().now_or_never().is_none(), "there is no message yet");
    world.send("one", &customer("geoff@example.com")).await;
    let mut fetched: Vec<Delivery> = source.pause().await;
    let found = async {
        while fetched.is_empty() {
            fetched.extend(source.one().await);
            poll().await;
        }
    };
    timeout(PATIENCE, found).await.expect("the message is with the broker or with us");
    assert_eq!(fetched.len(), 1);
    fetched.remove(0).ack();
    source.close().await;
    assert_eq!(world.depth("customers.create").await, 0);
}

#[tokio::test]
async fn a_pause_that_nobody_waits_for_can_be_repeated() {
    let world = World::start().await;
    let mut source = source(&world).await;
    for id in ["one", "two", "three"] {
        world.send(id, &customer("geoff@example.com")).await;
    }
    let first = timeout(PATIENCE, source.next()).await.expect("a delivery");
    assert!(source.pause().now_or_never().is_none(), "it asks the broker first");
    let mut all = source.pause().await;
    all.push(first);
    let rest = async {
        while all.len() < 3 {
            all.extend(source.one().await);
        }
    };
    timeout(PATIENCE, rest).await.expect("nothing is held for nobody");
    all.into_iter().for_each(Delivery::ack);
    source.close().await;
    assert_eq!(world.depth("customers.create").await, 0);
}
