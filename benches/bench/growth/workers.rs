//! One, two and four workers on one queue and one PostgreSQL ledger, with an imin that takes 50 ms.
//!
//! Workers add up until the machine is full, so it is told how full that was; and they are measured with
//! few calls at a time, which leave it room, and with as many as by default.

use super::{Fact, Options, usual};
use crate::{contender::Contender, run::Scenario, tools::Tools};
use anyhow::Result;
use std::time::Duration;

/// How many workers share the work.
const WORKERS: [usize; 3] = [1, 2, 4];
/// How many calls each has at a time.
const CALLS: [u16; 2] = [64, 256];
/// For how many seconds 50 ms a call keep one worker busy at the least.
const SECONDS: u64 = 6;
/// Calls of 50 ms in a second.
const A_SECOND: u64 = 20;

/// Their rates, each one's ratio to that of a single worker, and how busy the machine was.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for calls in CALLS {
        facts.extend(at(calls, tools, options).await?);
    }
    Ok(facts)
}

async fn at(calls: u16, tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let (mut rates, mut busy) = (WORKERS.map(|_| Vec::new()), WORKERS.map(|_| Vec::new()));
    for _ in 0..options.rounds {
        for (index, workers) in WORKERS.into_iter().enumerate() {
            let sample = scenario(workers, calls, options).run(tools).await?;
            eprintln!("{workers} workers with {calls} calls each: {:.0} events/s", sample.rate);
            rates[index].push(sample.rate);
            busy[index].push(sample.busy);
        }
    }
    let mut facts = Vec::new();
    let [single, ..] = rates.clone();
    for ((rates, busy), workers) in rates.into_iter().zip(busy).zip(WORKERS) {
        let name = |what: &str| format!("{workers} × {calls} calls of 50 ms, PostgreSQL: {what}");
        let ratios = rates.iter().zip(&single).map(|(rate, one)| rate / one).collect();
        facts.push(Fact::new(name("rate"), "events/s", rates));
        if workers > 1 {
            facts.push(Fact::new(name("÷ one"), "", ratios));
        }
        facts.push(Fact::new(name("how busy the machine was"), "", busy));
    }
    Ok(facts)
}

fn scenario(workers: usize, calls: u16, options: &Options) -> Scenario {
    let share = (u64::from(calls) * A_SECOND * SECONDS).min(options.messages);
    Scenario {
        contender: Contender::Postgres,
        latency: Duration::from_millis(50),
        concurrency: calls,
        messages: share * workers as u64,
        workers,
        ..usual(0)
    }
}
