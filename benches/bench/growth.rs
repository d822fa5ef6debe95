//! What happens when something grows: rows, messages, workers, time. And how the worker starts and idles.
//!
//! Owns the list of these measurements and the file that their findings go to; each is a room of its own.

use crate::{
    contender::Contender,
    report::{Spread, machine::Machine},
    run::Scenario,
    tables,
    tools::Tools,
    world::Api,
};
use anyhow::Result;
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, time::Duration};

mod ledger;
mod replay;
mod soak;
mod start;
mod workers;

/// What to measure, and how much of it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Only these parts
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Part>,
    /// How many times, where a part is repeated
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many events a run has
    #[arg(long, default_value_t = 50_000)]
    messages: u64,
    /// How many rows the large ledger has
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// How many events the long queue has
    #[arg(long, default_value_t = 1_000_000)]
    queue: u64,
    /// How many dead letters are replayed
    #[arg(long, default_value_t = 100_000)]
    letters: u64,
    /// How long the soak lasts, in minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// One of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The size of the binary, cold start to first ack, idle.
    Start,
    /// One, two and four workers that share a ledger, imin at 50 ms.
    Workers,
    /// A ledger of millions of rows against an empty one.
    Ledger,
    /// A queue of a million.
    Queue,
    /// A hundred thousand dead letters replayed.
    Replay,
    /// Minutes of steady work: memory.
    Soak,
}

/// A number that was found.
pub(crate) struct Fact {
    what: String,
    unit: &'static str,
    spread: Spread,
}

impl Fact {
    fn new(what: impl Into<String>, unit: &'static str, numbers: Vec<f64>) -> Self {
        Self { what: what.into(), unit, spread: Spread::of(numbers) }
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "unit": self.unit, "value": self.spread.json() })
    }

    fn line(&self) -> String {
        let Spread { median, least, most } = self.spread;
        let digits = if median < 10.0 { 2 } else { 0 };
        format!("| {} | {median:.digits$} ({least:.digits$}–{most:.digits$}) {} |\n", self.what, self.unit)
    }
}

/// Measures the parts one after the other, and writes down each when it is done.
pub(crate) async fn measure(tools: &Tools, options: &Options) -> Result<()> {
    let machine = Machine::here();
    let mut facts = Vec::new();
    for part in [Part::Start, Part::Workers, Part::Ledger, Part::Queue, Part::Replay, Part::Soak] {
        if !options.parts.is_empty() && !options.parts.contains(&part) {
            continue;
        }
        eprintln!("growth: {part:?}");
        facts.extend(match part {
            Part::Start => start::measure(tools, options).await?,
            Part::Workers => workers::measure(tools, options).await?,
            Part::Ledger => ledger::measure(tools, options).await?,
            Part::Queue => queue(tools, options).await?,
            Part::Replay => replay::measure(tools, options).await?,
            Part::Soak => soak::measure(tools, options).await?,
        });
        let values: Vec<Value> = facts.iter().map(Fact::json).collect();
        let json = json!({ "machine": machine, "facts": values });
        fs::write(tools.out.join("growth.json"), serde_json::to_string_pretty(&json)?)?;
        fs::write(tools.out.join("growth.md"), table(&facts))?;
    }
    println!("{}", table(&facts));
    Ok(())
}

fn table(facts: &[Fact]) -> String {
    let mut text = String::from("| | median (least–most) |\n|---|--:|\n");
    for fact in facts {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", fact.line());
    }
    text
}

/// The worker with its default ledger at 0 ms and its default concurrency.
fn usual(messages: u64) -> Scenario {
    Scenario {
        contender: Contender::Sqlite,
        api: Api::Stub,
        latency: Duration::ZERO,
        concurrency: tables::USUAL,
        messages,
        workers: 1,
    }
}

async fn queue(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let short = usual(options.messages).run(tools).await?;
    let long = usual(options.queue).run(tools).await?;
    let name = |what: &str| format!("a queue of {}: {what}", options.queue);
    Ok(vec![
        Fact::new(name("rate"), "events/s", vec![long.rate]),
        Fact::new(name("rate ÷ that of a short queue"), "", vec![long.rate / short.rate]),
        Fact::new(name("peak memory"), "MiB", vec![long.peak]),
    ])
}
