//! What settings say about each other.
//!
//! Each check looks at texts that parse; one that does not is reported already.

use super::{
    Wrong,
    sources::Gathered,
    table::{self, Setting},
};
use std::time::Duration;

/// Checks settings against each other.
pub(super) fn cross(gathered: &Gathered) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    durations(gathered, &mut wrong);
    tls(gathered, &mut wrong);
    names(gathered, &mut wrong);
    wrong
}

/// Pairs of durations of which the first may not be longer than the second, with what follows if it were.
static ORDERED: &[(&Setting<Duration>, &Setting<Duration>, &str)] = &[
    (&table::RETRY_INITIAL, &table::RETRY_MAX_INTERVAL, "the first wait would be longer than the longest"),
    (&table::RETRY_MAX_INTERVAL, &table::RETRY_MAX_ELAPSED, "one wait would use up the time of all"),
    (&table::IMIN_CONNECT_TIMEOUT, &table::IMIN_TIMEOUT, "connecting is part of the call"),
    (&table::CONFIRM_TIMEOUT, &table::CONSUMER_TIMEOUT, "the broker would take the message back first"),
    (
        &table::RETRY_MAX_ELAPSED,
        &table::LEDGER_RETENTION,
        "the ledger would forget an event that is still retried",
    ),
];

fn durations(gathered: &Gathered, wrong: &mut Vec<Wrong>) {
    for (less, more, why) in ORDERED {
        let (Some(short), Some(long)) = (gathered.find(less), gathered.find(more)) else { continue };
        if short > long {
            let (less, more) = (less.about.name, more.about.name);
            let what = format!("is longer than {more}: {why}");
            wrong.push(Wrong::new(less, what, format!("Shorten {less} or lengthen {more}.")));
        }
    }
    let held = (
        gathered.find(&table::RETRY_IN_PROCESS_MAX),
        gathered.find(&table::IMIN_TIMEOUT),
        gathered.find(&table::CONSUMER_TIMEOUT),
    );
    if let (Some(wait), Some(call), Some(limit)) = held
        && wait.saturating_add(call) >= limit
    {
        let what =
            "and IMIN_TIMEOUT together reach CONSUMER_TIMEOUT: the broker would take back a waiting message";
        wrong.push(Wrong::new("RETRY_IN_PROCESS_MAX", what, "Shorten it; longer waits go to a delay queue."));
    }
}

/// TLS settings beside a URL without TLS: somebody believes in encryption that is not there.
fn tls(gathered: &Gathered, wrong: &mut Vec<Wrong>) {
    let plain =
        |url: &str, scheme: &str| gathered.texts.get(url).is_some_and(|raw| raw.text.starts_with(scheme));
    let useless = [
        ("AMQP_CA_FILE", "AMQP_URL", "amqp:", "amqps"),
        ("AMQP_CLIENT_CERT_FILE", "AMQP_URL", "amqp:", "amqps"),
        ("IMIN_CA_FILE", "IMIN_BASE_URL", "http:", "https"),
        ("LEDGER_CA_FILE", "LEDGER_URL", "sqlite:", "postgres"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_ENDPOINT", "http:", "https"),
    ];
    for (file, url, scheme, better) in useless {
        if gathered.texts.contains_key(file) && plain(url, scheme) {
            let what = format!("is set, but {url} starts with {scheme}//, which is not encrypted");
            wrong.push(Wrong::new(file, what, format!("Write {better}:// in {url}, or unset {file}.")));
        }
    }
    let (cert, key) = ("AMQP_CLIENT_CERT_FILE", "AMQP_CLIENT_KEY_FILE");
    for (set, missing) in [(cert, key), (key, cert)] {
        if gathered.texts.contains_key(set) && !gathered.texts.contains_key(missing) {
            wrong.push(Wrong::new(missing, format!("is not set, but {set} is"), "Set both, or neither."));
        }
    }
}

/// Queues among each other, and exchanges: two with one name would feed each other.
fn names(gathered: &Gathered, wrong: &mut Vec<Wrong>) {
    let groups: [&[&Setting<String>]; 2] = [
        &[&table::QUEUE, &table::UNROUTED_QUEUE, &table::DEAD_QUEUE],
        &[&table::EXCHANGE, &table::EVENTS_EXCHANGE, &table::UNROUTED_EXCHANGE, &table::DEAD_EXCHANGE],
    ];
    for group in groups {
        for (index, one) in group.iter().enumerate() {
            for other in &group[index + 1..] {
                if gathered.find(one).is_some() && gathered.find(one) == gathered.find(other) {
                    let what = format!("has the same name as {}", one.about.name);
                    wrong.push(Wrong::new(other.about.name, what, "Give each a name of its own."));
                }
            }
        }
    }
}
