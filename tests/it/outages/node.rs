//! The node itself: it takes deliveries back, blocks publishers, is killed. One node for all of it.

use super::stage::{Stage, count, lines, print_recovery, print_timeline};
use crate::support::{
    broker::{Broker, Vhost},
    worker::Worker,
};
use imin_customer_worker::sandbox::Options;
use std::{sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time::Instant};

/// `rabbitmqctl`, without stopping the sandbox while it runs.
async fn ctl<const N: usize>(vhost: &Vhost, arguments: [&'static str; N]) {
    let vhost = vhost.clone();
    spawn_blocking(move || vhost.ctl(&arguments)).await.expect("rabbitmqctl runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_bad_day() {
    let broker = Arc::new(spawn_blocking(Broker::start).await.expect("starts"));
    let options = Options { latency: Duration::from_millis(20), ..Options::default() };
    let mut stage = Stage::on(broker.vhost(), options).await;
    impatient(&stage.vhost).await;
    let settings = stage.settings().set("CONCURRENCY", "8").set("CONFIRM_TIMEOUT", "2s");
    let mut worker = settings.set("AMQP_HEARTBEAT", "2s").start().ready().await;
    taken_back(&mut stage, &worker).await;
    blocked(&mut stage, &worker).await;
    killed(&mut stage, &worker, &broker).await;
    let books = stage.balance(&worker).await;
    println!("{} events repeated", books.repeats);
    assert_eq!(worker.metric("broker_connected").await, 1.0);
    print_timeline(&worker.log);
    worker.stop().await;
}

/// Deliveries are taken back after three seconds: looked after every second, for channels to come.
async fn impatient(vhost: &Vhost) {
    let set = "application:set_env(rabbit, consumer_timeout, 3000), \
               application:set_env(rabbit, channel_tick_interval, 1000).";
    ctl(vhost, ["eval", set]).await;
}

/// A call outlasts the consumer timeout: the channel is closed, the message comes again, and finds the
/// first one's call under way or its account on record.
async fn taken_back(stage: &mut Stage, worker: &Worker) {
    stage.send_one("long", "geoff+fault-delay-9s@example.com").await;
    worker.log.line("no consumer").await;
    let since = Instant::now();
    lines(&worker.log, "consuming", 2).await;
    print_recovery("the channel was closed for its consumer timeout", since);
    worker.until("outcomes_total{outcome=\"created\"}", |n| n == 1.0).await;
    stage.idle(worker).await;
    let made = stage.sandbox.accounts();
    assert_eq!((made.total, stage.calls()), (1, 1), "the one call is the only one");
    // For channels to come.
    ctl(&stage.vhost, ["eval", "application:set_env(rabbit, consumer_timeout, 1800000)."]).await;
    let before = count(&worker.log, "consuming");
    ctl(&stage.vhost, ["close_all_connections", "maintenance"]).await;
    lines(&worker.log, "consuming", before + 1).await;
}

/// The memory alarm blocks every connection that publishes.
async fn blocked(stage: &mut Stage, worker: &Worker) {
    // Slow enough that there is work left when the alarm goes off.
    stage.faults(&["delay-1s"]);
    stage.send(0..100).await;
    stage.accounts(10, worker).await;
    ctl(&stage.vhost, ["set_vm_memory_high_watermark", "0.000001"]).await;
    worker.log.line("publishing is blocked").await;
    assert!(worker.readiness(503).await.contains("memory or disk"));
    stage.faults(&[]);
    ctl(&stage.vhost, ["set_vm_memory_high_watermark", "0.4"]).await;
    let since = Instant::now();
    stage.accounts(101, worker).await;
    worker.readiness(200).await;
    print_recovery("the broker took messages again", since);
    stage.idle(worker).await;
}

/// As by a power cut, with work under way.
async fn killed(stage: &mut Stage, worker: &Worker, broker: &Arc<Broker>) {
    stage.send(100..300).await;
    stage.accounts(150, worker).await;
    let node = Arc::clone(broker);
    spawn_blocking(move || node.kill()).await.expect("killed");
    worker.readiness(503).await;
    let node = Arc::clone(broker);
    spawn_blocking(move || node.restart()).await.expect("restarted");
    let since = Instant::now();
    stage.accounts(301, worker).await;
    worker.readiness(200).await;
    print_recovery("the killed node was up again", since);
}
