//! One run: a queue is loaded, a contender drains it, and what it took is written down.

use crate::{
    contender::{Contender, Place},
    process::{Process, Processors, Usage},
    support::Postgres,
    tools::Tools,
    world::{Api, POLL, SUBSCRIBER, World},
};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::{sync::OnceLock, time::Duration};
use tokio::time::{Instant, sleep};

/// How long nothing may happen before a run has failed.
const STALLED: Duration = Duration::from_mins(3);
/// How long a contender's last acknowledgements may take.
const LAST_ACKS: Duration = Duration::from_millis(200);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// Who.
    pub(crate) contender: Contender,
    /// Which imin.
    pub(crate) api: Api,
    /// How long imin takes.
    pub(crate) latency: Duration,
    /// How many events at a time.
    pub(crate) concurrency: u16,
    /// How many events.
    pub(crate) messages: u64,
    /// How many of the contender work on the same queue.
    pub(crate) workers: usize,
}

/// What one run showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    /// Events a second, from the first created event to the last.
    pub(crate) rate: f64,
    /// From the contender's start to the first created event, in milliseconds.
    pub(crate) first_ms: f64,
    /// The contender's processor time for 10,000 events, its start included, in seconds.
    pub(crate) cpu: f64,
    /// The most memory that one of its processes had, in MiB.
    pub(crate) peak: f64,
    /// imin's processor time for 10,000 events, in seconds.
    pub(crate) api_cpu: f64,
    /// The broker's processor time for 10,000 events, in seconds.
    pub(crate) broker_cpu: f64,
    /// Which share of the machine's processors was busy, whoever with.
    pub(crate) busy: f64,
}

impl Scenario {
    /// Runs it in a world of its own.
    pub(crate) async fn run(&self, tools: &Tools) -> Result<Sample> {
        let mut world = World::start(tools, self.api, self.latency).await?;
        world.load(0..self.messages).await?;
        let ledger = self.ledger(&world).await;
        let sample = self.drain(tools, &mut world, &ledger).await?;
        world.end().await?;
        Ok(sample)
    }

    /// A new ledger's URL.
    pub(crate) async fn ledger(&self, world: &World) -> String {
        match self.contender {
            Contender::Postgres => postgres().database().await,
            Contender::Memory => "memory:".to_owned(),
            _ => format!("sqlite://{}", world.directory.path().join("ledger.db").display()),
        }
    }

    /// Starts the contender on a loaded queue, waits until it is drained, and checks the books.
    pub(crate) async fn drain(&self, tools: &Tools, world: &mut World, ledger: &str) -> Result<Sample> {
        let started = Instant::now();
        let (broker, processors) = (world.broker_usage()?.cpu, Processors::now()?);
        let mut processes = self.start(tools, world, ledger)?;
        let watched = watch(world, self.messages, &mut processes).await;
        let progress = watched.with_context(|| format!("{}, see its log", self.contender.title()))?;
        let busy = Processors::now()?.busy_since(processors);
        sleep(LAST_ACKS).await;
        let usages: Result<Vec<Usage>> = processes.iter_mut().map(Process::usage).collect();
        let broker = world.broker_usage()?.cpu - broker;
        for process in processes {
            process.stop().await?;
        }
        let calls = if self.contender.calls() { self.messages } else { 0 };
        world.verify(self.messages, calls).await?;
        let usages = usages?;
        Ok(Sample {
            rate: progress.rate(),
            first_ms: progress.first.0.duration_since(started).as_secs_f64() * 1_000.0,
            cpu: self.per_ten_thousand(usages.iter().map(|usage| usage.cpu).sum()),
            peak: usages.iter().map(|usage| usage.peak).fold(0.0, f64::max),
            api_cpu: self.per_ten_thousand(world.api_usage()?.cpu),
            broker_cpu: self.per_ten_thousand(broker),
            busy,
        })
    }

    pub(crate) fn start(&self, tools: &Tools, world: &World, ledger: &str) -> Result<Vec<Process>> {
        self.start_at(tools, world, &world.vhost.url, ledger)
    }

    /// The same, with the broker at another URL.
    pub(crate) fn start_at(
        &self,
        tools: &Tools,
        world: &World,
        amqp_url: &str,
        ledger: &str,
    ) -> Result<Vec<Process>> {
        let place =
            Place { amqp_url, base_url: &world.base_url, ledger_url: ledger, concurrency: self.concurrency };
        let name = format!("{:?}", self.contender).to_lowercase();
        let log = tools.out.join(format!("{name}.log"));
        let start = |_| Process::start(&name, self.contender.command(tools, &place), &log);
        (0..self.workers).map(start).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    fn per_ten_thousand(&self, seconds: f64) -> f64 {
        seconds * 10_000.0 / self.messages as f64
    }
}

/// How many events were out, and when.
type Seen = (Instant, u64);

/// The course of a run.
struct Progress {
    /// The first look that saw an event.
    first: Seen,
    /// The last look before all were out: between the two, counts and times are exact.
    before_last: Seen,
    /// The look that saw all.
    last: Seen,
}

impl Progress {
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    fn rate(&self) -> f64 {
        let between = |(since, from): Seen, (until, to): Seen| {
            (to - from) as f64 / until.duration_since(since).as_secs_f64()
        };
        // Where there were too few looks, the last one counts as well: up to `POLL` too long.
        if self.before_last.1 > self.first.1 + self.last.1 / 2 {
            between(self.first, self.before_last)
        } else {
            between((self.first.0 - POLL, 0), self.last)
        }
    }
}

/// Looks at the subscriber's queue until all events are there.
async fn watch(world: &World, messages: u64, processes: &mut [Process]) -> Result<Progress> {
    let mut first = None;
    let mut before = (Instant::now(), 0);
    let mut moved = Instant::now();
    loop {
        let now = (Instant::now(), world.depth(SUBSCRIBER).await?);
        if now.1 > 0 {
            first.get_or_insert(now);
        }
        if let Some(first) = first
            && now.1 >= messages
        {
            return Ok(Progress { first, before_last: before, last: now });
        }
        if now.1 > before.1 {
            moved = now.0;
        }
        before = now;
        ensure!(moved.elapsed() < STALLED, "{} of {messages} events, and no more for {STALLED:?}", now.1);
        for process in processes.iter_mut() {
            process.usage()?;
        }
        sleep(POLL).await;
    }
}

/// The server that all runs share, each in a database of its own.
pub(crate) fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    // The tests' server does not sync, since nobody restores it; a durable ledger's must.
    SHARED.get_or_init(|| Postgres::start_with("fsync = on", &[]))
}
