//! The worker against a model: generated events, answers, faults and crashes on paused time, and a
//! checker that knows only what the fakes saw.
//!
//! Real are the worker, the pipeline, the gate and the ledger's rules; the broker, imin and whatever
//! goes wrong are `world`'s, the fakes of the ports `ports`'. What must hold afterwards is `check`'s.
//! Every run plays other cases; `known` keeps those that broke a promise once.
//! `PROPTEST_CASES=100000 cargo test --lib worker::tests` tries harder than the default, and
//! `PROPTEST_RNG_SEED=7` plays the same cases again.

mod check;
mod known;
mod plan;
mod ports;
mod world;

use crate::{
    breaker,
    broker::Names,
    clock::paused::Paused,
    gate::{self, Gate, Pause},
    letters::{RESOLUTION, RESOLUTION_ID, RESOLUTION_IDENTIFIER},
    metrics::Metrics,
    outcome::{Ambiguous, Policy},
    pipeline::{self, Pipeline},
    retry::Schedule,
    shutdown::Shutdown,
    spans::Spans,
    worker::{AFTER_GRACE, Worker},
};
use plan::{Act, Case};
use ports::{FakeAccounts, FakeLedger, FakePublisher, FakeSource};
use proptest::prelude::*;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;
use world::World;

/// How long a worker may take to finish at the end.
const GRACE: Duration = Duration::from_secs(5);
/// How long a crashed worker stays down.
const RESTART: Duration = Duration::from_secs(1);
/// How long everything may take to come to an end once nothing goes wrong any more.
const SETTLED_WITHIN: Duration = Duration::from_hours(2);
/// How long a ledger or broker that failed is held to be down.
const OUTAGE: Duration = Duration::from_millis(200);

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2000),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]
    /// The four promises, whatever happens in whichever order.
    #[test]
    fn every_event_ends_as_promised(case in plan::case()) {
        let violations = run(&case);
        prop_assert!(violations.is_empty(), "{violations:#?}");
    }
}

/// Plays a case; what it broke.
fn run(case: &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let _clock = Paused::start();
        Play::new(case).run().await
    })
}

/// A case under way.
struct Play {
    case: Case,
    world: Arc<World>,
    workers: Arc<Mutex<Vec<Running>>>,
    metrics: Arc<Metrics>,
}

/// A worker that was started.
#[derive(Clone)]
struct Running {
    instance: usize,
    shutdown: Shutdown,
}

impl Play {
    fn new(case: &Case) -> Arc<Self> {
        let (crashed, crashes) = mpsc::unbounded_channel();
        let play = Arc::new(Self {
            case: case.clone(),
            world: World::new(case, crashed),
            workers: Arc::default(),
            metrics: Arc::new(Metrics::new()),
        });
        tokio::spawn(Arc::clone(&play).supervise(crashes));
        play
    }

    async fn run(self: Arc<Self>) -> Vec<String> {
        for _ in 0..self.case.workers {
            self.start();
        }
        for (at, event) in self.case.events.iter().enumerate() {
            (0..event.copies).for_each(|_| self.world.send(at));
        }
        for (pause, act) in &self.case.acts {
            sleep(Duration::from_millis((*pause).into())).await;
            self.act(act);
        }
        self.world.calm();
        self.start();
        let settled = async {
            while !self.world.is_quiet() {
                sleep(Duration::from_secs(5)).await;
            }
        };
        if timeout(SETTLED_WITHIN, settled).await.is_err() {
            self.world.violation("an event never came to an end".into());
        }
        self.stop_all().await;
        check::violations(&self.world, &self.case)
    }

    fn act(&self, act: &Act) {
        match *act {
            Act::Copy(event) => self.world.send(usize::from(event) % self.case.events.len()),
            Act::Crash(worker) => self.on(worker, |running| self.world.kill(running.instance)),
            Act::LoseSession(worker) => self.on(worker, |running| self.world.lose_sessions(running.instance)),
            Act::Drain(worker) => self.on(worker, |running| {
                running.shutdown.drain.cancel();
            }),
            Act::Abort(worker) => self.on(worker, |running| {
                running.shutdown.drain.cancel();
                running.shutdown.abort.cancel();
            }),
            Act::Start => self.start(),
            Act::Resolve => self.resolve(),
            Act::Replay => {
                if let Some((_, letter)) = self.world.take_dead() {
                    self.world.replay(letter, &[]);
                }
            }
        }
    }

    /// What a careful operator does with a dead letter: looks at imin, and says what is there.
    fn resolve(&self) {
        let Some((key, letter)) = self.world.take_dead() else { return };
        match self.world.account_of(key) {
            Some(identifier) => {
                let word = [(RESOLUTION, "created"), (RESOLUTION_IDENTIFIER, identifier.as_str())];
                self.world.replay(letter, &word);
            }
            None => {
                let id = Uuid::new_v4().to_string();
                self.world.replay(letter, &[(RESOLUTION, "not-created"), (RESOLUTION_ID, id.as_str())]);
            }
        }
    }

    fn on(&self, worker: u8, act: impl FnOnce(&Running)) {
        let workers = self.workers.lock().expect("no panic under it");
        let alive: Vec<&Running> =
            workers.iter().filter(|running| self.world.works(running.instance)).collect();
        if !alive.is_empty() {
            act(alive[usize::from(worker) % alive.len()]);
        }
    }

    /// Starts another worker.
    fn start(&self) {
        let shutdown = Shutdown::default();
        let instance = self.world.open_instance(&shutdown);
        let gate = Gate::new(gate_settings());
        let pipeline = Arc::new(Pipeline {
            accounts: Arc::new(FakeAccounts::new(&self.world, instance)),
            ledger: Arc::new(FakeLedger::new(&self.world, instance)),
            publisher: Arc::new(FakePublisher::new(&self.world, instance, &gate)),
            gate: Arc::clone(&gate),
            metrics: Arc::clone(&self.metrics),
            spans: Spans::default(),
            settings: settings(&self.case),
            shutdown: shutdown.clone(),
        });
        tokio::spawn(mend_the_ledger(gate));
        self.workers
            .lock()
            .expect("no panic under it")
            .push(Running { instance, shutdown: shutdown.clone() });
        let (world, concurrency) = (Arc::clone(&self.world), self.case.concurrency);
        tokio::spawn(async move {
            let mut source = FakeSource::new(&world, instance);
            let worker = Worker::new(Arc::clone(&pipeline), concurrency, GRACE);
            tokio::join!(worker.run(&mut source), bounded(&world, instance, &shutdown));
            world.alive(instance).await;
            let _ = pipeline.ledger.close().await;
            world.ended(instance);
        });
    }

    async fn supervise(self: Arc<Self>, mut crashes: mpsc::UnboundedReceiver<()>) {
        while crashes.recv().await.is_some() {
            sleep(RESTART).await;
            self.start();
        }
    }

    async fn stop_all(&self) {
        let workers = self.workers.lock().expect("no panic under it").clone();
        for running in &workers {
            running.shutdown.drain.cancel();
        }
        sleep(GRACE + AFTER_GRACE * 2).await;
        for running in workers {
            if self.world.works(running.instance) {
                self.world.violation(format!("worker {} does not end", running.instance));
            }
        }
    }
}

/// Notes a worker that takes longer to stop than it may.
async fn bounded(world: &World, instance: usize, shutdown: &Shutdown) {
    shutdown.drain.cancelled().await;
    let told = Instant::now();
    world.until_closed(instance).await;
    if told.elapsed() > GRACE + AFTER_GRACE + Duration::from_secs(1) {
        world.violation(format!("worker {instance} took {:?} to stop", told.elapsed()));
    }
}

/// What the watcher of `app` does.
async fn mend_the_ledger(gate: Arc<Gate>) {
    let mut view = gate.watch();
    while view.wait_for(|view| view.suspended.contains_key(&Pause::Ledger)).await.is_ok() {
        sleep(OUTAGE).await;
        gate.resume(Pause::Ledger);
    }
}

fn gate_settings() -> gate::Settings {
    gate::Settings {
        breaker: breaker::Settings {
            failure_rate: 0.5,
            window: Duration::from_secs(10),
            min_calls: 4,
            probe_interval: Duration::from_secs(5),
            misconfigured_probe_interval: Duration::from_secs(10),
            full: 4,
        },
        concurrency: 4,
        adaptive: true,
        rate_limit: None,
        retry_budget: 0.2,
        retry_after_max: Duration::from_secs(60),
    }
}

fn settings(case: &Case) -> pipeline::Settings {
    let ambiguous = if case.park { Ambiguous::Park } else { Ambiguous::Retry };
    pipeline::Settings {
        names: names(),
        instance: "model".into(),
        policy: Policy {
            max_attempts: case.max_attempts,
            max_elapsed: Duration::from_hours(24),
            ambiguous,
            retry_after_max: Duration::from_secs(60),
        },
        // Without jitter, so that a case is the same each time.
        schedule: Schedule::new(Duration::from_millis(500), 2.0, 0.0, Duration::from_secs(20))
            .expect("valid"),
        in_process_max: Duration::from_millis(case.in_process_max),
        hold_max: Duration::from_millis(case.hold_max),
    }
}

fn names() -> Names {
    Names {
        queue: "work".into(),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        events_exchange: "events".into(),
        events_routing_key: "customer.account.created".into(),
        unrouted_exchange: "unrouted".into(),
        unrouted_queue: "unrouted".into(),
        dead_exchange: "dead".into(),
        dead_queue: "dead".into(),
    }
}
