//! The metrics, in one table: each field's doc comment is its help text.
//!
//! Owns names, labels and buckets. Closed sets of labels start at 0, so that a rate or an alert on
//! one that never happened has a series to read. No label carries a customer, an event or free text.

use crate::outcome::{Cause, Reason};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

/// The content type of `render`'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How an event can end, or leave the worker for now.
pub const OUTCOMES: &[&str] =
    &["created", "duplicate", "invalid", "unusable", "rejected", "exhausted", "unknown", "released"];
/// The statuses that the books are kept by, though there may be others: the account was made, or nobody
/// knows. The very first call of which nobody knows has to be seen, and a new series has no increase.
const STATUSES: &[&str] = &["201", "500", "502", "504", "timeout", "reset", "open_attempt"];
/// Why the worker can pause.
pub const PAUSES: &[&str] = &["breaker", "misconfigured", "ledger", "broker"];
/// The states of the breaker; one of them is 1.
pub const BREAKER_STATES: &[&str] = &["closed", "open", "half_open"];

/// Seconds of one call; the last buckets lie beyond the longest `IMIN_TIMEOUT` (2m).
const CALL: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0,
];
/// Seconds that a worker holds an event; the last bucket is the broker's usual limit.
const HELD: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// Seconds since an event was made: from at once to the day that retries may take, and a week.
const AGE: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0,
    86_400.0, 604_800.0,
];
/// Seconds of one commit to a disk or a database.
const COMMIT: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ty = $make:ident($name:literal $(, $more:expr)*);)*) => {
        /// Everything that is counted and measured. A clone counts into the same series.
        #[derive(Debug, Clone)]
        pub struct Metrics {
            /// Where all of them are registered.
            pub registry: Registry,
            $($(#[doc = $help])+ pub $field: $type,)*
        }

        impl Metrics {
            /// All metrics, at 0.
            ///
            /// # Panics
            /// If two metrics have one name: the table is fixed, so a test would have shown it.
            pub fn new() -> Self {
                let registry = Registry::new();
                $(let $field: $type = $make(concat!("customer_worker_", $name), concat!($($help),+).trim() $(, $more)*);
                register(&registry, $field.clone());)*
                #[cfg(target_os = "linux")]
                register(&registry, prometheus::process_collector::ProcessCollector::for_self());
                Self { registry, $($field,)* }
            }
        }
    };
}

metrics! {
    /// Events by how they ended, or left the worker for now.
    outcomes: IntCounterVec = counters("outcomes_total", "outcome", OUTCOMES.to_vec());
    /// Dead letters confirmed by the broker, by reason.
    dead_letters: IntCounterVec = counters("dead_letters_total", "reason", Reason::ALL.map(Reason::as_str).to_vec());
    /// Calls to imin, by HTTP status, or by what happened instead of an answer.
    api_requests: IntCounterVec = counters("api_requests_total", "status", STATUSES.to_vec());
    /// Seconds from sending a call to imin to the end of its answer.
    api_request_duration: Histogram = histogram("api_request_duration_seconds", CALL);
    /// Retries that were decided on, by what made them necessary.
    retries: IntCounterVec = counters("retries_total", "cause", Cause::ALL.map(Cause::as_str).to_vec());
    /// Seconds from taking an event to settling it.
    processing_duration: Histogram = histogram("processing_duration_seconds", HELD);
    /// Seconds from the making of an event, by a CloudEvent's time, else the AMQP timestamp, to its end.
    event_age: Histogram = histogram("event_age_seconds", AGE);
    /// Events that are being worked on.
    in_flight: IntGauge = gauge("in_flight");
    /// How many calls may be under way at the same time just now.
    concurrency_limit: IntGauge = gauge("concurrency_limit");
    /// Whether the worker pauses (1) or not (0), by cause.
    paused: IntGaugeVec = gauges("paused", "cause", PAUSES.to_vec());
    /// The state of the circuit breaker: 1 for the one it is in, 0 for the others.
    breaker_state: IntGaugeVec = gauges("breaker_state", "state", BREAKER_STATES.to_vec());
    /// Whether there is a connection to the broker (1) or not (0).
    broker_connected: IntGauge = gauge("broker_connected");
    /// Connections to the broker that had to be made again.
    broker_reconnects: IntCounter = counter("broker_reconnects_total");
    /// `CustomerAccountCreated` events confirmed by the broker.
    events_published: IntCounter = counter("events_published_total");
    /// `CustomerAccountCreated` events that nobody subscribes to.
    events_unrouted: IntCounter = counter("events_unrouted_total");
    /// Seconds of one commit of the ledger.
    ledger_commit_duration: Histogram = histogram("ledger_commit_duration_seconds", COMMIT);
    /// Dead letters that were replayed, by result.
    replays: IntCounterVec = counters("replays_total", "result", ends());
    /// Spans that were made and not exported: the collector was slow, gone, or did not want them.
    spans_dropped: IntCounter = counter("spans_dropped_total");
    /// Always 1; the labels say which build this is.
    build_info: IntGaugeVec = build_info("build_info");
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            // A scrape that says so beats a worker that stops for it.
            tracing::error!(%error, "metrics cannot be encoded");
            String::new()
        })
    }

    /// Sets the one breaker state that is 1; `state` is one of `BREAKER_STATES`.
    pub fn breaker_is(&self, state: &str) {
        for known in BREAKER_STATES {
            self.breaker_state.with_label_values(&[known]).set((*known == state).into());
        }
    }
}

/// How an event can end; one that is released has not.
fn ends() -> Vec<&'static str> {
    OUTCOMES.iter().copied().filter(|outcome| *outcome != "released").collect()
}

fn register(registry: &Registry, metric: impl Collector + 'static) {
    registry.register(Box::new(metric)).expect("the table's names are valid and differ");
}

fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("the table's names and labels are valid")
}

fn counter(name: &str, help: &str) -> IntCounter {
    valid(IntCounter::new(name, help))
}

fn counters(name: &str, help: &str, label: &str, closed: Vec<&str>) -> IntCounterVec {
    let counters = valid(IntCounterVec::new(Opts::new(name, help), &[label]));
    for value in closed {
        counters.with_label_values(&[value]);
    }
    counters
}

fn gauge(name: &str, help: &str) -> IntGauge {
    valid(IntGauge::new(name, help))
}

fn gauges(name: &str, help: &str, label: &str, closed: Vec<&str>) -> IntGaugeVec {
    let gauges = valid(IntGaugeVec::new(Opts::new(name, help), &[label]));
    for value in closed {
        gauges.with_label_values(&[value]);
    }
    gauges
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    valid(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

fn build_info(name: &str, help: &str) -> IntGaugeVec {
    let info = valid(IntGaugeVec::new(Opts::new(name, help), &["version", "commit"]));
    info.with_label_values(&[crate::VERSION, option_env!("GIT_COMMIT").unwrap_or("unknown")]).set(1);
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gate::Pause,
        outcome::{Disposition, Done},
    };
    use std::collections::{BTreeMap, BTreeSet};

    /// The names, with what `# TYPE` says of each.
    fn families(text: &str) -> BTreeMap<&str, &str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let mut families = BTreeMap::new();
        for (name, kind) in lines {
            assert!(families.insert(name, kind).is_none(), "{name} twice");
        }
        families
    }

    #[test]
    fn the_names_are_the_contracts() {
        let text = Metrics::new().render();
        let ours: BTreeSet<&str> =
            families(&text).keys().filter_map(|name| name.strip_prefix("customer_worker_")).collect();
        let design = "outcomes_total dead_letters_total api_requests_total api_request_duration_seconds \
            retries_total processing_duration_seconds event_age_seconds in_flight concurrency_limit paused \
            breaker_state broker_connected broker_reconnects_total events_published_total \
            events_unrouted_total ledger_commit_duration_seconds replays_total spans_dropped_total build_info";
        assert_eq!(ours, design.split_whitespace().collect());
    }

    #[test]
    fn names_follow_the_customs_of_prometheus() {
        let text = Metrics::new().render();
        for (name, kind) in families(&text) {
            assert!(name.starts_with("customer_worker_") || name.starts_with("process_"), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
        }
        assert!(text.contains("process_resident_memory_bytes"));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn closed_sets_start_at_zero() {
        let text = Metrics::new().render();
        for (family, label, values) in [
            ("outcomes_total", "outcome", OUTCOMES.to_vec()),
            ("dead_letters_total", "reason", Reason::ALL.map(Reason::as_str).to_vec()),
            ("api_requests_total", "status", STATUSES.to_vec()),
            ("retries_total", "cause", Cause::ALL.map(Cause::as_str).to_vec()),
            ("replays_total", "result", ends()),
            ("paused", "cause", Pause::ALL.map(Pause::as_str).to_vec()),
            ("breaker_state", "state", BREAKER_STATES.to_vec()),
        ] {
            for value in values {
                let series = format!("customer_worker_{family}{{{label}=\"{value}\"}} 0\n");
                assert!(text.contains(&series), "{series}");
            }
        }
    }

    #[test]
    fn every_end_of_an_event_has_its_outcome() {
        let dead = Reason::ALL.map(Disposition::DeadLetter);
        let others = [
            Disposition::Complete(Done::Created),
            Disposition::Complete(Done::Duplicate),
            Disposition::Release,
        ];
        let labels: BTreeSet<_> = dead.iter().chain(&others).filter_map(|end| end.label()).collect();
        assert_eq!(labels, OUTCOMES.iter().copied().collect());
    }

    #[test]
    fn the_breaker_is_in_one_state() {
        let metrics = Metrics::new();
        metrics.breaker_is("open");
        metrics.breaker_is("half_open");
        let states =
            BREAKER_STATES.iter().map(|state| metrics.breaker_state.with_label_values(&[state]).get());
        assert_eq!(states.collect::<Vec<_>>(), [0, 0, 1]);
    }

    #[test]
    fn buckets_rise_and_reach_past_the_longest_call() {
        for buckets in [CALL, HELD, AGE, COMMIT] {
            assert!(buckets.is_sorted_by(|one, next| one < next));
        }
        assert!(CALL.last() > Some(&120.0));
    }
}
