//! The loop: a permit, a delivery, a task that owns both; and the drain.
//!
//! Owns how many deliveries are under way and what happens to the flow when the gate pauses it. What
//! happens to one event is `pipeline`'s.

use crate::{
    broker::{Delivery, Source},
    gate::Flow,
    pipeline::Pipeline,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How often a paused worker looks whether the queue has something to probe with.
const PROBE_POLL: Duration = Duration::from_millis(500);
/// How long it leaves the next probe to the message that made the last one.
const PROBE_CALM: Duration = Duration::from_millis(100);
/// How long the rest may take once the grace is over: to give messages back.
const AFTER_GRACE: Duration = Duration::from_secs(3);

/// The worker.
pub struct Worker {
    pipeline: Arc<Pipeline>,
    permits: Arc<Semaphore>,
    /// Every task, those included that give messages back.
    tasks: TaskTracker,
    grace: Duration,
}

impl Worker {
    /// A worker for `concurrency` events at a time, which may take `grace` to finish at the end.
    pub fn new(pipeline: Arc<Pipeline>, concurrency: usize, grace: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(concurrency));
        Self { pipeline, permits, tasks: TaskTracker::new(), grace }
    }

    /// Works until it is told to drain, then finishes, and closes the source.
    pub async fn run(&self, source: &mut dyn Source) {
        let mut flow = self.pipeline.gate.flow();
        let drain = self.pipeline.shutdown.drain.clone();
        while !drain.is_cancelled() {
            let now = *flow.borrow_and_update();
            tokio::select! {
                () = drain.cancelled() => {}
                () = self.follow(now, source, &mut flow) => {}
            }
        }
        self.drain(source).await;
    }

    /// Does what the flow says until it changes.
    async fn follow(&self, now: Flow, source: &mut dyn Source, flow: &mut watch::Receiver<Flow>) {
        match now {
            Flow::Open => {
                self.pipeline.gate.takes(true);
                let taking = async {
                    let permit = self.permit().await;
                    (source.next().await, permit)
                };
                tokio::select! {
                    biased;
                    _ = flow.changed() => {}
                    (delivery, permit) = taking => self.spawn(delivery, permit),
                }
            }
            Flow::Hold => drop(flow.changed().await),
            Flow::Paused { wants_probe } => {
                self.give_back(source).await;
                if wants_probe {
                    self.probe(source, flow).await;
                } else {
                    drop(flow.changed().await);
                }
            }
        }
    }

    async fn probe(&self, source: &mut dyn Source, flow: &mut watch::Receiver<Flow>) {
        if timeout(PROBE_CALM, flow.changed()).await.is_ok() {
            return;
        }
        let permit = self.permit().await;
        match source.one().await {
            Some(delivery) => {
                self.spawn(delivery, permit);
                let _ = timeout(PROBE_POLL, flow.changed()).await;
            }
            None => {
                tokio::select! {
                    _ = flow.changed() => {}
                    () = sleep(PROBE_POLL) => {}
                }
            }
        }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            // Closed by nobody.
            Err(_) => std::future::pending().await,
        }
    }

    fn spawn(&self, delivery: Delivery, permit: OwnedSemaphorePermit) {
        let pipeline = Arc::clone(&self.pipeline);
        let flight = Flight::start(&pipeline);
        self.tasks.spawn(async move {
            let _held = (permit, flight);
            pipeline.process(delivery).await;
        });
    }

    /// Stops the flow and gives back what was fetched ahead.
    async fn give_back(&self, source: &mut dyn Source) {
        let fetched = source.pause().await;
        self.pipeline.gate.takes(false);
        if !fetched.is_empty() {
            info!(messages = fetched.len(), "giving back what was fetched ahead");
        }
        for delivery in fetched {
            let pipeline = Arc::clone(&self.pipeline);
            self.tasks.spawn(async move { pipeline.release(delivery).await });
        }
    }

    /// Stops taking, finishes what is under way within the grace, releases the rest, closes the source.
    async fn drain(&self, source: &mut dyn Source) {
        info!(grace = ?self.grace, "draining");
        let abort = self.pipeline.shutdown.abort.clone();
        let finishing = async {
            self.give_back(source).await;
            self.tasks.close();
            self.tasks.wait().await;
        };
        let done = tokio::select! {
            done = timeout(self.grace, finishing) => done.is_ok(),
            () = abort.cancelled() => false,
        };
        if !done {
            warn!("not everything was finished in time, letting go of the rest");
            abort.cancel();
            let _ = timeout(AFTER_GRACE, self.tasks.wait()).await;
        }
        source.close().await;
        info!("drained");
    }
}

/// Counts an event as in flight for as long as it lives.
struct Flight(Arc<Pipeline>);

impl Flight {
    fn start(pipeline: &Arc<Pipeline>) -> Self {
        pipeline.metrics.in_flight.inc();
        Self(Arc::clone(pipeline))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

#[cfg(test)]
mod tests;
