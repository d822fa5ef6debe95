//! No customer twice: every way into doubt, deliveries at the same time, and a thousand events that
//! come three times to two workers of which one is killed.

use crate::support::{
    book::{Backend, Book},
    worker::{PATIENCE, Settings, Worker, poll},
    world::{World, customer, json},
};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::timeout;

/// A way into doubt: what imin does, and how the worker says that the call ended.
const DOUBTS: [(&str, &str, &str); 5] = [
    ("timeout-afterx1", "timeout", "timeout"),
    ("reset-afterx1", "reset", "reset"),
    ("close-afterx1", "reset", "reset"),
    ("500-afterx1", "status", "500"),
    ("504-afterx1", "status", "504"),
];

/// Long enough for a sound call on a busy machine.
const TIMEOUT: &str = "5s";

fn doubtful(fault: &str) -> Value {
    customer(&format!("geoff+fault-{fault}@example.com"))
}

async fn worker(world: &World, settings: impl FnOnce(Settings) -> Settings) -> Worker {
    settings(world.settings().set("IMIN_TIMEOUT", TIMEOUT).set("IMIN_CONNECT_TIMEOUT", TIMEOUT))
        .start()
        .ready()
        .await
}

#[tokio::test]
async fn every_doubt_is_retried_flagged_and_counted() {
    let mut world = World::start().await;
    let mut worker = worker(&world, |settings| settings).await;
    for (fault, _, label) in DOUBTS {
        world.send(fault, &doubtful(fault)).await;
        let event = json(&world.created(1).await[0]);
        assert_eq!(event["possibleduplicate"], true, "{fault}");
        assert_eq!(event["causationid"], fault);
        let tally = world.sandbox.accounts().keys[event["id"].as_str().expect("an id")];
        assert_eq!((tally.calls, tally.accounts), (2, 2), "{fault}");
        worker.until(&format!("api_requests_total{{status=\"{label}\"}}"), |n| n >= 1.0).await;
    }
    worker.outcome("created", 5).await;
    assert_eq!(worker.metric("retries_total{cause=\"ambiguous\"}").await, 5.0);
    worker.stop().await;
    assert_eq!((world.left("customers.create").await, world.left("customers.create.dead").await), (0, 0));
}

#[tokio::test]
async fn every_doubt_is_parked_and_never_called_again() {
    let mut world = World::start().await;
    let mut worker = worker(&world, |settings| settings.set("AMBIGUOUS", "park")).await;
    for (fault, ended, _) in DOUBTS {
        for expected in [ended, "open_attempt"] {
            // The second time it is the ledger that says so.
            world.send(fault, &doubtful(fault)).await;
            let letter = world.dead().await;
            assert_eq!(letter.header_text("failure-reason"), Some("outcome_unknown"), "{fault}");
            let detail: Value =
                serde_json::from_str(letter.header_text("failure-detail").expect("detail")).expect("JSON");
            assert_eq!(detail["ended"], expected, "{fault}");
            let key = letter.header_text("event-key").expect("a key").to_owned();
            let tally = world.sandbox.accounts().keys[&key];
            assert_eq!((tally.calls, tally.accounts), (1, 1), "{fault}");
        }
    }
    worker.outcome("unknown", 10).await;
    assert_eq!(worker.metric("dead_letters_total{reason=\"outcome_unknown\"}").await, 10.0);
    worker.stop().await;
    assert!(world.all_created().await.is_empty());
}

/// An earlier call may have made the account: a refusal of the next one does not hide that.
#[tokio::test]
async fn a_refusal_after_a_doubt_says_so() {
    let world = World::start().await;
    let mut worker = worker(&world, |settings| settings).await;
    world.send("signup-1", &customer("geoff+fault-500-afterx1+fault-409x1@example.com")).await;
    let letter = world.dead().await;
    assert_eq!(letter.header_text("failure-reason"), Some("rejected_by_api"));
    let detail: Value = serde_json::from_str(letter.header_text("failure-detail").unwrap()).unwrap();
    assert_eq!(detail["possibleduplicate"], true, "{detail}");
    worker.stop().await;
}

/// Two deliveries of one event at the same time: one calls, the other waits for what comes of it.
async fn at_the_same_time(world: &mut World, workers: &mut [Worker], under_way: f64) {
    for _ in 0..2 {
        world.send("signup-1", &customer("geoff+fault-delay-2s@example.com")).await;
    }
    for worker in &*workers {
        worker.until("in_flight", |n| n == under_way).await;
    }
    until_called(world, 1).await;
    world.created(1).await;
    for outcome in ["created", "duplicate"] {
        counted(workers, outcome, 1.0).await;
    }
    for worker in workers {
        worker.stop().await;
    }
    assert!(world.all_created().await.is_empty(), "published once");
    let made = world.sandbox.accounts();
    assert_eq!(made.keys.values().map(|tally| (tally.calls, tally.accounts)).collect::<Vec<_>>(), [(1, 1)]);
    assert_eq!((world.left("customers.create").await, world.left("customers.create.dead").await), (0, 0));
}

/// Waits until the workers together have counted an outcome so often.
async fn counted(workers: &[Worker], outcome: &str, count: f64) {
    let name = format!("outcomes_total{{outcome=\"{outcome}\"}}");
    let reached = async {
        while join_all(workers.iter().map(|worker| worker.metric(&name))).await.iter().sum::<f64>() < count {
            poll().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{outcome} is not {count} yet"));
}

#[tokio::test]
async fn one_worker_calls_once_for_two_deliveries() {
    let mut world = World::start().await;
    let mut workers = [world.settings().start().ready().await];
    at_the_same_time(&mut world, &mut workers, 2.0).await;
}

#[tokio::test]
async fn two_workers_call_once_for_two_deliveries() {
    let mut world = World::start().await;
    let book = Book::new(Backend::Postgres).await;
    let settings = world.settings().set("LEDGER_URL", book.url()).set("CONCURRENCY", "1");
    let mut workers = [settings.start().ready().await, settings.start().ready().await];
    at_the_same_time(&mut world, &mut workers, 1.0).await;
}

/// A worker that stood still for longer than its lease has lost its event to another one. What it
/// makes of the answer that it then finds must not undo what the other one did.
#[tokio::test]
async fn a_worker_that_lost_its_lease_announces_no_second_account() {
    let mut world = World::start().await;
    let book = Book::new(Backend::Postgres).await;
    let settings = world
        .settings()
        .set("LEDGER_URL", book.url())
        .set("LEDGER_LEASE", "2s")
        .set("AMQP_HEARTBEAT", "1s")
        .set("IMIN_TIMEOUT", "2m");
    let mut first = settings.start().ready().await;
    world.send("signup-1", &customer("geoff+fault-delay-1sx1@example.com")).await;
    first.until("in_flight", |n| n == 1.0).await;
    until_called(&world, 1).await;
    first.signal("STOP");
    // The broker gives the message to the other worker, which waits for the lease and calls again.
    let mut second = settings.start().ready().await;
    let event = json(&world.created(1).await[0]);
    assert_eq!(event["possibleduplicate"], true);
    assert_eq!(book.rows().await.len(), 1);
    first.signal("CONT");
    first.until("in_flight", |n| n == 0.0).await;
    for worker in [&mut first, &mut second] {
        worker.stop().await;
    }
    assert_eq!(world.accounts(), 2, "nobody could know");
    for again in world.all_created().await {
        assert_eq!(json(&again)["data"], event["data"], "one event, one account");
    }
    assert_eq!(book.rows().await, ["created, published, in doubt"]);
}

async fn until_called(world: &World, calls: u32) {
    let called = async {
        while world.sandbox.stats().in_flight < calls {
            poll().await;
        }
    };
    timeout(PATIENCE, called).await.expect("a call");
}

const EVENTS: usize = 1_000;

/// What is there when a thousand events that came three times each have been dealt with.
struct Books {
    /// By event id: every identifier that was announced, and whether as a possible duplicate.
    announced: BTreeMap<String, BTreeSet<(String, bool)>>,
    /// By event id: how many accounts there are.
    accounts: BTreeMap<String, u32>,
}

/// Sends them to two workers, lets `kill` end the first one, and waits for the second to finish.
async fn a_thousand_thrice(
    world: &mut World,
    settings: [Settings; 2],
    kill: impl AsyncFnOnce(&World, &mut Worker),
) -> Books {
    let [first, second] = settings;
    let mut first = first.start().ready().await;
    let mut second = second.start().ready().await;
    let sending = async {
        for _ in 0..3 {
            let sends = (0..EVENTS).map(async |n| {
                world.send(&format!("signup-{n}"), &customer(&format!("geoff{n}@example.com"))).await;
            });
            join_all(sends).await;
        }
    };
    tokio::join!(sending, kill(world, &mut first));
    let idle = async {
        while world.look("customers.create").await != (0, 1) || second.metric("in_flight").await > 0.0 {
            poll().await;
        }
    };
    timeout(PATIENCE * 5, idle).await.expect("the second worker deals with all of it");
    second.stop().await;
    for queue in ["customers.create", "customers.create.dead", "customers.create.retry.5s"] {
        assert_eq!(world.left(queue).await, 0, "{queue}");
    }
    let mut announced: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for event in world.all_created().await.iter().map(json) {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let told = (text(&event["data"]["identifier"]), event.get("possibleduplicate").is_some());
        announced.entry(text(&event["id"])).or_default().insert(told);
    }
    let made = world.sandbox.accounts();
    Books {
        announced,
        accounts: made.keys.iter().map(|(key, tally)| (key.clone(), tally.accounts)).collect(),
    }
}

impl Books {
    /// What holds wherever a worker is killed.
    fn balance(&self) {
        assert_eq!(self.announced.len(), EVENTS, "distinct created events by id");
        assert!(self.announced.keys().eq(self.accounts.keys()), "an event for each customer, and no other");
        for (id, told) in &self.announced {
            assert_eq!(told.len(), 1, "one event, one account: {told:?}");
            let flagged = told.iter().any(|(_, flagged)| *flagged);
            assert!(self.accounts[id] == 1 || flagged, "a double is flagged: {id}");
            assert!(self.accounts[id] <= 2, "one kill, one doubt: {id}");
        }
    }

    fn flagged(&self) -> usize {
        self.announced.values().flatten().filter(|(_, flagged)| *flagged).count()
    }
}

/// How many calls at a time, and how many events may be in hand for them: a quarter more, which wait for
/// their call, or for their account to be on record.
const CONCURRENCY: &str = "32";
const IN_HAND: usize = 40;

async fn shared(world: &World) -> Settings {
    let book = Book::new(Backend::Postgres).await;
    world.settings().set("LEDGER_URL", book.url()).set("LEDGER_LEASE", "5s").set("CONCURRENCY", CONCURRENCY)
}

/// Killed between two events, when none of its calls is under way: nothing is in doubt.
#[tokio::test]
async fn a_thousand_thrice_and_a_kill_between_calls_is_a_thousand_accounts() {
    let mut world = World::start().await;
    let settings = shared(&world).await;
    // It need not be quick to get so far before the other one has done all the rest.
    let first = settings.clone().set("CONCURRENCY", "1").set("KILL_POINT", "published:10");
    let books = a_thousand_thrice(&mut world, [first, settings], async |_, worker| {
        assert!(!worker.end().await.success());
    })
    .await;
    books.balance();
    assert_eq!(books.accounts.values().sum::<u32>() as usize, EVENTS);
    assert_eq!(books.flagged(), 0);
}

/// Killed in the middle of its calls: a double at most for those, and each of them is flagged.
#[tokio::test]
async fn a_thousand_thrice_and_a_kill_in_the_middle_doubles_nobody_in_secret() {
    let mut world = World::start().await;
    let settings = shared(&world).await;
    world.sandbox.set_faults(vec!["delay-20ms".parse().expect("a fault")], 0);
    let books = a_thousand_thrice(&mut world, [settings.clone(), settings], async |world, worker| {
        while world.accounts() < EVENTS / 4 {
            poll().await;
        }
        worker.kill().await;
    })
    .await;
    books.balance();
    assert!(books.flagged() <= IN_HAND, "no more than were in hand: {}", books.flagged());
}
