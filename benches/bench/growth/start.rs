//! How the worker starts, how large it is, and what it costs while there is nothing to do.

use super::{Fact, Options, usual};
use crate::{tap::Tap, tools::Tools, world::World};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How many events wait when a worker starts.
const WAITING: u64 = 100;
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the worker is idle before it is looked at, and for how long then.
const IDLE: Duration = Duration::from_secs(20);

/// The binary's size; cold start to first ack; idle.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let (mut starts, mut cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        starts.push(start(tools).await?);
        if round == 1 {
            let idle = idle(tools).await?;
            cpu.push(idle.0);
            memory.push(idle.1);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "the size of a file")]
    let size = std::fs::metadata(&tools.worker)?.len() as f64 / 1024.0 / 1024.0;
    Ok(vec![
        Fact::new("the binary", "MiB", vec![size]),
        Fact::new("cold start to first ack, new SQLite ledger", "ms", starts),
        Fact::new("idle: processor time", "ms a second", cpu),
        Fact::new("idle: memory", "MiB", memory),
    ])
}

/// Milliseconds from the start of the process to its first acknowledgement.
async fn start(tools: &Tools) -> Result<f64> {
    let world = World::start(tools, usual(0).api, Duration::ZERO).await?;
    world.load(0..WAITING).await?;
    let scenario = usual(WAITING);
    let ledger = scenario.ledger(&world).await;
    let mut tap = Tap::open(&world.vhost.url).await?;
    let started = Instant::now();
    let processes = scenario.start_at(tools, &world, &tap.url, &ledger)?;
    let acked = timeout(PATIENCE, tap.first_ack()).await.context("no acknowledgement")??;
    for process in processes {
        process.stop().await?;
    }
    world.end().await?;
    Ok(acked.duration_since(started).as_secs_f64() * 1_000.0)
}

/// Processor time in milliseconds a second, and memory in MiB, of a worker with an empty queue.
async fn idle(tools: &Tools) -> Result<(f64, f64)> {
    let world = World::start(tools, usual(0).api, Duration::ZERO).await?;
    let scenario = usual(0);
    let ledger = scenario.ledger(&world).await;
    let mut processes = scenario.start(tools, &world, &ledger)?;
    sleep(IDLE / 4).await;
    let process = processes.first_mut().context("a worker")?;
    let before = process.usage()?;
    sleep(IDLE).await;
    let after = process.usage()?;
    for process in processes {
        process.stop().await?;
    }
    world.end().await?;
    Ok(((after.cpu - before.cpu) * 1_000.0 / IDLE.as_secs_f64(), after.resident))
}
