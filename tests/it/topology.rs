//! The topology on a real broker: declared, found to differ, verified only, printed and imported.

use crate::support::{
    broker::Vhost,
    worker::Settings,
    world::{KEY, World, customer, json},
};
use imin_customer_worker::message::{Headers, Value as Header, long};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions},
};
use serde_json::Value;

/// Settings for commands that never call imin and have no ledger.
fn settings(url: &str) -> Settings {
    Settings::new(&[
        ("AMQP_URL", url),
        ("IMIN_API_KEY", KEY),
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
    ])
}

/// Declares a quorum queue with one argument more.
async fn queue(channel: &Channel, name: &str, argument: &str, value: Header) {
    let mut arguments = Headers::default();
    arguments.insert("x-queue-type".into(), long("quorum"));
    arguments.insert(argument.into(), value);
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await.expect("declared");
}

/// The worker, and `topology apply`, both end with 1 and say all of this.
async fn assert_refused(vhost: &Vhost, parts: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = format!("sqlite://{}", dir.path().join("ledger.db").display());
    let mut worker = settings(&vhost.url).set("LEDGER_URL", ledger).start();
    let line = worker.log.line("the worker ends").await;
    assert_eq!(worker.end().await.code(), Some(1));
    let applied = settings(&vhost.url).run(&["topology", "apply"]).await;
    assert_eq!(applied.status.code(), Some(1));
    let words = String::from_utf8_lossy(&applied.stderr);
    for part in parts {
        assert!(line.contains(part), "{part} is not in: {line}");
        assert!(words.contains(part), "{part} is not in: {words}");
    }
}

#[tokio::test]
async fn a_queue_with_another_argument_is_named_with_both_values_and_the_remedy() {
    let vhost = Vhost::fresh();
    let channel = vhost.connect().await.create_channel().await.expect("a channel");
    queue(&channel, "customers.create", "x-delivery-limit", Header::LongLongInt(9)).await;
    // The worker declares the dead-letter exchange first, and that one's argument comes first too.
    let parts =
        ["queue 'customers.create'", "x-dead-letter-exchange", "none", "customers.dead", "TOPOLOGY=verify"];
    assert_refused(&vhost, &parts).await;
}

#[tokio::test]
async fn a_limit_a_type_and_a_kind_that_differ_are_told_apart() {
    let limit = Vhost::fresh();
    let channel = limit.connect().await.create_channel().await.expect("a channel");
    queue(&channel, "customers.unrouted", "x-delivery-limit", Header::LongLongInt(9)).await;
    assert_refused(
        &limit,
        &["queue 'customers.unrouted'", "x-delivery-limit = 9", "wants 1000000000", "drain and delete"],
    )
    .await;

    let classic = Vhost::fresh();
    let channel = classic.connect().await.create_channel().await.expect("a channel");
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare("customers.unrouted".into(), durable, Headers::default()).await.expect("declared");
    assert_refused(&classic, &["queue 'customers.unrouted'", "x-queue-type = ", "wants quorum"]).await;

    let direct = Vhost::fresh();
    let channel = direct.connect().await.create_channel().await.expect("a channel");
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare("customers".into(), ExchangeKind::Direct, durable, Headers::default())
        .await
        .expect("declared");
    assert_refused(&direct, &["exchange 'customers'", "type = direct", "wants topic"]).await;
}

#[tokio::test]
async fn a_worker_that_only_verifies_needs_no_right_to_configure() {
    let mut world = World::start().await;
    let (vhost, user) = (&world.vhost, format!("reader-{}", world.vhost.name));
    vhost.ctl(&["add_user", &user, "a-password"]);
    vhost.ctl(&["set_permissions", "-p", &vhost.name, &user, "^$", ".*", ".*"]);
    let url = vhost.url.replace("guest:guest", &format!("{user}:a-password"));
    let settings = world.settings().set("AMQP_URL", url).set("TOPOLOGY", "verify");
    let mut worker = settings.clone().start().ready().await;
    world.send("verified", &customer("geoff@example.com")).await;
    assert_eq!(json(&world.created(1).await[0])["causationid"], "verified");
    // What it cannot do, it says once, with what to do.
    let line = worker.log.line("UNROUTED_TAP").await;
    assert!(line.contains("ACCESS_REFUSED") && line.contains("WARN"), "{line}");
    worker.stop().await;

    // The same user cannot declare, and is told so.
    let mut worker = settings.set("TOPOLOGY", "apply").start();
    let line = worker.log.line("the worker ends").await;
    assert!(line.contains("ACCESS_REFUSED") && line.contains("TOPOLOGY=verify"), "{line}");
    assert_eq!(worker.end().await.code(), Some(1));
}

#[tokio::test]
async fn what_is_missing_is_not_declared_but_named() {
    let world = World::start().await;
    let channel = world.vhost.connect().await.create_channel().await.expect("a channel");
    channel
        .queue_delete("customers.create.retry.1m".into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    let mut worker = world.settings().set("TOPOLOGY", "verify").start();
    let line = worker.log.line("the worker ends").await;
    for part in ["customers.create.retry.1m", "topology print", "TOPOLOGY=apply"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    assert_eq!(worker.end().await.code(), Some(1));
}

#[tokio::test]
async fn what_is_printed_and_imported_is_what_is_declared() {
    let (imported, applied) = (Vhost::fresh(), Vhost::fresh());
    let printed = settings(&imported.url).run(&["topology", "print"]).await;
    assert!(printed.status.success());
    let definitions: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert_eq!(definitions["queues"].as_array().map(Vec::len), Some(9));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &printed.stdout).expect("the file is ours");
    // rabbitmqctl drops its rights where it runs as root.
    readable(file.path());
    imported.ctl(&["import_definitions", &file.path().display().to_string()]);
    assert!(settings(&applied.url).run(&["topology", "apply"]).await.status.success());
    for what in [
        &["list_queues", "name", "durable", "auto_delete", "arguments"][..],
        &["list_exchanges", "name", "type", "durable", "auto_delete", "internal", "arguments"],
        &["list_bindings", "source_name", "destination_name", "routing_key", "arguments"],
    ] {
        assert_eq!(listed(&imported, what), listed(&applied, what), "{}", what[0]);
    }
    // Declared again, nothing differs; twice over is once.
    for vhost in [&imported, &applied] {
        let again = settings(&vhost.url).run(&["topology", "apply"]).await;
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    }
}

/// What `rabbitmqctl` lists, in an order of its own.
fn listed(vhost: &Vhost, what: &[&str]) -> Vec<String> {
    let arguments = [&[what[0], "-p", &vhost.name, "--formatter", "json"], &what[1..]].concat();
    let rows: Vec<Value> = serde_json::from_str(&vhost.ctl(&arguments)).expect("JSON");
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    assert!(!rows.is_empty());
    rows.sort();
    rows
}

fn readable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("the file is ours");
}
