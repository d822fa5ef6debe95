//! One, two and four workers on one queue and one PostgreSQL ledger, with an imin that takes 50 ms.
//!
//! Workers add up until the machine is full, so it is told how full that was; and they are measured with
//! few calls at a time, which leave it room, and with as many as by default.

use super::{Fact, Options};
use crate::{
    contender::Contender,
    run::{Sample, Scenario},
    tables,
    tools::Tools,
    world::Api,
};
use anyhow::Result;

/// How many workers share the work.
const WORKERS: [usize; 3] = [1, 2, 4];
/// How many calls each has at a time.
const CALLS: [u16; 2] = [64, tables::USUAL];

/// Their rates, each one's ratio to that of a single worker, and how busy the machine was.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for calls in CALLS {
        facts.extend(at(calls, tools, options).await?);
    }
    Ok(facts)
}

async fn at(calls: u16, tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let mut samples = WORKERS.map(|_| Vec::new());
    for _ in 0..options.rounds {
        for (samples, workers) in samples.iter_mut().zip(WORKERS) {
            let sample = scenario(workers, calls, options).run(tools).await?;
            eprintln!("{workers} workers with {calls} calls each: {:.0} events/s", sample.rate);
            samples.push(sample);
        }
    }
    let [single, ..] = &samples;
    let mut facts = Vec::new();
    for (samples, workers) in samples.iter().zip(WORKERS) {
        let name = |what: &str| format!("{workers} × {calls} calls of 50 ms, PostgreSQL: {what}");
        facts.push(Fact::new(name("rate"), "events/s", each(samples, |sample| sample.rate)));
        if workers > 1 {
            let ratios = samples.iter().zip(single).map(|(several, one)| several.rate / one.rate).collect();
            facts.push(Fact::new(name("÷ one"), "", ratios));
        }
        facts.push(Fact::new(name("how busy the machine was"), "", each(samples, |sample| sample.busy)));
    }
    Ok(facts)
}

fn each(samples: &[Sample], number: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(number).collect()
}

fn scenario(workers: usize, calls: u16, options: &Options) -> Scenario {
    let one = tables::scenario((Contender::Postgres, tables::SLOW, calls), options.messages, Api::Stub);
    Scenario { messages: one.messages * workers as u64, workers, ..one }
}
