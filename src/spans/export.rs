//! The one task that takes spans out of the queue and has them sent, and its end.
//!
//! Owns when batches go, how often one is tried, and how long the end may take. How a batch is sent is
//! `otlp`'s. Whatever the collector does, only this task waits for it.

use super::{
    otlp::{Failed, Otlp},
    queue::{OnDrop, Open},
};
use crate::retry::Schedule;
use opentelemetry_sdk::trace::SpanData;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How often the queue is looked at. Not woken for each span, it costs the same however many there are.
const EVERY: Duration = Duration::from_millis(200);
/// How many spans go at once.
const BATCH: usize = 512;
/// How often a batch is tried.
const TRIES: u32 = 5;
/// The longest wait between two tries, whatever the collector asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long the last spans may take once the work is done.
const LAST: Duration = Duration::from_secs(1);

/// The export under way.
pub struct Export {
    task: JoinHandle<()>,
    stop: CancellationToken,
    open: Open,
}

impl Export {
    /// Starts it. Needs a Tokio runtime.
    pub(super) fn start(
        spans: mpsc::Receiver<SpanData>,
        otlp: Otlp,
        waits: Schedule,
        open: Open,
        on_drop: OnDrop,
    ) -> Self {
        let stop = CancellationToken::new();
        let sender =
            Sender { spans, otlp, waits, open: open.clone(), on_drop, stop: stop.clone(), failing: false };
        Self { task: tokio::spawn(sender.run()), stop, open }
    }

    /// Sends what is left, within a second.
    pub async fn close(mut self) {
        self.stop.cancel();
        if timeout(LAST, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let left = self.open.count();
        if left > 0 {
            warn!(spans = left, "the last spans were not exported");
        }
    }
}

struct Sender {
    spans: mpsc::Receiver<SpanData>,
    otlp: Otlp,
    waits: Schedule,
    open: Open,
    on_drop: OnDrop,
    stop: CancellationToken,
    /// Whether the last try failed, so that an outage is two lines of log.
    failing: bool,
}

impl Sender {
    async fn run(mut self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stop.cancelled() => {}
            }
            self.empty().await;
        }
        // What ended while the last batch was on its way.
        self.empty().await;
    }

    /// Sends all that waits.
    async fn empty(&mut self) {
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let count = batch.len() as u64;
            let lost = self.send(batch).await;
            self.open.done(count);
            if lost > 0 {
                (self.on_drop)(lost);
            }
        }
    }

    /// Sends a batch, several times if need be: how many of its spans are lost.
    async fn send(&mut self, batch: Vec<SpanData>) -> u64 {
        let count = batch.len() as u64;
        let body = self.otlp.encode(batch);
        for failures in 1..=TRIES {
            let Failed { why, again } = match self.otlp.send(body.clone()).await {
                Ok(rejected) => {
                    self.works();
                    return rejected.min(count);
                }
                Err(failed) => failed,
            };
            self.fails(&why);
            let Some(at_least) = again.filter(|_| failures < TRIES && !self.stop.is_cancelled()) else {
                break;
            };
            let wait = self.waits.interval(failures).max(at_least).min(LONGEST_WAIT);
            debug!(?wait, "exporting the spans again");
            tokio::select! {
                () = sleep(wait) => {}
                // Once more, at once.
                () = self.stop.cancelled() => {}
            }
        }
        count
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            info!("spans are exported again");
        }
    }

    fn fails(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(why, "spans cannot be exported; the work goes on without");
        }
    }
}
