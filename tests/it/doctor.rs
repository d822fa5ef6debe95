//! The doctor on the real binary: each finding that can be provoked, its remedy and the exit code; and
//! that looking changes nothing.

use crate::support::{
    broker::Vhost,
    postgres,
    worker::Settings,
    world::{World, customer, names},
};
use imin_customer_worker::amqp::topology::Topology;
use lapin::{
    Channel, Connection,
    options::*,
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

/// What `doctor --json` said.
struct Said {
    healthy: bool,
    checks: Vec<Value>,
}

async fn doctor(settings: &Settings) -> Said {
    let done = settings.run(&["doctor", "--json"]).await;
    let report: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    let healthy = report["healthy"].as_bool().unwrap();
    assert_eq!(done.status.code(), Some(i32::from(!healthy)), "{report:#}");
    Said { healthy, checks: report["checks"].as_array().unwrap().clone() }
}

impl Said {
    /// The finding of a check that has this in it.
    fn finding(&self, check: &str, part: &str) -> &Value {
        let found = self
            .checks
            .iter()
            .find(|finding| finding["check"] == check && finding["what"].as_str().unwrap().contains(part));
        found.unwrap_or_else(|| panic!("no {check:?} with {part:?} in {:#?}", self.checks))
    }

    /// It failed, with a remedy that has this in it.
    fn fails(&self, check: &str, part: &str, remedy: &str) {
        self.is("fail", check, part, remedy);
        assert!(!self.healthy);
    }

    fn warns(&self, check: &str, part: &str, remedy: &str) {
        self.is("warn", check, part, remedy);
    }

    fn is(&self, status: &str, check: &str, part: &str, remedy: &str) {
        let finding = self.finding(check, part);
        assert_eq!(finding["status"], status, "{finding:#}");
        let told = finding["remedy"].as_str().unwrap_or_default();
        assert!(told.contains(remedy), "{remedy:?} is not in {finding:#}");
    }

    /// Nothing is worse than `ok`.
    fn all_well(&self) {
        assert!(
            self.healthy && self.checks.iter().all(|finding| finding["status"] == "ok"),
            "{:#?}",
            self.checks
        );
    }
}

/// A channel on the world's virtual host; its connection has to live as long.
async fn channel(vhost: &Vhost) -> (Connection, Channel) {
    let connection = vhost.connect().await;
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn redeclare(channel: &Channel, queue: &str, arguments: &[(&str, AMQPValue)]) {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, table).await.unwrap();
}

#[tokio::test]
async fn all_is_well_and_stays_as_it_was() {
    let world = World::start().await;
    doctor(&world.settings()).await.all_well();
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 0, "the doctor made a ledger");
    for queue in ["customers.create", "customers.create.dead", "customers.unrouted"] {
        assert_eq!(world.depth(queue).await, 0, "{queue}");
    }
    assert_eq!(world.accounts(), 0);
    let lines = world.settings().run(&["doctor"]).await;
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(lines.lines().all(|line| line.starts_with("ok    ")), "{lines}");
}

#[tokio::test]
async fn a_working_worker_is_well_too() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    world.send("1", &customer("geoff@example.com")).await;
    world.created(1).await;
    let said = doctor(&world.settings()).await;
    said.all_well();
    said.finding("ledger", "held by a worker");
    worker.stop().await;
    let said = doctor(&world.settings()).await;
    said.all_well();
    said.finding("ledger", "can be written");
}

#[tokio::test]
async fn what_is_not_there_yet_is_no_fault_where_the_worker_declares_it() {
    let vhost = Vhost::fresh();
    let world = World::start().await;
    let settings = world.settings().set("AMQP_URL", &vhost.url);
    let said = doctor(&settings).await;
    said.all_well();
    said.finding("topology", "13 of 13 exchanges and queues are not there yet");
    let (_connection, channel) = channel(&vhost).await;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let looked = channel.queue_declare("customers.create".into(), passive, FieldTable::default()).await;
    assert!(looked.is_err(), "the doctor declared the queue");
    let said = doctor(&settings.set("TOPOLOGY", "verify")).await;
    said.fails("topology", "queue customers.create is missing", "topology print");
    said.fails("topology", "exchange customers.dead is missing", "topology print");
}

#[tokio::test]
async fn a_broker_that_does_not_let_one_in_is_told_by_its_reason() {
    let world = World::start().await;
    let url = world.vhost.url.clone();
    let (authority, vhost) = url.rsplit_once('/').unwrap();
    let at = |url: &str| world.settings().set("AMQP_URL", url);
    let said = doctor(&at(&url.replace("guest:guest", "guest:s3cret"))).await;
    said.fails("broker", "ACCESS_REFUSED", "user and password");
    assert!(!format!("{:?}", said.checks).contains("s3cret"));
    let said = doctor(&at(&format!("{authority}/nowhere"))).await;
    said.fails("broker", "vhost", "rabbitmqctl list_vhosts");
    let said = doctor(&at(&format!("amqp://guest:guest@127.0.0.1:1/{vhost}"))).await;
    said.fails("broker", "127.0.0.1:1", "whether the broker runs");
    let said = doctor(&at(&format!("amqp://guest:guest@broker.invalid:5672/{vhost}"))).await;
    said.fails("broker", "broker.invalid", "getent hosts");
    // The rest is looked at all the same.
    said.finding("imin", "answers");
    said.finding("ledger", "not there yet");
}

#[tokio::test]
async fn missing_rights_are_named_with_what_to_grant() {
    let world = World::start().await;
    let (vhost, user) = (&world.vhost.name, format!("user-of-{}", world.vhost.name));
    world.vhost.ctl(&["add_user", &user, "pw"]);
    world.vhost.ctl(&[
        "set_permissions",
        "-p",
        vhost,
        &user,
        "^$",
        "^customers\\.events$",
        "^customers\\.create$",
    ]);
    let url = world.vhost.url.replace("guest:guest", &format!("{user}:pw"));
    let settings = world.settings().set("AMQP_URL", url);
    let said = doctor(&settings).await;
    said.fails("rights", "may not publish to customers.dead", "customers.dead in WRITE");
    said.fails("rights", "may not publish to amq.default", "amq.default in WRITE");
    said.is("skip", "rights", "may not read customers.create.dead", "as a user who may");
    said.fails("rights", "may not listen to customers.unrouted", "UNROUTED_TAP=false");
    said.finding("rights", "the user may read customers.create, publish to customers.events");
    said.fails("topology", "queue customers.create cannot be declared", "TOPOLOGY=verify");
    let said = doctor(&settings.set("TOPOLOGY", "verify")).await;
    said.is("skip", "topology", "queue customers.create stands", "as a user who has it");
}

#[tokio::test]
async fn every_argument_that_differs_is_named() {
    let world = World::start().await;
    let (_connection, channel) = channel(&world.vhost).await;
    let dead_letters = AMQPValue::LongString("customers.dead".into());
    redeclare(
        &channel,
        "customers.create",
        &[
            ("x-dead-letter-exchange", dead_letters),
            ("x-delivery-limit", AMQPValue::LongInt(5)),
            ("x-max-length", AMQPValue::LongInt(1000)),
            ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ],
    )
    .await;
    let said = doctor(&world.settings()).await;
    said.fails("topology", "x-delivery-limit = 5, the worker wants 100", "TOPOLOGY=verify");
    said.fails("topology", "x-max-length = 1000, the worker wants none", "let the worker declare it again");
    said.fails("topology", "x-dead-letter-strategy = none", "policy");
    let said = doctor(&world.settings().set("TOPOLOGY", "verify")).await;
    said.warns("topology", "x-delivery-limit = 5", "Make sure that this is meant");
    said.fails("topology", "x-dead-letter-strategy = none", "policy");
}

#[tokio::test]
async fn a_delivery_limit_on_the_dead_letter_queue_fails_whatever_the_mode() {
    let world = World::start().await;
    let (_connection, channel) = channel(&world.vhost).await;
    let queue = "customers.create.dead";
    redeclare(&channel, queue, &[("x-delivery-limit", AMQPValue::LongInt(20))]).await;
    for mode in ["apply", "verify"] {
        let said = doctor(&world.settings().set("TOPOLOGY", mode)).await;
        said.fails("topology", "x-delivery-limit = 20", "policy");
        said.finding("topology", "the broker deletes a dead letter");
    }
}

#[tokio::test]
async fn a_dead_letter_exchange_that_leads_nowhere_is_found() {
    let world = World::start().await;
    let (_connection, channel) = channel(&world.vhost).await;
    let (queue, exchange) = ("customers.create.dead".into(), "customers.dead".into());
    channel.queue_unbind(queue, exchange, "".into(), FieldTable::default()).await.unwrap();
    doctor(&world.settings()).await.fails(
        "dead letters",
        "no queue is bound to customers.dead",
        "topology apply",
    );
    channel.exchange_delete("customers.dead".into(), ExchangeDeleteOptions::default()).await.unwrap();
    let said = doctor(&world.settings().set("TOPOLOGY", "verify")).await;
    said.fails("topology", "exchange customers.dead is missing", "topology print");
}

#[tokio::test]
async fn what_waits_is_told_and_left_where_it_is() {
    let world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    world.publish(b"{}", crate::support::world::plain("1")).await;
    worker.until("dead_letters_total{reason=\"invalid_event\"}", |n| n >= 1.0).await;
    worker.stop().await;
    world.send("2", &customer("geoff@example.com")).await;
    for _ in 0..2 {
        let said = doctor(&world.settings()).await;
        said.warns(
            "dead letters",
            "1 dead letters wait in customers.create.dead, the first in line since 20",
            "dead-letters list",
        );
        said.warns("work", "1 events wait in customers.create, and nobody takes them", "Start the worker");
        assert!(said.healthy);
    }
    assert_eq!(world.dead().await.body, "{}");
}

#[tokio::test]
async fn events_that_came_to_nobody_are_told() {
    let world = World::start().await;
    let (_connection, channel) = channel(&world.vhost).await;
    let options = BasicPublishOptions::default();
    let properties = lapin::BasicProperties::default();
    let sent = channel.basic_publish("customers.events".into(), "nobody".into(), options, b"{}", properties);
    sent.await.unwrap();
    while world.depth("customers.unrouted").await == 0 {
        tokio::task::yield_now().await;
    }
    doctor(&world.settings()).await.warns("unrouted", "1 events came to nobody", "subscriber");
}

#[tokio::test]
async fn several_workers_with_a_file_each_are_found() {
    let world = World::start().await;
    let (_connection, channel) = channel(&world.vhost).await;
    let consume = || {
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        channel.basic_consume("customers.create".into(), "".into(), options, none)
    };
    let _one = consume().await.unwrap();
    doctor(&world.settings()).await.all_well();
    let _two = consume().await.unwrap();
    let said = doctor(&world.settings()).await;
    said.fails("replicas", "customers.create has 2 consumers", "postgres://");
    let shared = world.settings().set("LEDGER_URL", postgres::database().await);
    doctor(&shared).await.all_well();
}

#[tokio::test]
async fn wrong_settings_are_findings_and_do_not_hide_the_rest() {
    let world = World::start().await;
    let said = doctor(&world.settings().set("RETRY_IN_PROCESS_MAX", "40m")).await;
    said.fails("settings", "CONSUMER_TIMEOUT", "delay queue");
    let said = doctor(&world.settings().set("IMIN_API_KEY", "")).await;
    said.fails("settings", "IMIN_API_KEY is not set", "IMIN_API_KEY_FILE");
    said.is("skip", "key", "no key", "IMIN_API_KEY");
    said.finding("imin", "answers");
    said.finding("broker", "lets this user into vhost");
    let said = doctor(&world.settings().set("IMIN_BASE_URL", "http://imin.invalid/api/v2")).await;
    said.warns("encryption", "IMIN_BASE_URL", "https://");
    said.fails("imin", "imin.invalid: its name cannot be resolved", "getent hosts");
}

#[tokio::test]
async fn a_key_that_imin_refuses_is_found() {
    let world = World::start().await;
    let said = doctor(&world.settings().set("IMIN_API_KEY", "not-the-key")).await;
    said.fails("key", "imin refuses the key (HTTP 401)", "IMIN_API_KEY_FILE");
    assert!(!format!("{:?}", said.checks).contains("not-the-key"));
}

#[tokio::test]
async fn an_imin_that_cannot_be_reached_or_trusted_is_found() {
    let world = World::start().await;
    let said = doctor(&world.settings().set("IMIN_BASE_URL", "http://127.0.0.1:1/api/v2")).await;
    said.fails("imin", "127.0.0.1: it cannot be reached", "firewall");
    let plain = world.sandbox.base_url().replace("http://", "https://");
    let said = doctor(&world.settings().set("IMIN_BASE_URL", plain)).await;
    said.fails("imin", "TLS failed", "IMIN_CA_FILE");
}

/// A server that answers everything with this `Date`; it ends with the test's process.
fn server_in_time(date: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v2", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let answer =
                format!("HTTP/1.1 404 Not Found\r\n{date}Content-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found() {
    let world = World::start().await;
    let at = |date| world.settings().set("IMIN_BASE_URL", server_in_time(date));
    let said = doctor(&at("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")).await;
    said.fails("clock", "ahead of imin's", "NTP");
    let said = doctor(&at("Date: Fri, 01 Jan 2100 00:00:00 GMT\r\n")).await;
    said.fails("clock", "behind imin's", "NTP");
    doctor(&at("")).await.is("skip", "clock", "no date", "timedatectl");
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_is_found() {
    let world = World::start().await;
    let with = |url: String| world.settings().set("LEDGER_URL", url);
    let said = doctor(&with("sqlite:///nowhere/at/all/ledger.db".into())).await;
    said.fails(
        "ledger",
        "/nowhere/at/all/ledger.db cannot be used: cannot create it",
        "directory that it may write",
    );
    let file = world.dir.path().join("letter.txt");
    std::fs::write(&file, "no database at all, but a text that is long enough to be read").unwrap();
    let said = doctor(&with(format!("sqlite://{}", file.display()))).await;
    said.fails("ledger", "is damaged", "does not start");
    let said = doctor(&with("postgres://worker:s3cret@127.0.0.1:1/ledger?sslmode=disable".into())).await;
    said.fails("ledger", "cannot be reached", "pg_hba.conf");
    assert!(!format!("{:?}", said.checks).contains("s3cret"));
}

#[tokio::test]
async fn a_postgres_ledger_is_looked_into() {
    let world = World::start().await;
    let url = postgres::database().await;
    let settings = world.settings().set("LEDGER_URL", &url);
    doctor(&settings).await.finding("ledger", "not there yet");
    let mut worker = settings.start().ready().await;
    worker.stop().await;
    doctor(&settings).await.finding("ledger", "can be written, its schema is 1");
    let client = postgres::connect(&url).await;
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    client.batch_execute(&format!("CREATE ROLE reader_{name} LOGIN")).await.unwrap();
    client
        .batch_execute(&format!("GRANT SELECT ON imin_customer_worker_ledger_meta TO reader_{name}"))
        .await
        .unwrap();
    let reader = url.replace("postgres://postgres@", &format!("postgres://reader_{name}@"));
    let said = doctor(&world.settings().set("LEDGER_URL", reader)).await;
    said.fails("ledger", "may not read and write the tables", "grants");
    client.batch_execute("UPDATE imin_customer_worker_ledger_meta SET version = 99").await.unwrap();
    doctor(&settings).await.fails("ledger", "has schema 99", "does not start");
}

#[tokio::test]
async fn the_topology_that_the_doctor_wants_is_the_one_that_is_declared() {
    let world = World::start().await;
    let limit = world.settings().set("DELIVERY_LIMIT", "0");
    doctor(&limit).await.fails(
        "topology",
        "x-delivery-limit = 100, the worker wants none",
        "TOPOLOGY=verify",
    );
    let vhost = Vhost::fresh();
    let (_connection, channel) = channel(&vhost).await;
    Topology::new(&names(), None).apply(&channel).await.unwrap();
    doctor(&limit.set("AMQP_URL", &vhost.url)).await.all_well();
}
