//! The command on dead letters as a person runs it, and queues filled with them.

use crate::support::{
    broker::Vhost,
    worker::{PATIENCE, Settings, poll},
    world::{World, names},
};
use imin_customer_worker::{
    amqp::{AmqpShelves, Endpoint, topology::Topology},
    broker::Publication,
    dead_letters::shelf::{Shelf, Shelves},
    event::EventKey,
    letters::{self, Failure},
    message::{Message, Properties},
    outcome::Reason,
};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use serde_json::Value;
use std::{process::Output, time::Duration};
use tokio::time::timeout;
use uuid::Uuid;

/// What a command said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Nothing went wrong.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }

    /// Something did, and it says this of it.
    pub(crate) fn failed(self, says: &str) -> Self {
        assert_eq!(self.code, Some(1), "{}\n{}", self.out, self.err);
        assert!(self.words().contains(says), "{says:?} is not in: {}\n{}", self.out, self.err);
        self
    }

    /// Standard error, however its lines were wrapped.
    pub(crate) fn words(&self) -> String {
        self.err.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The lines of standard output, each an object.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The audit lines.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let lines = self.err.lines().filter(|line| line.starts_with("{\"audit\""));
        lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// Runs `dead-letters` with these arguments.
pub(crate) async fn command(settings: &Settings, arguments: &[&str]) -> Said {
    let all: Vec<&str> = std::iter::once("dead-letters").chain(arguments.iter().copied()).collect();
    Said::of(settings.run(&all).await)
}

/// Every dead letter, as `list --json` tells of it.
pub(crate) async fn list(settings: &Settings) -> Vec<Value> {
    command(settings, &["list", "--json"]).await.done().objects()
}

/// The keys of all dead letters, in their order.
pub(crate) async fn keys(settings: &Settings) -> Vec<String> {
    let key = |letter: Value| letter["key"].as_str().expect("a key").to_owned();
    list(settings).await.into_iter().map(key).collect()
}

/// Waits until there are so many dead letters that nobody holds.
pub(crate) async fn until_dead(world: &World, count: u32) {
    until_depth(&world.vhost, "customers.create.dead", count).await;
}

/// Waits until there are so many messages in a queue that nobody holds.
pub(crate) async fn until_depth(vhost: &Vhost, queue: &str, count: u32) {
    let reached = async {
        while vhost.depth(queue).await != count {
            poll().await;
        }
    };
    if timeout(PATIENCE, reached).await.is_err() {
        panic!("{} in {queue}, not {count}", vhost.depth(queue).await);
    }
}

/// A dead letter as the worker writes it: plain, known by the number, of any size.
pub(crate) fn letter(number: u32, reason: Reason, size: usize) -> Publication {
    let at = "2026-03-01T03:00:00Z".parse().expect("a time");
    let body = format!(
        r#"{{"customer":{{"email":"member-{number}@example.com","givenName":"{}"}}}}"#,
        "x".repeat(size)
    );
    let message = Message {
        body: body.into(),
        properties: Properties::default()
            .with_content_type("application/json".into())
            .with_message_id(format!("signup-{number}").as_str().into()),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        redelivered: false,
    };
    let failure = Failure {
        key: EventKey(Uuid::from_u128(u128::from(number) << 96 | u128::from(number))),
        reason,
        detail: serde_json::json!({"type": "OpenBookingError"}),
        status: Some(422),
        attempts: 1,
        first_attempt_at: Some(at),
        at,
    };
    letters::dead(&names(), &message, &failure)
}

/// Publishes all of these, and waits for every confirm.
pub(crate) async fn publish(vhost: &Vhost, publications: impl IntoIterator<Item = Publication>) {
    let connection = vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    for publication in publications {
        let Publication { exchange, routing_key, properties, body } = publication;
        channel.basic_publish(exchange, routing_key, options, &body, properties).await.expect("written");
    }
    let returned = channel.wait_for_confirms().await.expect("confirmed");
    assert!(returned.is_empty(), "returned: {returned:?}");
}

/// Dead letters with these numbers.
pub(crate) async fn fill(vhost: &Vhost, numbers: std::ops::Range<u32>, size: usize) {
    publish(vhost, numbers.map(|number| letter(number, Reason::RejectedByApi, size))).await;
}

/// Looks by way of the library, on one connection.
pub(crate) fn shelves(vhost: &Vhost) -> AmqpShelves {
    let endpoint = Endpoint::new(&vhost.url, Duration::from_secs(10)).expect("an address");
    AmqpShelves::new(endpoint, names(), Topology::new(&names(), Some(100)), false)
}

/// Begins a look.
pub(crate) async fn look(shelves: &AmqpShelves) -> Box<dyn Shelf> {
    shelves.look().await.expect("a look")
}
