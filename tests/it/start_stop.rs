//! Start and stop on the real binary: settings, what is not there yet, signals.

use crate::support::{
    door::Door,
    slow::Slow,
    worker::{Settings, Worker},
    world::{World, customer, headers, json},
};
use imin_customer_worker::message::Message;
use serde_json::Value;
use std::{collections::BTreeSet, net::SocketAddr};

#[tokio::test]
async fn all_wrong_settings_are_told_at_once() {
    let settings = Settings::new(&[
        ("AMQP_URL", "http://guest:hunter2@127.0.0.1"),
        ("IMIN_BASE_URL", "book.imin.co"),
        ("CONCURRENCY", "0"),
        ("RETRY_INITIAL", "soon"),
        ("ADMIN_ADDR", "nowhere"),
        ("AMBIGUOUS", "hope"),
        ("LEDGER_URL", "mysql://root:hunter2@db/x"),
        ("RUST_LOG", "inof"),
        ("DEAD_QUEUE", "customers.create"),
        ("IMIN_TIMEOUT", "1s"),
    ]);
    let ran = settings.run(&["run"]).await;
    let words = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(78), "{words}");
    for name in [
        "AMQP_URL",
        "IMIN_BASE_URL",
        "IMIN_API_KEY ",
        "CONCURRENCY",
        "RETRY_INITIAL",
        "ADMIN_ADDR",
        "AMBIGUOUS",
        "LEDGER_URL",
        "RUST_LOG",
        "DEAD_QUEUE",
        "IMIN_CONNECT_TIMEOUT",
    ] {
        assert!(words.contains(&format!("\n  {name}")), "{name} is not named in: {words}");
    }
    assert!(!words.contains("hunter2"), "{words}");
}

#[tokio::test]
async fn config_show_masks_what_is_secret() {
    let key = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key.path(), "hunter2-key").expect("the file is ours");
    let settings = Settings::new(&[
        ("AMQP_URL", "amqps://worker:hunter2-broker@rabbit.example/%2f"),
        ("LEDGER_URL", "postgres://worker:hunter2-ledger@db.example/worker"),
        ("CONCURRENCY", "7"),
    ])
    .set("IMIN_API_KEY_FILE", key.path().display().to_string());
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = settings.run(arguments).await;
        let words = String::from_utf8_lossy(&shown.stdout);
        assert!(shown.status.success() && words.contains("worker:***@rabbit.example"), "{words}");
        assert!(!words.contains("hunter2") && words.contains("worker:***@db.example"), "{words}");
        assert!(words.contains("RETRY_MAX_ELAPSED") && words.contains("secret file"), "{words}");
    }
    let json = settings.run(&["config", "show", "--json"]).await.stdout;
    let shown: Vec<Value> = serde_json::from_slice(&json).expect("JSON");
    let concurrency =
        shown.iter().find(|setting| setting["name"] == "CONCURRENCY").expect("every setting is there");
    assert_eq!((&concurrency["value"], &concurrency["source"]), (&"7".into(), &"environment".into()));
}

/// What a container's health check runs.
#[tokio::test]
async fn a_healthcheck_asks_the_worker_itself() {
    let world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let check = async |addr: &str| {
        let said = Settings::new(&[("ADMIN_ADDR", addr)]).run(&["healthcheck"]).await;
        (said.status.code(), String::from_utf8(said.stderr).expect("UTF-8"))
    };
    let admin = worker.admin().await;
    assert_eq!(check(&admin).await, (Some(0), String::new()));
    let (code, words) = check(&world.sandbox.addr().to_string()).await;
    assert!(code == Some(1) && words.contains("not that the worker lives"), "somebody else: {words}");
    worker.stop().await;
    let (code, words) = check(&admin).await;
    assert!(code == Some(1) && words.contains(&admin), "{words}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let mut world = World::start().await;
    let door = Door::closed();
    let broker = address(&world.vhost.url);
    let url = world.vhost.url.replace(&broker.to_string(), &door.addr.to_string());
    let settings = world.settings().set("AMQP_URL", url);
    let worker = settings.start();
    let line = worker.log.line("no consumer, trying again").await;
    assert!(line.contains("refused"), "{line}");
    let why: Value = serde_json::from_str(&worker.readiness(503).await).expect("JSON");
    let causes: BTreeSet<&str> = why["causes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|cause| cause["cause"].as_str())
        .collect();
    assert_eq!(causes, BTreeSet::from(["starting", "broker"]));
    assert_eq!((worker.get("/livez").await.0, worker.metric("broker_connected").await), (200, 0.0));
    // One that waits can be stopped like any other.
    let ledger = format!("sqlite://{}", world.dir.path().join("other.db").display());
    let mut other = settings.set("LEDGER_URL", ledger).start();
    other.log.line("no consumer, trying again").await;
    other.stop().await;

    door.open(broker);
    let mut worker = worker.ready().await;
    worker.readiness(200).await;
    assert_eq!(worker.metric("broker_connected").await, 1.0);
    world.send("late", &customer("geoff@example.com")).await;
    assert_eq!(json(&world.created(1).await[0])["causationid"], "late");
    worker.stop().await;
}

/// Where the broker of an `AMQP_URL` listens.
fn address(url: &str) -> SocketAddr {
    let host = url.split('@').nth(1).and_then(|rest| rest.split('/').next());
    host.expect("host:port").parse().expect("an address")
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address").to_string();
    let settings = Settings::new(&[("IMIN_API_KEY", "k"), ("ADMIN_ADDR", &addr), ("LOG_FORMAT", "json")]);
    let mut worker = settings.start();
    let line = worker.log.line("the worker ends").await;
    assert!(line.contains("ADMIN_ADDR") && line.contains(&addr), "{line}");
    assert_eq!(worker.end().await.code(), Some(1));
}

/// A worker with one call under way that ends when the test says so, and `rest` more events fetched.
async fn busy(world: &World, imin: &Slow, grace: &str, rest: usize) -> Worker {
    let settings = world
        .settings()
        .set("IMIN_BASE_URL", imin.url())
        .set("SHUTDOWN_GRACE", grace)
        .set("CONCURRENCY", "1");
    let worker = settings.start().ready().await;
    world.send("under-way", &customer("geoff@example.com")).await;
    imin.arrived(1).await;
    for n in 0..rest {
        world.send(&format!("rest-{n}"), &customer("geoff@example.com")).await;
    }
    worker
}

/// Takes what is in the work queue: ids and headers.
async fn left(world: &World, count: u32) -> Vec<(String, Value)> {
    assert_eq!(world.depth("customers.create").await, count);
    let mut left = Vec::new();
    for _ in 0..count {
        let message = world.take("customers.create").await;
        let id = message.properties.message_id().as_ref().expect("an id").to_string();
        left.push((id, headers(&message)));
    }
    left.sort_by(|one, other| one.0.cmp(&other.0));
    left
}

#[tokio::test]
async fn sigterm_finishes_what_is_under_way_and_releases_the_rest() {
    let mut world = World::start().await;
    let imin = Slow::start().await;
    let mut worker = busy(&world, &imin, "10m", 3).await;
    worker.signal("TERM");
    let why = worker.readiness(503).await;
    assert!(why.contains("\"stopping\""), "{why}");
    assert_eq!(worker.get("/livez").await.0, 200);
    worker.until("outcomes_total{outcome=\"released\"}", |n| n == 3.0).await;
    imin.answer(1);
    assert_eq!(json(&world.created(1).await[0])["causationid"], "under-way");
    assert_eq!(worker.end().await.code(), Some(0));
    assert_eq!((imin.calls(), world.depth("customers.create.dead").await), (1, 0));
    for (n, (id, headers)) in left(&world, 3).await.iter().enumerate() {
        assert_eq!(*id, format!("rest-{n}"));
        assert_eq!(
            (&headers["attempts"], &headers["failures"]),
            (&0.into(), &0.into()),
            "no attempt is spent"
        );
        // RabbitMQ 4 does not tell a first delivery.
        let deliveries = headers["x-delivery-count"].as_i64().unwrap_or_default();
        assert_eq!(deliveries, 0, "the broker counts no failed delivery");
    }
}

#[tokio::test]
async fn a_wait_is_no_work_under_way_and_travels_with_its_event() {
    let world = World::start().await;
    let imin = Slow::start().await;
    let away = format!("http://{}", Door::closed().addr);
    // Had it to wait for anything, it would take ten minutes to end.
    let settings = world
        .settings()
        .set("SHUTDOWN_GRACE", "10m")
        .set("RETRY_INITIAL", "5m")
        .set("RETRY_MAX_INTERVAL", "5m")
        .set("RETRY_IN_PROCESS_MAX", "10m");
    settings.start().ready().await.stop().await;

    let mut worker = settings.clone().set("IMIN_BASE_URL", away).start().ready().await;
    world.send("waiting", &customer("geoff@example.com")).await;
    worker.until("retries_total{cause=\"connect\"}", |n| n == 1.0).await;
    worker.stop().await;

    let mut worker = settings.set("IMIN_BASE_URL", imin.url()).start().ready().await;
    worker.until("in_flight", |n| n == 1.0).await;
    worker.stop().await;
    let (id, headers) = left(&world, 1).await.remove(0);
    assert_eq!((&*id, &headers["attempts"], &headers["failures"]), ("waiting", &0.into(), &1.into()));
    assert!(headers["not-before"].is_string() && headers["first-attempt-at"].is_string(), "{headers}");
    assert_eq!((imin.calls(), world.depth("customers.create.dead").await), (0, 0));
}

#[tokio::test]
async fn a_second_signal_aborts() {
    let mut world = World::start().await;
    let imin = Slow::start().await;
    let mut worker = busy(&world, &imin, "10m", 1).await;
    worker.signal("TERM");
    worker.log.line("draining").await;
    worker.signal("INT");
    worker.log.line("aborting").await;
    assert_eq!(worker.end().await.code(), Some(0));
    assert_eq!((world.depth("customers.create").await, world.depth("customers.create.dead").await), (2, 0));

    // Nobody knows what came of the call that was cut off, and the next event says so.
    let mut worker = world.settings().start().ready().await;
    let events: BTreeSet<(String, bool)> = world.created(2).await.iter().map(flagged).collect();
    assert_eq!(events, BTreeSet::from([("rest-0".to_owned(), false), ("under-way".to_owned(), true)]));
    worker.stop().await;
}

fn flagged(event: &Message) -> (String, bool) {
    let event = json(event);
    let cause = event["causationid"].as_str().expect("a cause").to_owned();
    (cause, event["possibleduplicate"] == true)
}

#[tokio::test]
async fn what_takes_longer_than_the_grace_is_released() {
    let world = World::start().await;
    let imin = Slow::start().await;
    let mut worker = busy(&world, &imin, "100ms", 1).await;
    worker.stop().await;
    assert!(worker.log.lines().iter().any(|line| line.contains("letting go of the rest")));
    assert_eq!(world.depth("customers.create.dead").await, 0);
    let ids: Vec<String> = left(&world, 2).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["rest-0", "under-way"]);
}
