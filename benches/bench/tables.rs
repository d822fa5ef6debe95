//! What is run for the main tables, in which order, and the short form of it.

use crate::{
    contender::Contender,
    report::{self, Report, Row},
    run::Scenario,
    tools::Tools,
    world::Api,
};
use anyhow::{Result, ensure};
use std::time::Duration;

/// How long a run at a given latency should take, in seconds.
const LONG_ENOUGH: u64 = 6;
/// The latency of an imin that is not infinitely fast, in milliseconds.
pub(crate) const SLOW: u64 = 50;
/// The worker's default concurrency.
pub(crate) const USUAL: u16 = 256;

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How many times; each round runs every contender once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many events a run has, fewer where one would take long
    #[arg(long, default_value_t = 50_000)]
    messages: u64,
    /// Only these contenders
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Only these tables
    #[arg(long, value_delimiter = ',')]
    tables: Vec<Table>,
    /// Which imin
    #[arg(long, value_enum, default_value_t = Api::Stub)]
    api: Api,
}

/// A table of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Table {
    /// Everybody, imin at 0 ms, 256 events at a time.
    Main,
    /// The worker with each ledger, imin at 50 ms.
    Slow,
    /// The worker with 1, 32 and 1,024 events at a time.
    Concurrency,
}

impl Table {
    const ALL: [Self; 3] = [Self::Main, Self::Slow, Self::Concurrency];

    /// Its runs: contender, latency in milliseconds, concurrency.
    fn runs(self) -> Vec<(Contender, u64, u16)> {
        use Contender::{Go, Java, Limit, Memory, Node, Postgres, Python, Sqlite};
        let workers = [Sqlite, Postgres, Memory];
        match self {
            Self::Main => {
                [Limit, Sqlite, Node, Postgres, Go, Memory, Java, Python].map(|who| (who, 0, USUAL)).into()
            }
            Self::Slow => workers.map(|who| (who, SLOW, USUAL)).into(),
            Self::Concurrency => {
                let at = |concurrency| workers.map(|who| [(who, 0, concurrency), (who, SLOW, concurrency)]);
                [1, 32, 1024].into_iter().flat_map(at).flatten().collect()
            }
        }
    }
}

/// Runs the tables, round after round, and writes the report after each.
pub(crate) async fn main(tools: &Tools, options: &Options) -> Result<()> {
    let asked = |table: &Table| options.tables.is_empty() || options.tables.contains(table);
    let wanted = |who: Contender| options.only.is_empty() || options.only.contains(&who);
    let runs = Table::ALL.into_iter().filter(asked).flat_map(Table::runs).filter(|(who, ..)| wanted(*who));
    let scenarios: Vec<Scenario> = runs.map(|run| scenario(run, options.messages, options.api)).collect();
    let report = repeat(tools, &scenarios, options.rounds).await?;
    println!("{}", report::markdown::tables(&report));
    Ok(())
}

/// A few events for some contenders, all the way to the tables.
pub(crate) async fn short(tools: &Tools) -> Result<()> {
    let directory = tempfile::tempdir_in(&tools.out)?;
    let tools = Tools { out: directory.path().to_owned(), ..tools.clone() };
    let contenders = [Contender::Limit, Contender::Sqlite, Contender::Memory];
    let scenarios = contenders.map(|who| scenario((who, 0, USUAL), 200, Api::Stub));
    repeat(&tools, &scenarios, 1).await?;
    for file in report::FILES {
        let written = std::fs::read_to_string(tools.out.join(file))?;
        ensure!(written.contains(Contender::Sqlite.title()), "{file} has no row for the worker: {written}");
    }
    println!("the bench runs: {} of {} contenders drained their queue", scenarios.len(), contenders.len());
    Ok(())
}

async fn repeat(tools: &Tools, scenarios: &[Scenario], rounds: usize) -> Result<Report> {
    let mut report = Report::new(scenarios.iter().map(|scenario| Row::new(*scenario)).collect());
    for round in 1..=rounds {
        for row in &mut report.rows {
            let sample = row.scenario.run(tools).await?;
            eprintln!("round {round} of {rounds}: {}: {:.0} events/s", row.title(), sample.rate);
            row.samples.push(sample);
        }
        report.write(&tools.out)?;
    }
    Ok(report)
}

/// A run by one contender, not longer than it need be.
pub(crate) fn scenario(
    (contender, latency, concurrency): (Contender, u64, u16),
    messages: u64,
    api: Api,
) -> Scenario {
    let latency_ms = latency;
    let messages = match (latency_ms, concurrency) {
        // Nothing is faster than this.
        (1.., _) => messages.min(LONG_ENOUGH * 1_000 * u64::from(concurrency) / latency_ms),
        // One after the other, each waits for the disk and for the broker's.
        (0, 0..8) => messages / 20,
        (0, 8..) => messages,
    };
    let latency = Duration::from_millis(latency_ms);
    let messages = contender.share(messages).max(100);
    Scenario { contender, api, latency, concurrency, messages, workers: 1 }
}
