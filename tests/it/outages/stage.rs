//! What every outage needs: senders, subscribers and books that outlive the broker, and a timeline.
//!
//! The books know nothing of the worker: they read imin's accounts, the events that came out and the
//! queues.

use crate::support::{
    broker::Vhost,
    worker::{Log, PATIENCE, Settings, Worker, poll},
    world::{KEY, SUBSCRIBER, customer, names, plain, settings},
};
use futures_util::{StreamExt, future::join_all};
use imin_customer_worker::{
    amqp::topology::Topology,
    sandbox::{Options, Sandbox},
};
use jiff::Timestamp;
use lapin::{
    Channel, Connection,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

/// The work queue.
pub(super) const WORK: &str = "customers.create";
/// The dead letters.
pub(super) const DEAD: &str = "customers.create.dead";

/// A worker's surroundings, none of which is lost with the broker.
pub(super) struct Stage {
    pub(super) vhost: Vhost,
    pub(super) sandbox: Sandbox,
    pub(super) dir: TempDir,
    /// The ids of every event that was sent.
    sent: BTreeSet<String>,
}

/// What came out in the end.
pub(super) struct Books {
    /// Calls of imin's create.
    pub(super) calls: u64,
    /// Events beyond the first for the same id.
    pub(super) repeats: usize,
}

impl Stage {
    /// On a virtual host of the shared broker.
    pub(super) async fn start() -> Self {
        Self::on(Vhost::fresh(), Options::default()).await
    }

    /// On this virtual host, with an imin like this.
    pub(super) async fn on(vhost: Vhost, options: Options) -> Self {
        let sandbox = Sandbox::start(Options { api_key: Some(KEY.into()), ..options }).await;
        let (_connection, channel) = channel(&vhost).await;
        Topology::new(&names(), Some(100)).apply(&channel).await.expect("the topology can be declared");
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions::durable();
        channel.queue_declare(SUBSCRIBER.into(), durable, arguments).await.expect("declared");
        bind(&channel, SUBSCRIBER, "customers.events", "customer.account.created").await;
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { vhost, sandbox: sandbox.expect("the sandbox starts"), dir, sent: BTreeSet::new() }
    }

    /// Settings for a worker here.
    pub(super) fn settings(&self) -> Settings {
        settings(&self.vhost, &self.sandbox, &self.dir)
    }

    /// Replaces imin's faults.
    pub(super) fn faults(&self, faults: &[&str]) {
        let faults = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
        self.sandbox.set_faults(faults, 7);
    }

    /// Publishes plain events, numbered, and waits for every confirm.
    pub(super) async fn send(&mut self, numbers: Range<usize>) {
        let (_connection, channel) = channel(&self.vhost).await;
        let numbers: Vec<usize> = numbers.collect();
        for some in numbers.chunks(100) {
            let ids = some.iter().map(|n| (format!("signup-{n}"), format!("geoff{n}@example.com")));
            let confirms = join_all(ids.map(|(id, email)| {
                self.sent.insert(id.clone());
                publish(&channel, id, email)
            }))
            .await;
            for confirm in join_all(confirms).await {
                assert!(confirm.expect("confirmed").is_ack());
            }
        }
    }

    /// Publishes one event whose e-mail address asks for a fault.
    pub(super) async fn send_one(&mut self, id: &str, email: &str) {
        let (_connection, channel) = channel(&self.vhost).await;
        self.sent.insert(id.into());
        let confirm = publish(&channel, id.into(), email.into()).await;
        assert!(confirm.await.expect("confirmed").is_ack());
    }

    /// How many calls imin has answered, or let down.
    pub(super) fn calls(&self) -> u64 {
        self.sandbox.stats().calls.values().sum()
    }

    /// How many events were sent.
    pub(super) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Waits until imin has so many accounts.
    pub(super) async fn accounts(&self, count: usize, worker: &Worker) {
        let reached = async {
            while self.sandbox.accounts().total < count {
                poll().await;
            }
        };
        if timeout(PATIENCE * 3, reached).await.is_err() {
            let made = self.sandbox.accounts().total;
            panic!("{made} accounts of {count}; the log:\n{}", worker.log.lines().join("\n"));
        }
    }

    /// Waits for the event of everything that was sent, and then for empty queues: one account for each
    /// event, under the key of that event, nothing in between, no dead letter.
    pub(super) async fn balance(&self, worker: &Worker) -> Books {
        let events = match timeout(PATIENCE * 3, self.events()).await {
            Ok(events) => events,
            Err(_) => panic!(
                "{} of {} accounts, {} dead; the log:\n{}",
                self.sandbox.accounts().total,
                self.sent.len(),
                self.vhost.depth(DEAD).await,
                worker.log.lines().join("\n")
            ),
        };
        let causes: BTreeSet<String> = events.values().map(|event| event.cause.clone()).collect();
        assert_eq!(causes, self.sent, "every event sent has come out, and no other");
        assert_eq!(events.len(), self.sent.len(), "an event's id does not change");
        let made = self.sandbox.accounts();
        assert_eq!((made.total, made.doubles), (self.sent.len(), 0), "one account each");
        for account in &made.accounts {
            let key = account.idempotency_key.as_deref().expect("every call has one");
            assert_eq!(events[key].identifier, account.identifier);
        }
        self.idle(worker).await;
        assert_eq!(self.vhost.depth(DEAD).await, 0, "no dead letter");
        Books { calls: self.calls(), repeats: events.values().map(|event| event.times - 1).sum() }
    }

    /// Takes events until there is one for everything that was sent.
    async fn events(&self) -> BTreeMap<String, Event> {
        let (_connection, channel) = channel(&self.vhost).await;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consuming = channel.basic_consume(SUBSCRIBER.into(), "".into(), options, FieldTable::default());
        let mut events: BTreeMap<String, Event> = BTreeMap::new();
        let mut stream = consuming.await.expect("consumes");
        while events.len() < self.sent.len() {
            let delivery = stream.next().await.expect("the queue stands").expect("the connection lives");
            let event = Event::read(&delivery.data);
            let known = events.entry(event.id.clone()).or_insert_with(|| Event { times: 0, ..event.clone() });
            assert_eq!(known.identifier, event.identifier, "a repeat says what the first one said");
            known.times += 1;
        }
        events
    }

    /// Waits until the work queue and the delay queues hold nothing, settled or not.
    pub(super) async fn idle(&self, worker: &Worker) {
        let emptied = async {
            loop {
                let held = self.held().await;
                if held == 0 {
                    return;
                }
                poll().await;
            }
        };
        if timeout(PATIENCE, emptied).await.is_err() {
            panic!("not empty; the log:\n{}", worker.log.lines().join("\n"));
        }
    }

    /// How many messages the work queue and the delay queues hold, unsettled ones included.
    async fn held(&self) -> u64 {
        let vhost = self.vhost.clone();
        let list =
            move || vhost.ctl(&["list_queues", "-p", &vhost.name, "--no-table-headers", "name", "messages"]);
        let listed = tokio::task::spawn_blocking(list).await.expect("lists");
        let ours = listed.lines().filter_map(|line| line.split_once('\t'));
        let ours = ours.filter(|(name, _)| *name == WORK || name.starts_with("customers.create.retry."));
        ours.map(|(_, count)| count.parse::<u64>().expect("a number")).sum()
    }

    /// How many consumers the work queue has. A `basic.get` whose message is not settled yet is listed
    /// as one too, without a prefetch count, and a passive declare counts it.
    pub(super) async fn consumers(&self) -> usize {
        let vhost = self.vhost.clone();
        let list = move || vhost.ctl(&["list_consumers", "-p", &vhost.name, "queue_name", "prefetch_count"]);
        let listed = tokio::task::spawn_blocking(list).await.expect("lists");
        let fetched = format!("{WORK}\tundefined");
        listed.lines().filter(|line| line.starts_with(&format!("{WORK}\t")) && *line != fetched).count()
    }
}

#[derive(Clone)]
struct Event {
    id: String,
    cause: String,
    identifier: String,
    times: usize,
}

impl Event {
    fn read(body: &[u8]) -> Self {
        let event: Value = serde_json::from_slice(body).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            id: text(&event["id"]),
            cause: text(&event["causationid"]),
            identifier: text(&event["data"]["identifier"]),
            times: 1,
        }
    }
}

/// A channel with confirms, and the connection that it lives on.
pub(super) async fn channel(vhost: &Vhost) -> (Connection, Channel) {
    let connection = vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    (connection, channel)
}

/// Binds a queue to an exchange.
pub(super) async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("bound");
}

async fn publish(channel: &Channel, id: String, email: String) -> lapin::PublisherConfirm {
    let (options, body) = (BasicPublishOptions::default(), customer(&email).to_string());
    let properties = plain(&id);
    let sent = channel.basic_publish(
        "customers".into(),
        "customer.create".into(),
        options,
        body.as_bytes(),
        properties,
    );
    sent.await.expect("written")
}

/// The causes that `/readyz` gives.
pub(super) fn causes(body: &str) -> Vec<&'static str> {
    let named = |cause: &&str| body.contains(&format!("\"cause\":\"{cause}\""));
    ["breaker", "misconfigured", "broker", "ledger"].into_iter().filter(named).collect()
}

/// How many lines say this.
pub(super) fn count(log: &Log, part: &str) -> usize {
    log.lines().iter().filter(|line| line.contains(part)).count()
}

/// Waits until so many lines say this.
pub(super) async fn lines(log: &Log, part: &str, at_least: usize) {
    let reached = async {
        while count(log, part) < at_least {
            poll().await;
        }
    };
    if timeout(PATIENCE, reached).await.is_err() {
        panic!("not {at_least} lines with {part:?} in:\n{}", log.lines().join("\n"));
    }
}

/// What a worker's log says of its states.
const STATES: [&str; 15] = [
    "ready",
    "breaker",
    "paused",
    "resumed",
    "giving back",
    "publisher",
    "publishing is blocked",
    "consuming",
    "no consumer",
    "watchdog",
    "IMIN_API_KEY_FILE",
    "declared all of them",
    "draining",
    "drained",
    "stopping",
];

/// Prints the states that a worker went through, by its log: the same one over and over once.
pub(super) fn print_timeline(log: &Log) {
    let lines: Vec<Value> = log.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let at = |line: &Value| line["timestamp"].as_str()?.parse::<Timestamp>().ok();
    let Some(start) = lines.iter().find_map(at) else { return };
    let mut last = String::new();
    for line in &lines {
        let message = line["message"].as_str().unwrap_or_default();
        if !STATES.iter().any(|state| message.starts_with(state)) || message == last {
            continue;
        }
        let why = ["cause", "status", "reason", "detail", "messages"].map(|name| match &line[name] {
            Value::Null => String::new(),
            Value::String(text) => format!(" {text}"),
            other => format!(" {other}"),
        });
        let since = at(line).map_or(0.0, |at| at.duration_since(start).as_secs_f64());
        println!("{since:>8.2}s  {message}{}", why.concat());
        message.clone_into(&mut last);
    }
}

/// Prints how long something took.
pub(super) fn print_recovery(from: &str, since: Instant) {
    println!("back to work {:.2} s after {from}", since.elapsed().as_secs_f64());
}
