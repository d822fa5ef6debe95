//! The long run: imin fails in every way it can while the broker dies twice, and the key is revoked.

use super::stage::{Stage, causes, print_recovery, print_timeline};
use crate::support::{broker::Broker, worker::Worker, world::KEY};
use imin_customer_worker::sandbox::Options;
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// How much of it there is.
struct Plan {
    events: usize,
    /// How long imin answers 503, then nothing, then 429.
    phases: [Duration; 3],
}

impl Plan {
    fn share(&self, percent: usize) -> usize {
        self.events * percent / 100
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_hours_in_short() {
    let seconds = Duration::from_secs;
    run(Plan { events: 2000, phases: [seconds(3), seconds(3), seconds(3)] }).await;
}

/// `make outage-run`: a minute of 503 and twenty thousand events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; make outage-run"]
async fn bad_hours() {
    let seconds = Duration::from_secs;
    run(Plan { events: 20_000, phases: [seconds(60), seconds(30), seconds(15)] }).await;
}

async fn run(plan: Plan) {
    let broker = Arc::new(spawn_blocking(Broker::start).await.expect("starts"));
    let options = Options { latency: Duration::from_millis(20), ..Options::default() };
    let mut stage = Stage::on(broker.vhost(), options).await;
    stage.send(0..plan.share(50)).await;
    let key = stage.dir.path().join("key");
    fs::write(&key, KEY).unwrap();
    let settings = stage
        .settings()
        .unset("IMIN_API_KEY")
        .set("IMIN_API_KEY_FILE", key.display().to_string())
        .set("IMIN_TIMEOUT", "1s")
        .set("IMIN_CONNECT_TIMEOUT", "1s")
        .set("CONCURRENCY", "64")
        .set("CONFIRM_TIMEOUT", "3s")
        .set("AMQP_HEARTBEAT", "2s")
        .set("BREAKER_PROBE_INTERVAL", "500ms")
        .set("MISCONFIGURED_PROBE_INTERVAL", "1h");
    let since = Instant::now();
    let mut worker = settings.start().ready().await;
    bad(&mut stage, &worker, &plan, &broker, &key).await;
    let books = stage.balance(&worker).await;
    println!("all {} events done after {:.1} s", plan.events, since.elapsed().as_secs_f64());
    print_timeline(&worker.log);
    let extra = books.calls - plan.events as u64;
    let budget = budget(plan.events, since.elapsed());
    println!("{extra} calls too many, {budget} affordable; {} events repeated", books.repeats);
    assert!(extra <= budget, "{extra} calls too many, {budget} were affordable");
    worker.stop().await;
}

/// What retries and probes may add: a fifth of the first calls, ten and ten a second; two probes a second.
fn budget(events: usize, took: Duration) -> u64 {
    events as u64 / 5 + 10 + 12 * (took.as_secs() + 1)
}

/// Everything that goes wrong, one after the other, with some work done in between. More is sent while
/// nothing can be done, so that there is work for what comes next, however fast the worker is.
async fn bad(stage: &mut Stage, worker: &Worker, plan: &Plan, broker: &Arc<Broker>, key: &Path) {
    let share = |percent| plan.share(percent);
    let [unavailable, silent, limited] = plan.phases;
    stage.accounts(share(10), worker).await;
    println!("imin answers 503 for {unavailable:?}, and the broker is killed meanwhile");
    stage.faults(&["503"]);
    worker.log.line("breaker open").await;
    sleep(unavailable / 2).await;
    restart(broker).await;
    sleep(unavailable / 2).await;
    stage.faults(&[]);
    resumes(stage, worker, share(30), "imin answered again").await;

    println!("imin does not answer for {silent:?}");
    stage.faults(&["timeout-before"]);
    sleep(silent).await;
    stage.faults(&[]);
    resumes(stage, worker, share(45), "imin answered in time").await;

    println!("imin says 429 for {limited:?}, and the broker is killed in the middle of work after it");
    stage.faults(&["429-retry-after-1"]);
    stage.send(share(50)..share(90)).await;
    sleep(limited).await;
    stage.faults(&[]);
    resumes(stage, worker, share(60), "imin had no more limits").await;
    restart(broker).await;
    resumes(stage, worker, share(75), "the node was up again").await;
    worker.until("broker_connected", |connected| connected == 1.0).await;
    worker.until("paused{cause=\"broker\"}", |paused| paused == 0.0).await;

    println!("the key is revoked");
    fs::write(key, "revoked").unwrap();
    worker.log.line("using the new key").await;
    stage.send(share(90)..plan.events).await;
    assert_eq!(causes(&worker.readiness(503).await), ["misconfigured"]);
    fs::write(key, KEY).unwrap();
    let since = Instant::now();
    worker.readiness(200).await;
    print_recovery("the key was right", since);
}

/// Waits for more work to be done.
async fn resumes(stage: &Stage, worker: &Worker, accounts: usize, from: &str) {
    let (since, now) = (Instant::now(), stage.sandbox.accounts().total);
    // On a machine that let this wait for long, there may be nothing left to resume with.
    stage.accounts((now + 1).min(stage.sent()), worker).await;
    print_recovery(from, since);
    stage.accounts(accounts, worker).await;
}

/// Kills the node and starts it again.
async fn restart(broker: &Arc<Broker>) {
    let node = Arc::clone(broker);
    let cycle = move || {
        node.kill();
        node.restart();
    };
    spawn_blocking(cycle).await.expect("killed and restarted");
}
