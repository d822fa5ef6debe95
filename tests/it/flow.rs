//! The flow of deliveries, stopped and started: no message gets stuck between the broker and the worker.

use crate::support::{
    worker::PATIENCE,
    world::{World, customer, names},
};
use futures_util::FutureExt;
use imin_customer_worker::{
    amqp::{AmqpSource, Endpoint, source, topology::Topology},
    broker::{Delivery, Source},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

const MESSAGES: usize = 20;

fn id(delivery: &Delivery) -> String {
    delivery.message.properties.message_id().as_ref().expect("an id").to_string()
}

/// A caller that gives up waiting at any moment, even while the consumer is being started, finds
/// every message with the next `pause` or `next`.
#[tokio::test]
async fn a_wait_that_is_given_up_loses_no_message() {
    let world = World::start().await;
    for n in 0..MESSAGES {
        world.send(&format!("signup-{n}"), &customer("geoff@example.com")).await;
    }
    let endpoint = Endpoint::new(&world.vhost.url, Duration::from_secs(10)).expect("an address");
    let topology = Topology::new(&names(), Some(100));
    let settings =
        source::Settings { queue: names().queue, prefetch: MESSAGES as u16, topology, apply: false };
    let mut source = AmqpSource::new(endpoint, settings, source::nobody());
    source.prepare().await.expect("the topology stands");
    let mut seen = BTreeSet::new();
    for delivery in source.pause().await {
        seen.insert(id(&delivery));
        // Dropped, it is given back.
    }
    for polls in [1, 2] {
        // The question for a consumer goes out with the first look and is answered much later.
        for _ in 0..polls {
            drop(source.next().now_or_never());
        }
        timeout(PATIENCE, async { while world.look("customers.create").await != (0, 1) {} })
            .await
            .expect("all of them on their way");
        let fetched = timeout(PATIENCE, source.pause()).await.expect("bounded");
        assert_eq!(fetched.iter().map(id).collect::<BTreeSet<_>>().len(), MESSAGES);
        drop(fetched);
    }
    drop(source.next().now_or_never());
    for _ in 0..MESSAGES {
        let delivery = timeout(PATIENCE, source.next()).await.expect("none of them is stuck");
        seen.insert(id(&delivery));
        delivery.ack();
    }
    assert_eq!(seen.len(), MESSAGES);
    source.close().await;
    assert_eq!(world.left("customers.create").await, 0);
}
