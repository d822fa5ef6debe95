//! Whoever else is on the machine: what other users and processes can see of the worker.

use crate::support::world::{KEY, World, customer};
use std::{fs, os::unix::fs::PermissionsExt};

#[tokio::test]
async fn the_ledger_is_for_its_owner_alone_and_the_key_is_in_no_title() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    world.send("signup", &customer("geoff@example.com")).await;
    world.created(1).await;
    let files: Vec<_> = fs::read_dir(world.dir.path()).expect("a directory").map(Result::unwrap).collect();
    assert!(files.len() > 1, "the file and its log: {files:?}");
    for file in files {
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} may be used by others: {mode:o}", file.path().display());
    }
    for name in ["cmdline", "comm"] {
        let title = fs::read_to_string(format!("/proc/{}/{name}", worker.id())).expect("it runs");
        assert!(!title.contains(KEY), "{title}");
    }
    worker.stop().await;
}

/// Nobody beyond the machine can ask, unless somebody has decided so.
#[tokio::test]
async fn the_endpoints_are_on_loopback_by_default() {
    let world = World::start().await;
    let shown = world.settings().unset("ADMIN_ADDR").run(&["config", "show"]).await;
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.contains("127.0.0.1:8080"), "{shown}");
}

/// A wrong password in an address is nowhere in what is said about it.
#[tokio::test]
async fn no_error_repeats_a_secret() {
    let world = World::start().await;
    let broker = world.vhost.url.replace("guest:guest@", "guest:hunter2-broker@");
    assert_ne!(broker, world.vhost.url);
    let settings = world.settings().set("AMQP_URL", broker).set("RUST_LOG", "trace");
    let mut worker = settings.start();
    worker.log.line("no connection").await;
    worker.stop().await;
    let ledger = settings.set("LEDGER_URL", "postgres://user:hunter2-ledger@127.0.0.1:9/x?sslmode=disable");
    let mut worker = ledger.start();
    worker.log.line("the ledger is not there yet").await;
    let mut said = worker.log.lines();
    worker.stop().await;
    said.extend(worker.log.lines());
    for secret in ["hunter2", KEY] {
        let told: Vec<_> = said.iter().filter(|line| line.contains(secret)).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
}
