//! Minutes of steady work, to see whether memory grows.

use super::{Fact, Options, usual};
use crate::{
    load::{self, Destination},
    tools::Tools,
    world::{WORK, World},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How many events come at a time, and how often: 2,000 a second.
const BURST: u64 = 10_000;
const EVERY: Duration = Duration::from_secs(5);
/// How long the worker may take for what is left in the end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The worker's memory early and late, and the ratio of the two.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let mut scenario = usual(0);
    scenario.latency = Duration::from_millis(50);
    let world = World::start(tools, scenario.api, scenario.latency).await?;
    let ledger = scenario.ledger(&world).await;
    let mut processes = scenario.start(tools, &world, &ledger)?;
    let process = processes.first_mut().context("a worker")?;
    let (started, length) = (Instant::now(), Duration::from_mins(options.minutes));
    let (mut sent, mut created, mut memory) = (0, 0, Vec::new());
    while started.elapsed() < length {
        let next = Instant::now() + EVERY;
        load::publish(&world.vhost.url, sent..sent + BURST, Destination::Work).await?;
        sent += BURST;
        created += world.collect().await?;
        memory.push(process.usage()?.resident);
        sleep_until(next).await;
    }
    created += finish(&world, sent - created).await?;
    let cpu = process.usage()?.cpu;
    for process in processes {
        process.stop().await?;
    }
    ensure!(created == sent, "{created} created events for {sent}");
    ensure!(world.accounts().await? == sent && world.depth(WORK).await? == 0, "the books do not agree");
    world.end().await?;
    Ok(facts(options, sent, cpu, &memory))
}

/// Waits for the created events that are still to come; how many came.
async fn finish(world: &World, missing: u64) -> Result<u64> {
    let (started, mut came) = (Instant::now(), 0);
    while came < missing && started.elapsed() < PATIENCE {
        sleep(EVERY / 5).await;
        came += world.collect().await?;
    }
    Ok(came)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
fn facts(options: &Options, sent: u64, cpu: f64, memory: &[f64]) -> Vec<Fact> {
    // The first minute is the start.
    let steady = &memory[(memory.len() / 10).max(1).min(memory.len())..];
    let (early, late) = steady.split_at(steady.len() / 2);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let name = |what: &str| format!("{} minutes, {sent} events at 2,000/s: {what}", options.minutes);
    vec![
        Fact::new(name("memory, first half"), "MiB", early.to_vec()),
        Fact::new(name("memory, second half"), "MiB", late.to_vec()),
        Fact::new(name("memory, second half ÷ first"), "", vec![mean(late) / mean(early)]),
        Fact::new(name("processor time for 10,000"), "s", vec![cpu * 10_000.0 / sent as f64]),
    ]
}
