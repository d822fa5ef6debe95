//! What the real binary does when its ledger fails: it pauses and says so, or it does not start and
//! says why. Nothing is lost and nobody is called for twice either way.

use crate::support::{
    book::{Backend, Book},
    postgres::Postgres,
    worker::{PATIENCE, Settings, Worker, poll},
    world::{World, customer, json},
};
use futures_util::future::join_all;
use std::{fs, os::unix::fs::PermissionsExt, process::Command};
use tokio::time::timeout;

/// A disk that is full is an error, as it is to others, and no signal that ends the process.
const BOUNDED: &str = r#"trap '' XFSZ; exec "$0" "$@""#;
/// Root obeys the rights of files like everybody else.
const UNPRIVILEGED: &str = r#"if [ "$(id -u)" = 0 ]; then
    exec setpriv --bounding-set=-dac_override,-dac_read_search "$0" "$@"
fi
exec "$0" "$@""#;

/// Starts a worker that must refuse, and returns its last words.
async fn refused(settings: &Settings) -> String {
    let mut worker = settings.start();
    let status = worker.end().await;
    assert_eq!(status.code(), Some(1), "{status}");
    worker.log.line("the ledger").await
}

/// Waits until the worker says that its ledger holds it up, everywhere it says so.
async fn paused(worker: &Worker) {
    worker.until("paused{cause=\"ledger\"}", |n| n == 1.0).await;
    let body = worker.readiness(503).await;
    assert!(body.contains("\"ledger\""), "{body}");
}

async fn resumed(worker: &Worker) {
    worker.until("paused{cause=\"ledger\"}", |n| n == 0.0).await;
    worker.readiness(200).await;
}

async fn send(world: &World, from: usize, to: usize) {
    let sends = (from..to).map(async |n| {
        world.send(&format!("signup-{n}"), &customer(&format!("geoff{n}@example.com"))).await;
    });
    join_all(sends).await;
}

/// Everything that was sent became one account and one event, and nothing is left or in doubt.
async fn all_is_well(world: &mut World, mut worker: Worker, events: usize) {
    let accounted = async {
        while worker.metric("outcomes_total{outcome=\"created\"}").await < count(events) {
            poll().await;
        }
    };
    let done = timeout(PATIENCE, accounted).await;
    assert!(done.is_ok(), "{} of {events}; the log:\n{}", world.accounts(), worker.log.lines().join("\n"));
    worker.stop().await;
    let made = world.sandbox.accounts();
    assert_eq!((made.total, made.doubles), (events, 0));
    assert!(made.keys.values().all(|tally| tally.calls == 1), "no call twice");
    let created = world.all_created().await;
    assert!(created.iter().all(|event| json(event).get("possibleduplicate").is_none()));
    assert_eq!(created.len(), events);
    assert_eq!((world.left("customers.create").await, world.left("customers.create.dead").await), (0, 0));
}

fn count(events: usize) -> f64 {
    u32::try_from(events).expect("few").into()
}

/// The size that a process may make its files, from now on.
fn bound(worker: &Worker, size: &str) {
    let id = worker.id();
    let done = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={size}:")]).status();
    assert!(done.expect("prlimit runs").success());
}

#[tokio::test]
async fn a_full_disk_pauses_until_there_is_room() {
    let mut world = World::start().await;
    let worker = world.settings().through(BOUNDED).start().ready().await;
    send(&world, 0, 20).await;
    worker.outcome("created", 20).await;
    bound(&worker, "4096");
    send(&world, 20, 40).await;
    paused(&worker).await;
    assert_eq!(world.accounts(), 20, "nobody is called for without a record");
    bound(&worker, "unlimited");
    resumed(&worker).await;
    all_is_well(&mut world, worker, 40).await;
}

/// The answer is there and cannot be put on record: it is kept until it can.
#[tokio::test]
async fn an_answer_that_finds_the_disk_full_is_not_asked_for_again() {
    let mut world = World::start().await;
    world.sandbox.set_faults(vec!["delay-1s".parse().expect("a fault")], 0);
    let worker = world.settings().through(BOUNDED).start().ready().await;
    send(&world, 0, 5).await;
    while world.sandbox.stats().in_flight < 5 {
        poll().await;
    }
    bound(&worker, "4096");
    paused(&worker).await;
    assert_eq!(worker.metric("events_published_total").await, 0.0, "nothing goes out without a record");
    bound(&worker, "unlimited");
    resumed(&worker).await;
    all_is_well(&mut world, worker, 5).await;
}

#[tokio::test]
async fn a_ledger_whose_directory_is_gone_pauses_until_it_is_back() {
    let mut world = World::start().await;
    let home = world.dir.path().join("home");
    fs::create_dir(&home).expect("a directory");
    let url = format!("sqlite://{}", home.join("ledger.db").display());
    let worker = world.settings().set("LEDGER_URL", url).start().ready().await;
    send(&world, 0, 5).await;
    worker.outcome("created", 5).await;
    let away = world.dir.path().join("away");
    fs::rename(&home, &away).expect("it moves");
    send(&world, 5, 10).await;
    paused(&worker).await;
    assert_eq!(world.accounts(), 5, "what is written where nobody finds it is no record");
    fs::rename(&away, &home).expect("it moves back");
    resumed(&worker).await;
    all_is_well(&mut world, worker, 10).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_and_left_alone() {
    let world = World::start().await;
    let book = Book::new(Backend::Sqlite).await;
    let settings = world.settings().set("LEDGER_URL", book.url());
    let mut worker = settings.start().ready().await;
    worker.stop().await;
    send(&world, 0, 1).await;

    let sound = fs::read(book.path()).expect("a file");
    fs::set_permissions(book.path(), fs::Permissions::from_mode(0o400)).expect("its owner");
    let said = refused(&settings.clone().through(UNPRIVILEGED)).await;
    assert!(said.contains("read-only"), "{said}");
    fs::set_permissions(book.path(), fs::Permissions::from_mode(0o600)).expect("its owner");

    let file = rusqlite::Connection::open(book.path()).expect("a database");
    file.pragma_update(None, "user_version", 99).expect("a newer version");
    drop(file);
    let said = refused(&settings).await;
    assert!(said.contains("schema 99") && said.contains("newer worker"), "{said}");

    fs::write(book.path(), "this is no database ".repeat(1000)).expect("damage");
    let said = refused(&settings).await;
    assert!(said.contains("damaged") && said.contains(".recover"), "{said}");

    assert_eq!((world.left("customers.create").await, world.accounts()), (1, 0), "untouched");
    fs::write(book.path(), sound).expect("a backup");
    let mut worker = settings.start().ready().await;
    worker.outcome("created", 1).await;
    worker.stop().await;
}

#[tokio::test]
async fn two_workers_on_one_file_are_one_too_many() {
    let mut world = World::start().await;
    let worker = world.settings().start().ready().await;
    let said = refused(&world.settings()).await;
    assert!(said.contains("in use by another worker") && said.contains("postgres://"), "{said}");
    send(&world, 0, 5).await;
    all_is_well(&mut world, worker, 5).await;
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("done")
}

#[tokio::test]
async fn a_database_that_dies_in_mid_flight_is_waited_for() {
    const EVENTS: usize = 300;
    let mut world = World::start().await;
    world.sandbox.set_faults(vec!["delay-20ms".parse().expect("a fault")], 0);
    let server = blocking(Postgres::start).await;
    let url = server.database().await;
    let worker = world.settings().set("LEDGER_URL", url).set("CONCURRENCY", "16").start().ready().await;
    send(&world, 0, EVENTS).await;
    while world.accounts() < 50 {
        poll().await;
    }
    let server = blocking(move || {
        server.kill();
        server
    })
    .await;
    paused(&worker).await;
    assert!(world.accounts() < EVENTS);
    let server = blocking(move || {
        server.resume();
        server
    })
    .await;
    resumed(&worker).await;
    all_is_well(&mut world, worker, EVENTS).await;
    blocking(move || drop(server)).await;
}

#[tokio::test]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let mut world = World::start().await;
    let server = blocking(Postgres::start).await;
    let url = server.database().await;
    let server = blocking(move || {
        server.kill();
        server
    })
    .await;
    let worker = world.settings().set("LEDGER_URL", url).start();
    send(&world, 0, 3).await;
    worker.log.line("the ledger is not there yet").await;
    let body = worker.readiness(503).await;
    assert!(body.contains("\"ledger\""), "{body}");
    let server = blocking(move || {
        server.resume();
        server
    })
    .await;
    let worker = worker.ready().await;
    all_is_well(&mut world, worker, 3).await;
    blocking(move || drop(server)).await;
}
