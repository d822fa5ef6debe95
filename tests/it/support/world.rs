//! A worker's surroundings for one test: a broker with a subscriber, an imin, a ledger's directory.

use super::{
    broker::Vhost,
    worker::{PATIENCE, Settings, client, poll},
};
use futures_util::StreamExt;
use imin_customer_worker::{
    amqp::topology::Topology,
    broker::Names,
    message::{Headers, Message, Properties, Value as Header, long, number, text},
    sandbox::{Options, Sandbox},
};
use lapin::{Channel, Connection, Consumer, options::*, types::FieldTable};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tempfile::TempDir;
use tokio::time::timeout;

/// imin's key in the tests.
pub(crate) const KEY: &str = "a-key-for-tests";
/// The queue that subscribes to the created events.
pub(crate) const SUBSCRIBER: &str = "test.subscriber";

/// The surroundings.
pub(crate) struct World {
    pub(crate) vhost: Vhost,
    pub(crate) sandbox: Sandbox,
    pub(crate) dir: TempDir,
    _connection: Connection,
    channel: Channel,
    created: Consumer,
}

impl World {
    /// On a virtual host of the shared broker.
    pub(crate) async fn start() -> Self {
        Self::on(Vhost::fresh()).await
    }

    /// On this virtual host: topology, a subscriber, an imin that accepts `KEY`.
    pub(crate) async fn on(vhost: Vhost) -> Self {
        let options =
            Options { api_key: Some(KEY.into()), addr: ([127, 0, 0, 1], 0).into(), ..Options::default() };
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        let connection = vhost.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        Topology::new(&names(), Some(100)).apply(&channel).await.expect("the topology can be declared");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let created = subscribe(&channel).await.expect("a subscriber");
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { vhost, sandbox, dir, _connection: connection, channel, created }
    }

    /// Settings for a worker here: short waits, the SQLite ledger.
    pub(crate) fn settings(&self) -> Settings {
        settings(&self.vhost, &self.sandbox, &self.dir)
    }

    /// Publishes to the exchange that senders use, confirmed.
    pub(crate) async fn publish(&self, body: &[u8], properties: Properties) {
        let (options, exchange) =
            (BasicPublishOptions { mandatory: true, ..Default::default() }, "customers".into());
        let sent =
            self.channel.basic_publish(exchange, "customer.create".into(), options, body, properties).await;
        let confirm = sent.expect("written").await.expect("confirmed");
        assert!(confirm.is_ack(), "{confirm:?}");
    }

    /// Publishes a plain event with this id.
    pub(crate) async fn send(&self, id: &str, data: &Value) {
        self.publish(data.to_string().as_bytes(), plain(id)).await;
    }

    /// The next `count` created events.
    pub(crate) async fn created(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let Ok(next) = timeout(PATIENCE, self.created.next()).await else {
                panic!("{} created events of {count}", messages.len());
            };
            messages.push(Message::from(next.expect("the subscriber lives").expect("the connection lives")));
        }
        messages
    }

    /// Every created event that is confirmed by now.
    pub(crate) async fn all_created(&mut self) -> Vec<Message> {
        let (exchange, key) = ("customers.events".into(), "customer.account.created".into());
        let (options, mark) = (BasicPublishOptions::default(), plain("the end of the test"));
        let sent = self.channel.basic_publish(exchange, key, options, b"", mark.clone()).await;
        sent.expect("written").await.expect("confirmed");
        let mut all = Vec::new();
        loop {
            let next = self.created(1).await.remove(0);
            if next.properties.message_id() == mark.message_id() {
                return all;
            }
            all.push(next);
        }
    }

    /// How many messages of a queue are ready once all that consumed from it have gone: what they had
    /// not acknowledged is back then.
    pub(crate) async fn left(&self, queue: &str) -> u32 {
        let gone = async {
            loop {
                match self.look(queue).await {
                    (ready, 0) => return ready,
                    _ => poll().await,
                }
            }
        };
        timeout(PATIENCE, gone).await.expect("nobody consumes any more")
    }

    /// How many messages of a queue are ready, and how many consume from it, at one moment.
    pub(crate) async fn look(&self, queue: &str) -> (u32, u32) {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        let queue = queue.expect("the queue stands");
        (queue.message_count(), queue.consumer_count())
    }

    /// What imin has of an account: the request as it got it, with `@id` and `identifier` at its end.
    pub(crate) async fn account(&self, identifier: &str) -> String {
        let url = format!("{}/customer-accounts/{identifier}", self.sandbox.base_url());
        let answer = client().get(url).header("x-api-key", KEY).send().await.expect("the sandbox answers");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a body")
    }

    /// Takes the next dead letters off their queue, waiting for them, by their `message_id`.
    pub(crate) async fn dead_by_id(&self, count: usize) -> BTreeMap<String, Message> {
        let mut dead = BTreeMap::new();
        for _ in 0..count {
            let letter = self.dead().await;
            let id = letter.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
            assert!(!dead.contains_key(&id), "{id} is a dead letter twice");
            dead.insert(id, letter);
        }
        dead
    }

    /// Takes the next dead letter off its queue, waiting for it.
    pub(crate) async fn dead(&self) -> Message {
        self.take("customers.create.dead").await
    }

    /// Takes the next message off a queue, waiting for it.
    pub(crate) async fn take(&self, queue: &str) -> Message {
        let taken = async {
            loop {
                let got = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await;
                match got.expect("the queue stands") {
                    Some(got) => return Message::from(got.delivery),
                    None => poll().await,
                }
            }
        };
        timeout(PATIENCE, taken).await.unwrap_or_else(|_| panic!("nothing in {queue}"))
    }

    /// How many messages are ready in a queue.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        self.vhost.depth(queue).await
    }

    /// How many accounts imin has.
    pub(crate) fn accounts(&self) -> usize {
        self.sandbox.accounts().total
    }
}

/// Settings for a worker between these: short waits, the SQLite ledger.
pub(crate) fn settings(vhost: &Vhost, sandbox: &Sandbox, dir: &TempDir) -> Settings {
    Settings::new(&[
        ("AMQP_URL", &vhost.url),
        ("IMIN_BASE_URL", sandbox.base_url()),
        ("IMIN_API_KEY", KEY),
        ("LEDGER_URL", &format!("sqlite://{}", dir.path().join("ledger.db").display())),
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
        ("RETRY_INITIAL", "50ms"),
        ("RETRY_MAX_INTERVAL", "1s"),
        ("BREAKER_PROBE_INTERVAL", "200ms"),
        ("MISCONFIGURED_PROBE_INTERVAL", "200ms"),
    ])
}

async fn subscribe(channel: &Channel) -> lapin::Result<Consumer> {
    let none = FieldTable::default();
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(SUBSCRIBER.into(), options, none.clone()).await?;
    let (exchange, key) = ("customers.events".into(), "customer.account.created".into());
    channel.queue_bind(SUBSCRIBER.into(), exchange, key, QueueBindOptions::default(), none.clone()).await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    channel.basic_consume(SUBSCRIBER.into(), "".into(), options, none).await
}

/// The names as they are by default.
pub(crate) fn names() -> Names {
    Names {
        queue: "customers.create".into(),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        events_exchange: "customers.events".into(),
        events_routing_key: "customer.account.created".into(),
        unrouted_exchange: "customers.unrouted".into(),
        unrouted_queue: "customers.unrouted".into(),
        dead_exchange: "customers.dead".into(),
        dead_queue: "customers.create.dead".into(),
    }
}

/// A customer with this e-mail address: the sandbox's faults are asked for there.
pub(crate) fn customer(email: &str) -> Value {
    json!({"customer": {"email": email, "givenName": "Geoff", "familyName": "Capes"}})
}

/// Properties of a plain event with this id.
pub(crate) fn plain(id: &str) -> Properties {
    Properties::default()
        .with_message_id(id.into())
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
}

/// Properties with these headers.
pub(crate) fn with_headers(properties: Properties, headers: &[(&str, &str)]) -> Properties {
    let mut table = Headers::default();
    for (name, value) in headers {
        table.insert((*name).into(), long(value));
    }
    properties.with_headers(table)
}

/// The JSON of a body.
pub(crate) fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.body).expect("JSON")
}

/// A message's headers as JSON.
pub(crate) fn headers(message: &Message) -> Value {
    table(&message.properties.headers().clone().unwrap_or_default())
}

fn table(headers: &Headers) -> Value {
    headers.inner().iter().map(|(name, value)| (name.to_string(), header(value))).collect()
}

fn header(value: &Header) -> Value {
    match value {
        Header::FieldTable(inner) => table(inner),
        Header::FieldArray(values) => values.as_slice().iter().map(header).collect(),
        other => match (text(other), number(other)) {
            (Some(text), _) => json!(text),
            (None, Some(number)) => json!(number),
            (None, None) => json!(format!("{other:?}")),
        },
    }
}
