//! The ratios that the worker is held to. Absolute figures are a machine's; ratios of one run carry over.

use super::{Report, Row};
use crate::contender::Contender;
use serde_json::{Value, json};

/// A ratio and its bounds. A ratio of costs is to be small, one of rates large.
pub(crate) struct Ratio {
    /// What is divided by what.
    pub(crate) what: String,
    /// The ratio of the medians.
    pub(crate) is: f64,
    /// The bound that must be kept.
    pub(crate) bound: f64,
    /// The bound that is aimed at.
    pub(crate) aim: f64,
}

impl Ratio {
    /// Whether the bound is kept.
    pub(crate) fn holds(&self) -> bool {
        if self.aim < self.bound { self.is <= self.bound } else { self.is >= self.bound }
    }

    /// For the results file.
    pub(crate) fn json(&self) -> Value {
        json!({
            "what": self.what, "is": self.is, "bound": self.bound, "aim": self.aim, "holds": self.holds(),
        })
    }
}

/// Every ratio that the rows of a report give.
pub(crate) fn of(report: &Report) -> Vec<Ratio> {
    let row = |who| report.row(who, 0);
    let (worker, node) = (row(Contender::Sqlite), row(Contender::Node));
    let peers = [Contender::Node, Contender::Python, Contender::Go, Contender::Java];
    let fastest = peers.into_iter().filter_map(row).max_by(|a, b| rate(a).total_cmp(&rate(b)));
    let ratio = |what: &str, bound, aim, of: fn(&Row) -> f64, over: Option<&Row>| {
        Some(Ratio { what: what.to_owned(), is: of(worker?) / of(over?), bound, aim })
    };
    let name = fastest.map_or("", |row| row.scenario.contender.title());
    [
        ratio("rate ÷ limit", 0.65, 0.80, rate, row(Contender::Limit)),
        ratio("rate ÷ Node.js", 1.4, 1.8, rate, node),
        ratio(&format!("rate ÷ fastest peer ({name})"), 1.1, 1.5, rate, fastest),
        ratio("CPU per event ÷ Node.js", 0.55, 0.40, cpu, node),
        ratio("peak memory ÷ Node.js", 0.6, 0.4, peak, node),
        report.row(Contender::Sqlite, 50).map(of_possible),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How much of what the latency allows is reached.
fn of_possible(row: &Row) -> Ratio {
    let possible = f64::from(row.scenario.concurrency) / row.scenario.latency.as_secs_f64();
    Ratio {
        what: "rate at 50 ms ÷ (concurrency ÷ latency)".into(),
        is: rate(row) / possible,
        bound: 0.85,
        aim: 0.95,
    }
}

fn rate(row: &Row) -> f64 {
    row.rate().median
}

fn cpu(row: &Row) -> f64 {
    row.spread(|sample| sample.cpu).median
}

fn peak(row: &Row) -> f64 {
    row.spread(|sample| sample.peak).median
}
