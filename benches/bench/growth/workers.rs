//! One, two and four workers on one queue and one PostgreSQL ledger, with an imin that takes 50 ms.

use super::{Fact, Options, usual};
use crate::{contender::Contender, run::Scenario, tools::Tools};
use anyhow::Result;
use std::time::Duration;

/// How many workers share the work.
const WORKERS: [usize; 3] = [1, 2, 4];
/// What 256 calls at a time of 50 ms each allow one worker for some seconds.
const SHARE: u64 = 30_000;

/// Their rates, and each one's ratio to that of a single worker.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let mut rates = WORKERS.map(|_| Vec::new());
    for _ in 0..options.rounds {
        for (rates, workers) in rates.iter_mut().zip(WORKERS) {
            let sample = scenario(workers, options.messages.min(SHARE)).run(tools).await?;
            eprintln!("{workers} workers: {:.0} events/s", sample.rate);
            rates.push(sample.rate);
        }
    }
    let mut facts = Vec::new();
    let [single, ..] = rates.clone();
    for (rates, workers) in rates.into_iter().zip(WORKERS) {
        let ratios = rates.iter().zip(&single).map(|(rate, one)| rate / one).collect();
        facts.push(Fact::new(format!("{workers} on PostgreSQL at 50 ms: rate"), "events/s", rates));
        if workers > 1 {
            facts.push(Fact::new(format!("{workers} on PostgreSQL at 50 ms ÷ one"), "", ratios));
        }
    }
    Ok(facts)
}

fn scenario(workers: usize, share: u64) -> Scenario {
    Scenario {
        contender: Contender::Postgres,
        latency: Duration::from_millis(50),
        messages: share * workers as u64,
        workers,
        ..usual(0)
    }
}
