//! The brokers that tests stand on: apart from each other, killed and back, and gone at the end.

use std::{net::TcpStream, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use crate::support::broker::{Broker, Vhost};

#[tokio::test]
async fn virtual_hosts_are_apart() {
    let (one, other) = (Vhost::fresh(), Vhost::fresh());
    let one_connection = one.connect().await;
    let other_connection = other.connect().await;
    let one_channel = one_connection.create_channel().await.expect("a channel");
    let other_channel = other_connection.create_channel().await.expect("a channel");
    declare(&one_channel).await;
    declare(&other_channel).await;

    publish(&one_channel).await;

    assert_eq!((one.depth("q").await, other.depth("q").await), (1, 0));
    let listed = one.ctl(&["list_queues", "-p", &one.name, "--no-table-headers", "name", "type"]);
    assert_eq!(listed.trim(), "q\tquorum");
}

#[tokio::test]
async fn a_killed_node_comes_back_with_its_data_on_the_same_port() {
    let broker = Broker::start();
    let vhost = broker.vhost();
    let connection = vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel).await;
    publish(&channel).await;

    broker.kill();
    assert!(!takes_connections(&vhost.url));
    broker.restart();
    assert_eq!(first_body(&vhost).await, b"hello");

    broker.stop();
    assert!(!takes_connections(&vhost.url));
    broker.restart();
    assert_eq!(first_body(&vhost).await, b"hello");
}

#[tokio::test]
async fn a_node_ends_with_whoever_holds_it() {
    let broker = Broker::start_with("channel_max = 7\n");
    let vhost = broker.vhost();
    assert_eq!(vhost.connect().await.configuration().channel_max(), 7);

    drop(broker);

    assert!(!takes_connections(&vhost.url));
}

async fn declare(channel: &Channel) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare("q".into(), QueueDeclareOptions::durable(), arguments).await.expect("declared");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
}

async fn publish(channel: &Channel) {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), "q".into(), options, b"hello", persistent).await;
    assert!(sent.expect("sent").await.expect("confirmed").is_ack());
}

/// The body of the queue's first message, which stays in the queue.
async fn first_body(vhost: &Vhost) -> Vec<u8> {
    let channel = vhost.connect().await.create_channel().await.expect("a channel");
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer =
        channel.basic_consume("q".into(), "".into(), options, arguments).await.expect("consumes");
    let delivery = tokio::time::timeout(Duration::from_secs(30), consumer.next()).await.expect("in time");
    delivery.expect("the queue stands").expect("delivered").data
}

/// Whether anything listens where the URL points.
fn takes_connections(url: &str) -> bool {
    let address = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("host:port");
    TcpStream::connect(address).is_ok()
}
