//! The report as Markdown.

use super::{Report, Row, Spread, ratios};
use std::fmt::Write as _;

/// The machine, the rows, the ratios.
pub(crate) fn tables(report: &Report) -> String {
    let machine = &report.machine;
    let runs = report.rows.iter().map(|row| row.samples.len()).min().unwrap_or_default();
    let mut text = format!(
        "{} × {}, {} GiB, Linux {}, RabbitMQ {}; {}.\nMedians of {runs} interleaved runs, least to most in parentheses.\n\n",
        machine.cores,
        machine.cpu,
        machine.memory_gib,
        machine.kernel,
        machine.rabbitmq,
        machine.runtimes.join(", "),
    );
    text.push_str(
        "| | imin | at a time | events/s | CPU-s per 10,000 | the broker's | peak MiB | first event ms |\n",
    );
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in &report.rows {
        text.push_str(&line(row));
    }
    text.push_str(
        "\n| worker with the SQLite ledger | is | at least/most | aim | |\n|---|--:|--:|--:|---|\n",
    );
    for ratio in ratios::of(report) {
        let word = if ratio.holds() { "holds" } else { "**missed**" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {word} |",
            ratio.what, ratio.is, ratio.bound, ratio.aim
        );
    }
    text
}

fn line(row: &Row) -> String {
    let scenario = row.scenario;
    let several = if scenario.workers > 1 { format!("{} × ", scenario.workers) } else { String::new() };
    format!(
        "| {several}{} | {} ms | {} | {} | {} | {} | {} | {} |\n",
        scenario.contender.title(),
        scenario.latency.as_millis(),
        scenario.concurrency,
        spread(row.rate(), 0),
        spread(row.spread(|sample| sample.cpu), 2),
        spread(row.spread(|sample| sample.broker_cpu), 2),
        spread(row.spread(|sample| sample.peak), 0),
        spread(row.spread(|sample| sample.first_ms), 0),
    )
}

fn spread(spread: Spread, digits: usize) -> String {
    let Spread { median, least, most } = spread;
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}
