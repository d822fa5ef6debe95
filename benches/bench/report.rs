//! What a bench found: rows with their samples, the machine, and the files they are written to.

use crate::{
    contender::Contender,
    run::{Sample, Scenario},
};
use anyhow::Result;
use machine::Machine;
use serde_json::{Value, json};
use std::{fs, path::Path};

pub(crate) mod machine;
pub(crate) mod markdown;
pub(crate) mod plot;
pub(crate) mod ratios;

/// The files of a report.
pub(crate) const FILES: [&str; 3] = ["results.json", "results.md", "results.svg"];

/// All rows of a bench.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

/// A scenario and what its runs showed.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) samples: Vec<Sample>,
}

/// A number in the middle of others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of some numbers; zeros where there are none.
    pub(crate) fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let (middle, last) = (numbers.len() / 2, numbers.len().saturating_sub(1));
        let median = if numbers.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(last - last / 2), at(last / 2))
        };
        Self { median, least: at(0), most: at(last) }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }
}

impl Row {
    /// Without samples yet.
    pub(crate) fn new(scenario: Scenario) -> Self {
        Self { scenario, samples: Vec::new() }
    }

    /// Who, and how.
    pub(crate) fn title(&self) -> String {
        let Scenario { contender, latency, concurrency, workers, .. } = self.scenario;
        let several = if workers > 1 { format!("{workers} × ") } else { String::new() };
        format!("{several}{}, {} ms, {concurrency} at a time", contender.title(), latency.as_millis())
    }

    /// One number of every run.
    pub(crate) fn spread(&self, number: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(number).collect())
    }

    /// Events a second.
    pub(crate) fn rate(&self) -> Spread {
        self.spread(|sample| sample.rate)
    }

    fn json(&self) -> Value {
        let scenario = self.scenario;
        json!({
            "contender": scenario.contender.title(),
            "api_latency_ms": scenario.latency.as_millis(),
            "concurrency": scenario.concurrency,
            "workers": scenario.workers,
            "messages": scenario.messages,
            "events_per_second": self.rate().json(),
            "cpu_seconds_per_10000": self.spread(|sample| sample.cpu).json(),
            "peak_mib": self.spread(|sample| sample.peak).json(),
            "first_event_ms": self.spread(|sample| sample.first_ms).json(),
            "api_cpu_seconds_per_10000": self.spread(|sample| sample.api_cpu).json(),
            "broker_cpu_seconds_per_10000": self.spread(|sample| sample.broker_cpu).json(),
            "runs": self.samples,
        })
    }
}

impl Report {
    /// Of these rows, on this machine.
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self { machine: Machine::here(), rows }
    }

    /// The row of a contender at a latency and the usual concurrency.
    pub(crate) fn row(&self, contender: Contender, latency_ms: u128) -> Option<&Row> {
        self.rows.iter().find(|row| {
            let Scenario { contender: who, latency, concurrency, workers, .. } = row.scenario;
            who == contender
                && latency.as_millis() == latency_ms
                && (concurrency, workers) == (256, 1)
                && !row.samples.is_empty()
        })
    }

    /// Writes `FILES`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let ratios: Vec<Value> = ratios::of(self).iter().map(ratios::Ratio::json).collect();
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let json = json!({ "machine": self.machine, "rows": rows, "ratios": ratios });
        let texts = [serde_json::to_string_pretty(&json)?, markdown::tables(self), plot::svg(self)];
        for (file, text) in FILES.iter().zip(texts) {
            fs::write(directory.join(file), text)?;
        }
        Ok(())
    }
}
