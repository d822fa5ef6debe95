//! The kill-point table: the real binary killed at each step between receiving and acking, on both
//! ledgers, and what a healthy worker then makes of what was left.
//!
//! One table drives the tests and is what the README prints. The binary has the points compiled in
//! because Cargo.toml turns the feature `failpoints` on for every build that has tests in it.

use crate::support::{
    book::{Backend, Book},
    worker::{PATIENCE, Settings, Worker, poll},
    world::{World, customer, json, plain},
};
use serde_json::Value;
use std::{collections::BTreeSet, fmt::Write as _, fs, os::unix::process::ExitStatusExt, path::Path};
use tokio::time::timeout;

/// What one kill leaves behind, and how it ends.
struct Row {
    /// When the worker dies, in the README's words.
    when: &'static str,
    how: How,
    sent: Sent,
    left: Left,
    ends: Ends,
}

/// How it is killed.
#[derive(Clone, Copy)]
enum How {
    /// At this fail point.
    At(&'static str),
    /// By SIGKILL, once imin has made the account and before it answers.
    Calling,
    /// At this fail point, after a SIGTERM that finds the event waiting for its next attempt.
    Stopping(&'static str),
}

/// What is sent.
#[derive(Clone, Copy)]
enum Sent {
    /// A customer whom imin accepts.
    Good,
    /// A customer at whom imin fails in this way.
    Fault(&'static str),
    /// No customer at all.
    Invalid,
}

/// What the kill leaves behind.
#[derive(Clone, Copy)]
struct Left {
    /// Copies of the message in the work queue and the delay queues.
    copies: u32,
    /// The acknowledgement may have been written: then no copy is left and all is over.
    perhaps_acked: bool,
    ledger: &'static str,
    accounts: usize,
    events: usize,
    dead: usize,
}

/// How it ends.
enum Ends {
    Alike(End),
    ByPolicy { retry: End, park: End },
}

/// One end, as it stands when the healthy worker has nothing left to do.
#[derive(Clone, Copy)]
struct End {
    /// What the healthy worker counts in `outcomes_total`.
    outcomes: &'static [(&'static str, u32)],
    /// Calls at imin, those of the worker that died included.
    calls: u32,
    accounts: usize,
    /// Created events, all with the same id.
    events: usize,
    flagged: bool,
    dead: usize,
    reason: &'static str,
    ledger: &'static str,
}

const BACK: Left = Left { copies: 1, perhaps_acked: false, ledger: NO_ROW, accounts: 0, events: 0, dead: 0 };
const NO_ROW: &str = "no row";

const ONE: End = End {
    outcomes: &[("created", 1)],
    calls: 1,
    accounts: 1,
    events: 1,
    flagged: false,
    dead: 0,
    reason: "",
    ledger: "created, published",
};
const FLAGGED: End = End { flagged: true, ledger: "created, published, in doubt", ..ONE };
const TWO: End = End { calls: 2, accounts: 2, ..FLAGGED };
const RESUMED: End = End { outcomes: &[("duplicate", 1)], ..ONE };
const PARKED: End = End {
    outcomes: &[("unknown", 1)],
    events: 0,
    dead: 1,
    reason: "outcome_unknown",
    ledger: "unknown, in doubt",
    ..ONE
};
const REJECTED: End = End {
    outcomes: &[("rejected", 1)],
    calls: 2,
    accounts: 0,
    events: 0,
    dead: 1,
    reason: "rejected_by_api",
    ledger: NO_ROW,
    ..ONE
};

/// The table, in the order of an event's way.
const TABLE: &[Row] = &[
    Row {
        when: "with the message in hand, before anything",
        how: How::At("received"),
        sent: Sent::Good,
        left: BACK,
        ends: Ends::Alike(ONE),
    },
    Row {
        when: "with the attempt on record, before the call",
        how: How::At("begun"),
        sent: Sent::Good,
        left: Left { ledger: "attempting", ..BACK },
        ends: Ends::ByPolicy { retry: FLAGGED, park: End { calls: 0, accounts: 0, ..PARKED } },
    },
    Row {
        when: "during the call, the account made",
        how: How::Calling,
        sent: Sent::Fault("timeout-afterx1"),
        left: Left { ledger: "attempting", accounts: 1, ..BACK },
        ends: Ends::ByPolicy { retry: TWO, park: PARKED },
    },
    Row {
        when: "with the answer in hand, before it is on record",
        how: How::At("called"),
        sent: Sent::Good,
        left: Left { ledger: "attempting", accounts: 1, ..BACK },
        ends: Ends::ByPolicy { retry: TWO, park: PARKED },
    },
    Row {
        when: "with the account on record, before its event is published",
        how: How::At("recorded"),
        sent: Sent::Good,
        left: Left { ledger: "created", accounts: 1, ..BACK },
        ends: Ends::Alike(RESUMED),
    },
    Row {
        when: "with the event confirmed, before the ack",
        how: How::At("published"),
        sent: Sent::Good,
        left: Left { ledger: "created", accounts: 1, events: 1, ..BACK },
        ends: Ends::Alike(End { events: 2, ..RESUMED }),
    },
    Row {
        when: "with the ack given, before it is written",
        how: How::At("acked"),
        sent: Sent::Good,
        left: Left { ledger: "created", accounts: 1, events: 1, perhaps_acked: true, ..BACK },
        ends: Ends::Alike(End { events: 2, ..RESUMED }),
    },
    Row {
        when: "with a 500 on record that made the account",
        how: How::At("recorded"),
        sent: Sent::Fault("500-afterx1"),
        left: Left { ledger: "unknown, in doubt", accounts: 1, ..BACK },
        ends: Ends::ByPolicy { retry: TWO, park: PARKED },
    },
    Row {
        when: "with an answer on record that had no identifier",
        how: How::At("recorded"),
        sent: Sent::Fault("no-identifier"),
        left: Left { ledger: "unusable", accounts: 1, ..BACK },
        ends: Ends::Alike(End {
            outcomes: &[("unusable", 1)],
            events: 0,
            dead: 1,
            reason: "unusable_response",
            ledger: "unusable",
            ..ONE
        }),
    },
    Row {
        when: "with a refusal on record, before its dead letter is published",
        how: How::At("recorded"),
        sent: Sent::Fault("422"),
        left: BACK,
        ends: Ends::Alike(REJECTED),
    },
    Row {
        when: "with a refusal's dead letter confirmed, before the ack",
        how: How::At("dead-lettered"),
        sent: Sent::Fault("422"),
        left: Left { dead: 1, ..BACK },
        ends: Ends::Alike(End { dead: 2, ..REJECTED }),
    },
    Row {
        when: "with an invalid event's dead letter confirmed, before the ack",
        how: How::At("dead-lettered"),
        sent: Sent::Invalid,
        left: Left { dead: 1, ..BACK },
        ends: Ends::Alike(End {
            outcomes: &[("invalid", 1)],
            calls: 0,
            dead: 2,
            reason: "invalid_event",
            ..REJECTED
        }),
    },
    Row {
        when: "with the message confirmed in a delay queue (after a 503), before the ack",
        how: How::At("delayed"),
        sent: Sent::Fault("503x1"),
        left: Left { copies: 2, ..BACK },
        ends: Ends::Alike(End { outcomes: &[("created", 1), ("duplicate", 1)], calls: 2, ..ONE }),
    },
    Row {
        when: "while it stops, with the message confirmed back in the queue, before the ack",
        how: How::Stopping("released"),
        sent: Sent::Fault("503x1"),
        left: Left { copies: 2, ..BACK },
        ends: Ends::Alike(End { outcomes: &[("created", 1), ("duplicate", 1)], calls: 2, ..ONE }),
    },
];

const WORK: &str = "customers.create";
const DEAD: &str = "customers.create.dead";
const DELAY: &str = "customers.create.retry.5s";

#[tokio::test]
async fn sqlite_retry() {
    each_kill_ends_as_the_table_says(Backend::Sqlite, "retry").await;
}

#[tokio::test]
async fn sqlite_park() {
    each_kill_ends_as_the_table_says(Backend::Sqlite, "park").await;
}

#[tokio::test]
async fn postgres_retry() {
    each_kill_ends_as_the_table_says(Backend::Postgres, "retry").await;
}

#[tokio::test]
async fn postgres_park() {
    each_kill_ends_as_the_table_says(Backend::Postgres, "park").await;
}

async fn each_kill_ends_as_the_table_says(backend: Backend, policy: &'static str) {
    let mut world = World::start().await;
    for row in TABLE {
        println!("{backend:?}, AMBIGUOUS={policy}: killed {}", row.when);
        world.sandbox.forget().expect("no journal");
        let scene = Scene::new(&world, row, backend, policy).await;
        scene.kill(&mut world).await;
        scene.check_left(&mut world).await;
        scene.resume(&mut world).await;
    }
}

/// One row on one ledger under one policy.
struct Scene<'a> {
    row: &'a Row,
    end: End,
    book: Book,
    settings: Settings,
}

impl<'a> Scene<'a> {
    async fn new(world: &World, row: &'a Row, backend: Backend, policy: &str) -> Self {
        let book = Book::new(backend).await;
        let settings =
            world.settings().set("LEDGER_URL", book.url()).set("LEDGER_LEASE", "2s").set("AMBIGUOUS", policy);
        let end = match row.ends {
            Ends::Alike(end) => end,
            Ends::ByPolicy { retry, .. } if policy == "retry" => retry,
            Ends::ByPolicy { park, .. } => park,
        };
        Self { row, end, book, settings }
    }

    /// Starts a worker, sends the event and kills the worker where the row says.
    async fn kill(&self, world: &mut World) {
        let mut worker = self.doomed().start().ready().await;
        match self.row.sent {
            Sent::Good => world.send("signup-1", &customer("geoff@example.com")).await,
            Sent::Fault(fault) => {
                world.send("signup-1", &customer(&format!("geoff+fault-{fault}@example.com"))).await;
            }
            Sent::Invalid => world.publish(b"no customer", plain("signup-1")).await,
        }
        match self.row.how {
            How::At(_) => died(&mut worker).await,
            How::Calling => {
                until("imin has made the account", async || world.accounts() == 1).await;
                worker.kill().await;
            }
            How::Stopping(_) => {
                worker.until("retries_total{cause=\"unavailable\"}", |n| n >= 1.0).await;
                worker.signal("TERM");
                died(&mut worker).await;
            }
        }
    }

    /// The settings of the worker that is killed.
    fn doomed(&self) -> Settings {
        let settings = self.settings.clone();
        match self.row.how {
            How::At("delayed") => settings.set("KILL_POINT", "delayed").set("RETRY_IN_PROCESS_MAX", "0s"),
            How::At(point) => settings.set("KILL_POINT", point),
            How::Calling => settings,
            How::Stopping(point) => settings
                .set("KILL_POINT", point)
                .set("RETRY_INITIAL", "10s")
                .set("RETRY_MAX_INTERVAL", "10s")
                .set("RETRY_JITTER", "0"),
        }
    }

    async fn check_left(&self, world: &mut World) {
        let Left { copies, perhaps_acked, ledger, accounts, dead, .. } = self.row.left;
        if perhaps_acked {
            assert!(world.left(WORK).await <= copies);
        } else {
            let there = async || world.left(WORK).await + world.left(DELAY).await == copies;
            until("the message is back in its queue", there).await;
        }
        assert_eq!(self.ledger().await, ledger, "the ledger after the kill");
        assert_eq!(world.accounts(), accounts, "accounts after the kill");
        assert_eq!(world.left(DEAD).await as usize, dead, "dead letters after the kill");
    }

    /// Starts a healthy worker, waits until it has nothing left to do, and looks.
    async fn resume(&self, world: &mut World) {
        let over = self.row.left.perhaps_acked && world.left(WORK).await == 0;
        let mut worker = self.settings.start().ready().await;
        if !over {
            for (outcome, count) in self.end.outcomes {
                worker.outcome(outcome, *count).await;
            }
        }
        worker.stop().await;
        let end = self.end;
        assert_eq!(world.left(WORK).await + world.left(DELAY).await, 0, "nothing is left to do");
        assert_eq!(self.ledger().await, if over { "created" } else { end.ledger }, "the ledger in the end");
        let made = world.sandbox.accounts();
        assert_eq!(made.total, end.accounts, "accounts in the end");
        assert_eq!(made.keys.values().map(|tally| tally.calls).sum::<u32>(), end.calls, "calls in the end");
        self.check_events(world, if over { 1 } else { end.events }).await;
        self.check_dead(world).await;
    }

    async fn check_events(&self, world: &mut World, count: usize) {
        let events: Vec<Value> = world.all_created().await.iter().map(json).collect();
        assert_eq!(events.len(), count, "created events in the end: {events:?}");
        let made: BTreeSet<_> =
            world.sandbox.accounts().accounts.into_iter().map(|account| account.identifier).collect();
        let told = |event: &Value| (event["id"].clone(), event["data"]["identifier"].clone());
        for event in &events {
            assert_eq!(told(event), told(&events[0]), "the same event again");
            assert_eq!(event.get("possibleduplicate").is_some(), self.end.flagged, "{event}");
            assert!(made.contains(event["data"]["identifier"].as_str().expect("text")), "{event}");
        }
    }

    async fn check_dead(&self, world: &World) {
        assert_eq!(world.left(DEAD).await as usize, self.end.dead, "dead letters in the end");
        let mut keys = BTreeSet::new();
        for _ in 0..self.end.dead {
            let letter = world.dead().await;
            assert_eq!(letter.header_text("failure-reason"), Some(self.end.reason));
            keys.insert(letter.header_text("event-key").expect("a key").to_owned());
        }
        assert!(keys.len() <= 1, "the same dead letter again: {keys:?}");
    }

    /// The event's row as another program reads it.
    async fn ledger(&self) -> String {
        let rows = self.book.rows().await;
        assert!(rows.len() <= 1, "one event, one row: {rows:?}");
        rows.into_iter().next().unwrap_or_else(|| NO_ROW.to_owned())
    }
}

/// The worker dies by its fail point.
async fn died(worker: &mut Worker) {
    let status = worker.end().await;
    assert_eq!(status.signal(), Some(6), "it must die at its fail point: {status}");
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let reached = async {
        while !condition().await {
            poll().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The table as the README prints it.
fn markdown() -> String {
    let mut text = String::from(
        "| killed … | leaves | then, `AMBIGUOUS=retry` | then, `AMBIGUOUS=park` |\n|---|---|---|---|\n",
    );
    for row in TABLE {
        let (retry, park) = match &row.ends {
            Ends::Alike(end) => (told(row, end), "the same".to_owned()),
            Ends::ByPolicy { retry, park } => (told(row, retry), told(row, park)),
        };
        writeln!(text, "| {} | {} | {retry} | {park} |", row.when, left(&row.left)).expect("a string");
    }
    text
}

/// What a kill leaves, in words.
fn left(left: &Left) -> String {
    let copies = if left.copies == 2 { "two copies of the message" } else { "the message" };
    let mut words = vec![format!("{copies}; ledger: {}", left.ledger)];
    words.extend((left.accounts > 0).then(|| "the account".to_owned()));
    words.extend((left.events > 0).then(|| "its event".to_owned()));
    words.extend((left.dead > 0).then(|| "the dead letter".to_owned()));
    words.join("; ")
}

/// An end, in words.
fn told(row: &Row, end: &End) -> String {
    let accounts = match end.accounts {
        0 => "no account".to_owned(),
        1 => "1 account".to_owned(),
        more => format!("**{more} accounts**"),
    };
    let published = match (end.events, end.flagged) {
        (0, _) => None,
        (1, false) => Some("1 event".to_owned()),
        (1, true) => Some("1 event with `possibleduplicate`".to_owned()),
        (more, _) if row.left.perhaps_acked => Some(format!("1 event, or {more} with the same `id`")),
        (more, _) => Some(format!("{more} events with the same `id`")),
    };
    let dead = match end.dead {
        0 => None,
        1 => Some(format!("dead letter `{}`", end.reason)),
        more => Some(format!("{more} dead letters `{}` with the same `event-key`", end.reason)),
    };
    [Some(accounts), published, dead].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[test]
fn the_readme_prints_the_table() {
    let (_, rest) =
        include_str!("../../README.md").split_once("<!-- kill points -->\n").expect("its beginning");
    let (table, _) = rest.split_once("<!-- /kill points -->").expect("its end");
    assert_eq!(table.trim(), markdown().trim(), "to mend it, put this between the marks:\n{}", markdown());
}

#[test]
fn every_fail_point_of_the_source_has_its_row() {
    let mut stands = BTreeSet::new();
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pipeline.rs"));
    let source = source.expect("the source is at hand");
    for (_, rest) in
        source.match_indices("kill_point(\"").map(|(at, found)| source.split_at(at + found.len()))
    {
        stands.insert(rest.split('"').next().expect("a name").to_owned());
    }
    // Those behind a confirm are named by what was confirmed.
    let (_, table) = source.split_once("const fn confirmed").expect("the fail points behind a confirm");
    let table = table.split_once("\n}").expect("its end").0;
    stands.extend(table.split('"').skip(1).step_by(2).map(str::to_owned));
    let points = TABLE.iter().filter_map(|row| match row.how {
        How::At(point) | How::Stopping(point) => Some(point.to_owned()),
        How::Calling => None,
    });
    assert_eq!(points.collect::<BTreeSet<_>>(), stands);
}
