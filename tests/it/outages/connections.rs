//! The way to the broker breaks: cut, closed, silent in both directions or in one.

use super::stage::{Stage, lines, print_recovery, print_timeline};
use crate::support::{
    proxy::{Proxy, Way},
    worker::{Settings, Worker},
};
use imin_customer_worker::sandbox::Options;
use std::time::Duration;
use tokio::time::Instant;

const HALF: usize = 150;
const ALL: usize = 300;

/// A stage with a worker behind a proxy, half of its work done.
struct Behind {
    stage: Stage,
    proxy: Proxy,
    worker: Worker,
}

impl Behind {
    async fn start() -> Self {
        let options = Options { latency: Duration::from_millis(20), ..Options::default() };
        let mut stage = Stage::on(crate::support::broker::Vhost::fresh(), options).await;
        stage.send(0..ALL).await;
        let proxy = Proxy::to(&stage.vhost.url).await;
        let worker = settings(&stage, &proxy).start().ready().await;
        stage.accounts(HALF, &worker).await;
        Self { stage, proxy, worker }
    }

    /// Nothing comes through any more, until the publisher has noticed.
    async fn silence(&self) {
        self.proxy.ways(Way::Hang, Way::Hang);
        let since = Instant::now();
        self.worker.readiness(503).await;
        println!("noticed after {:.2} s", since.elapsed().as_secs_f64());
        self.worker.log.line("publisher has no connection").await;
    }

    /// More work, and all of it done: by the same process.
    async fn recovers(mut self, from: &str, since: Instant) {
        self.stage.send(ALL..ALL + 20).await;
        self.worker.readiness(200).await;
        print_recovery(from, since);
        let books = self.stage.balance(&self.worker).await;
        println!("{} events were repeated", books.repeats);
        print_timeline(&self.worker.log);
        assert!(self.worker.metric("broker_reconnects_total").await >= 1.0);
        assert_eq!(self.worker.metric("broker_connected").await, 1.0);
        self.worker.stop().await;
    }
}

fn settings(stage: &Stage, proxy: &Proxy) -> Settings {
    stage
        .settings()
        .set("AMQP_URL", proxy.url())
        .set("CONCURRENCY", "8")
        .set("AMQP_HEARTBEAT", "1s")
        .set("CONFIRM_TIMEOUT", "2s")
}

#[tokio::test]
async fn cut() {
    let behind = Behind::start().await;
    let since = Instant::now();
    behind.proxy.cut();
    behind.worker.log.line("no consumer").await;
    behind.recovers("the connections were cut", since).await;
}

#[tokio::test]
async fn refused_for_a_while() {
    let behind = Behind::start().await;
    behind.proxy.refuse(true);
    behind.proxy.cut();
    lines(&behind.worker.log, "publisher has no connection", 4).await;
    behind.worker.readiness(503).await;
    assert_eq!(behind.worker.metric("broker_connected").await, 0.0);
    let since = Instant::now();
    behind.proxy.refuse(false);
    behind.recovers("connections were possible again", since).await;
}

#[tokio::test]
async fn closed_by_an_operator() {
    let behind = Behind::start().await;
    let vhost = behind.stage.vhost.clone();
    let since = Instant::now();
    let close = move || vhost.ctl(&["close_all_connections", "-p", &vhost.name, "maintenance"]);
    tokio::task::spawn_blocking(close).await.unwrap();
    behind.worker.log.line("no consumer").await;
    behind.recovers("the operator closed the connections", since).await;
}

#[tokio::test]
async fn silent_in_both_directions() {
    let behind = Behind::start().await;
    behind.silence().await;
    behind.worker.log.line("the watchdog gives the connection up").await;
    let since = Instant::now();
    behind.proxy.pass();
    behind.worker.log.line("no consumer").await;
    behind.recovers("the network was back", since).await;
}

/// Too long for the confirms, not for the consumer: its connection may live on.
#[tokio::test]
async fn silent_for_a_moment() {
    let behind = Behind::start().await;
    behind.silence().await;
    let since = Instant::now();
    behind.proxy.pass();
    behind.recovers("the network was back", since).await;
}

#[tokio::test]
async fn confirms_that_never_come() {
    let behind = Behind::start().await;
    behind.proxy.ways(Way::Pass, Way::Hang);
    let since = Instant::now();
    behind.worker.log.line("publisher has no connection").await;
    println!("noticed after {:.2} s", since.elapsed().as_secs_f64());
    let since = Instant::now();
    behind.proxy.pass();
    behind.recovers("answers came again", since).await;
}

#[tokio::test]
async fn slow() {
    let behind = Behind::start().await;
    let far = Way::Delay(Duration::from_millis(100));
    behind.proxy.ways(far, far);
    let books = behind.stage.balance(&behind.worker).await;
    assert_eq!(behind.worker.metric("broker_reconnects_total").await, 0.0, "slow is not gone");
    assert_eq!(books.repeats, 0);
    let Behind { mut worker, .. } = behind;
    worker.stop().await;
}
