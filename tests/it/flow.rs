//! The flow of deliveries, stopped and started: no message gets stuck between the broker and the worker.

use crate::support::{
    worker::{PATIENCE, poll},
    world::{World, customer, names},
};
use futures_util::FutureExt;
use imin_customer_worker::{
    amqp::{AmqpSource, Endpoint, source, topology::Topology},
    broker::{Delivery, Source},
    message::Properties,
};
use lapin::options::BasicPublishOptions;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

const MESSAGES: u16 = 20;

fn id(delivery: &Delivery) -> String {
    delivery.message.properties.message_id().as_ref().expect("an id").to_string()
}

/// A source that is ready, and has room for so many deliveries at least.
async fn source(world: &World, in_hand: usize) -> AmqpSource {
    let endpoint = Endpoint::new(&world.vhost.url, Duration::from_secs(10)).expect("an address");
    let topology = Topology::new(&names(), Some(100));
    let settings = source::Settings { queue: names().queue, in_hand, topology, apply: false };
    let mut source = AmqpSource::new(endpoint, settings, source::nobody());
    source.prepare().await.expect("the topology stands");
    source
}

/// Waits until the work queue has so many messages ready and so many consumers.
async fn queue_looks(world: &World, so: (u32, u32)) {
    let reached = async {
        while world.look("customers.create").await != so {
            poll().await;
        }
    };
    timeout(PATIENCE, reached).await.expect("the queue gets there");
}

/// A caller that gives up waiting at any moment, even while the consumer is being started, finds
/// every message with the next `pause` or `next`.
#[tokio::test]
async fn a_wait_that_is_given_up_loses_no_message() {
    let world = World::start().await;
    for n in 0..MESSAGES {
        world.send(&format!("signup-{n}"), &customer("geoff@example.com")).await;
    }
    let mut source = source(&world, MESSAGES.into()).await;
    let mut seen = BTreeSet::new();
    for delivery in source.pause().await {
        seen.insert(id(&delivery));
        // Dropped, it is given back.
    }
    for polls in [1, 2] {
        queue_looks(&world, (MESSAGES.into(), 0)).await;
        // The question for a consumer goes out with the first look and is answered much later.
        for _ in 0..polls {
            drop(source.next().now_or_never());
        }
        timeout(PATIENCE, async { while world.look("customers.create").await != (0, 1) {} })
            .await
            .expect("all of them on their way");
        let fetched = timeout(PATIENCE, source.pause()).await.expect("bounded");
        assert_eq!(fetched.iter().map(id).collect::<BTreeSet<_>>().len(), usize::from(MESSAGES));
        drop(fetched);
    }
    drop(source.next().now_or_never());
    for _ in 0..MESSAGES {
        let delivery = timeout(PATIENCE, source.next()).await.expect("none of them is stuck");
        seen.insert(id(&delivery));
        delivery.ack();
    }
    assert_eq!(seen.len(), usize::from(MESSAGES));
    source.close().await;
    assert_eq!(world.left("customers.create").await, 0);
}

/// The drain drops whatever the loop was doing, a pause too, and pauses again.
#[tokio::test]
async fn a_pause_that_nobody_waits_for_can_be_repeated() {
    let world = World::start().await;
    let mut source = source(&world, 10).await;
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
    assert_eq!(world.left("customers.create").await, 0);
}

/// Messages that come while the consumer is being cancelled: a quorum queue sends some of them when the
/// broker has said already that it is.
#[tokio::test]
async fn a_message_that_comes_while_the_flow_stops_is_not_stuck() {
    const ROUNDS: usize = 300;
    const BURST: usize = 20;
    let world = World::start().await;
    let mut source = source(&world, 1_000).await;
    let connection = world.vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let mut seen = BTreeSet::new();
    for round in 0..ROUNDS {
        let sending = async {
            for n in 0..BURST {
                let properties = Properties::default().with_message_id(format!("{round}-{n}").into());
                let (exchange, queue) = ("".into(), names().queue.as_str().into());
                let options = BasicPublishOptions::default();
                channel.basic_publish(exchange, queue, options, b"{}", properties).await.expect("sent");
            }
        };
        let taking = async {
            let first = source.next().await;
            for delivery in std::iter::once(first).chain(source.pause().await) {
                seen.insert(id(&delivery));
                delivery.ack();
            }
        };
        timeout(PATIENCE, async { tokio::join!(sending, taking) }).await.expect("one of them comes");
    }
    let rest = async {
        while seen.len() < ROUNDS * BURST {
            let delivery = source.next().await;
            seen.insert(id(&delivery));
            delivery.ack();
        }
    };
    timeout(PATIENCE, rest).await.expect("all of them come");
    source.close().await;
    assert_eq!(world.left("customers.create").await, 0);
}
