//! Who tells whom: connections and gate to metrics and readiness, the ledger's health to the gate.

use crate::{
    amqp::publisher::{Link, Observer},
    gate::{Gate, Pause, View},
    health::{Cause, Readiness},
    ledger::Ledger,
    metrics::Metrics,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// How often a ledger that could not be written is tried again.
const LEDGER_EVERY: Duration = Duration::from_secs(1);

/// Ends a task when it is dropped.
pub(super) struct Stop(Vec<JoinHandle<()>>);

impl Stop {
    /// Ends this task when dropped.
    pub(super) fn on_drop(task: JoinHandle<()>) -> Self {
        Self(vec![task])
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// The two connections that the worker cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Deliveries and acks.
    Consumer,
    /// Events and dead letters.
    Publisher,
}

/// The state of both connections.
pub(super) struct Links {
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    states: Mutex<[State; 2]>,
}

#[derive(Clone, PartialEq)]
enum State {
    /// Not yet.
    New,
    Up,
    Down(String),
}

impl Links {
    /// Both are not there yet.
    pub(super) fn new(gate: Arc<Gate>, metrics: Arc<Metrics>, readiness: Readiness) -> Arc<Self> {
        Arc::new(Self { gate, metrics, readiness, states: Mutex::new([State::New, State::New]) })
    }

    /// Who one of the connections reports to.
    pub(super) fn observer(self: &Arc<Self>, side: Side) -> Observer {
        let links = Arc::clone(self);
        Arc::new(move |link| links.report(side, link))
    }

    fn report(&self, side: Side, link: Link) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut states[side as usize];
        if link == Link::Up && matches!(state, State::Down(_)) {
            self.metrics.broker_reconnects.inc();
        }
        if side == Side::Publisher {
            match &link {
                Link::Up => self.gate.resume(Pause::Broker),
                Link::Down(reason) => self.gate.suspend(Pause::Broker, reason),
            }
        }
        *state = match link {
            Link::Up => State::Up,
            Link::Down(reason) => State::Down(reason),
        };
        self.show(&states);
    }

    fn show(&self, states: &[State; 2]) {
        self.metrics.broker_connected.set(i64::from(states.iter().all(|state| *state == State::Up)));
        let down = states.iter().find_map(|state| match state {
            State::Down(reason) => Some(reason),
            State::New | State::Up => None,
        });
        match down {
            Some(reason) => self.readiness.set(Cause::Broker, reason.clone()),
            None => self.readiness.clear(Cause::Broker),
        }
    }
}

/// Starts the watchers of gate and ledger.
pub(super) fn spawn(
    gate: &Arc<Gate>,
    ledger: &Arc<dyn Ledger>,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
) -> Stop {
    let showing = show_gate(Arc::clone(gate), Arc::clone(metrics), readiness.clone());
    let mending = mend_ledger(Arc::clone(gate), Arc::clone(ledger));
    Stop(vec![tokio::spawn(showing), tokio::spawn(mending)])
}

/// Shows the gate on `/readyz` and in the metrics.
async fn show_gate(gate: Arc<Gate>, metrics: Arc<Metrics>, readiness: Readiness) {
    let mut views = gate.watch();
    loop {
        let view = views.borrow_and_update().clone();
        #[expect(clippy::cast_possible_wrap, reason = "at most a few thousand")]
        metrics.concurrency_limit.set(gate.limit() as i64);
        metrics.breaker_is(view.breaker);
        show_pauses(&view, &metrics, &readiness);
        if views.changed().await.is_err() {
            return;
        }
    }
}

fn show_pauses(view: &View, metrics: &Metrics, readiness: &Readiness) {
    let pauses = view.pauses();
    for pause in Pause::ALL {
        let detail = pauses.get(&pause);
        metrics.paused.with_label_values(&[pause.as_str()]).set(i64::from(detail.is_some()));
        let cause = match pause {
            Pause::Breaker => Cause::Breaker,
            Pause::Misconfigured => Cause::Misconfigured,
            Pause::Ledger => Cause::Ledger,
            // The connections themselves say so, and know more.
            Pause::Broker => continue,
        };
        match detail {
            Some(detail) => readiness.set(cause, detail.clone()),
            None => readiness.clear(cause),
        }
    }
}

/// Tries a ledger that could not be written until it can, then lets the worker go on.
async fn mend_ledger(gate: Arc<Gate>, ledger: Arc<dyn Ledger>) {
    let mut views = gate.watch();
    loop {
        let broken = views.borrow_and_update().suspended.contains_key(&Pause::Ledger);
        if !broken {
            if views.changed().await.is_err() {
                return;
            }
            continue;
        }
        match ledger.check().await {
            Ok(()) => gate.resume(Pause::Ledger),
            Err(_) => sleep(LEDGER_EVERY).await,
        }
    }
}

/// Says "not ready" as soon as the worker drains.
pub(super) fn tell_stopping(readiness: Readiness, drain: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        drain.cancelled().await;
        readiness.set(Cause::Stopping, "the worker has been told to stop");
    })
}
