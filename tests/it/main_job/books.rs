//! The books: what was sent is what was done, in every way of counting it.

use crate::support::{
    worker::Worker,
    world::{World, customer},
};
use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

/// A name of the design's table with the type it must have. Prometheus shows no family that has no
/// series yet, so a run must have made one of each.
const METRICS: [(&str, &str); 17] = [
    ("outcomes_total", "counter"),
    ("dead_letters_total", "counter"),
    ("api_requests_total", "counter"),
    ("api_request_duration_seconds", "histogram"),
    ("retries_total", "counter"),
    ("processing_duration_seconds", "histogram"),
    ("event_age_seconds", "histogram"),
    ("in_flight", "gauge"),
    ("concurrency_limit", "gauge"),
    ("paused", "gauge"),
    ("breaker_state", "gauge"),
    ("broker_connected", "gauge"),
    ("broker_reconnects_total", "counter"),
    ("events_published_total", "counter"),
    ("events_unrouted_total", "counter"),
    ("ledger_commit_duration_seconds", "histogram"),
    ("build_info", "gauge"),
];

/// How many of each: the name is the fault that the call meets, and the outcome that follows.
const SENT: [(&str, &str, u32); 6] = [
    ("delay-1ms", "created", 12),
    ("503x1", "created", 4),
    ("500-afterx1", "created", 2),
    ("422", "rejected", 3),
    ("garbage", "unusable", 2),
    ("503", "exhausted", 2),
];

#[tokio::test]
async fn the_sums_add_up() {
    let mut world = World::start().await;
    // The breaker stays out of it: probes would spend no attempts.
    let settings = world.settings().set("RETRY_MAX_ATTEMPTS", "2").set("BREAKER_MIN_CALLS", "1000");
    let mut worker = settings.start().ready().await;
    let mut sent = 0;
    for (fault, outcome, count) in SENT {
        for n in 0..count {
            world
                .send(
                    &format!("{outcome}-{fault}-{n}"),
                    &customer(&format!("g{n}+fault-{fault}@example.com")),
                )
                .await;
            sent += 1;
        }
    }
    for n in 0..3 {
        world.send(&format!("invalid-{n}"), &customer("no address")).await;
        sent += 1;
    }
    let created = world.created(18).await.len();
    worker.until("outcomes_total{outcome=\"exhausted\"}", |n| n == 2.0).await;
    until_sum(&worker, "outcomes_total", f64::from(sent)).await;

    let (text, stats) = (worker.get("/metrics").await.1, world.sandbox.stats());
    for (outcome, count) in
        [("created", 18), ("rejected", 3), ("unusable", 2), ("exhausted", 2), ("invalid", 3), ("released", 0)]
    {
        assert_eq!(
            worker.metric(&format!("outcomes_total{{outcome=\"{outcome}\"}}")).await,
            f64::from(count),
            "{outcome}"
        );
    }
    let calls: u64 = stats.calls.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let (calls, dead) = (calls as f64, sum(&text, "dead_letters_total"));
    assert_eq!(sum(&text, "api_requests_total"), calls);
    assert_eq!(sum(&text, "api_request_duration_seconds_count"), calls);
    assert_eq!(sum(&text, "retries_total"), 4.0 + 2.0 + 2.0);
    assert_eq!((sum(&text, "events_published_total"), created), (18.0, 18));
    assert_eq!(sum(&text, "processing_duration_seconds_count"), f64::from(sent));
    assert_eq!((dead, world.dead_by_id(10).await.len()), (10.0, 10));
    assert_eq!((stats.accounts, stats.doubles), (18 + 2 + 2, 2), "twice: those that were ambiguous");
    check_metrics(&text);
    worker.stop().await;
    assert_eq!((world.depth("customers.create").await, world.depth("customers.create.dead").await), (0, 0));
}

/// The sum over all labels of a counter.
fn sum(text: &str, name: &str) -> f64 {
    let series = text.lines().filter_map(|line| line.strip_prefix(&format!("customer_worker_{name}")));
    let values =
        series.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().expect("a number")).sum()
}

async fn until_sum(worker: &Worker, name: &str, wanted: f64) {
    let reached = async {
        while sum(&worker.get("/metrics").await.1, name) != wanted {
            crate::support::worker::poll().await;
        }
    };
    let patience = crate::support::worker::PATIENCE;
    tokio::time::timeout(patience, reached)
        .await
        .unwrap_or_else(|_| panic!("{name} does not come to {wanted}"));
}

/// Prometheus' own tool takes the text, and every metric of the design is in it.
fn check_metrics(text: &str) {
    let shown: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE customer_worker_")).collect();
    for (name, kind) in METRICS {
        assert!(shown.contains(&*format!("{name} {kind}")), "no {kind} {name} in {shown:?}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: apt-get install prometheus (deploy/scripts/ensure.sh test)");
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let judged = promtool.wait_with_output().expect("it ends");
    let words =
        String::from_utf8_lossy(&judged.stderr).into_owned() + &String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success() && words.trim().is_empty(), "promtool: {words}");
}
