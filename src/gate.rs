//! The gate before every call: breaker, suspensions, pace, retry budget and the limit on calls at a time.
//!
//! Owns waiting for a place, and the one answer to "may the worker take messages now". The rules
//! themselves are pure and live in `breaker`, `limit` and `pace`.

use crate::{
    breaker::{Admission, Breaker, Leave, Settings as BreakerSettings, Signal, State, Trip},
    limit::Limit,
    outcome::{Answer, NotDone},
    pace::{Budget, Pace},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

/// The numbers of the gate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The breaker's.
    pub breaker: BreakerSettings,
    /// The most calls at a time.
    pub concurrency: usize,
    /// Whether the limit on calls at a time adapts.
    pub adaptive: bool,
    /// Calls a second, if bounded.
    pub rate_limit: Option<f64>,
    /// Retries as a share of calls.
    pub retry_budget: f64,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Duration,
}

/// How long the worker holds still after a 429 that does not say how long.
const PAUSE_AFTER_429: Duration = Duration::from_secs(1);

/// What holds the whole worker up: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pause {
    /// imin fails.
    Breaker,
    /// imin refuses the key, or the URL is wrong.
    Misconfigured,
    /// The ledger cannot be written.
    Ledger,
    /// There is no connection to publish on.
    Broker,
}

impl Pause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Breaker, Self::Misconfigured, Self::Ledger, Self::Broker];

    /// As labels and `/readyz` say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Misconfigured => "misconfigured",
            Self::Ledger => "ledger",
            Self::Broker => "broker",
        }
    }
}

/// Whether messages are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// As many as there is room for.
    Open,
    /// None, and none can be given back either: there is no connection to publish on.
    Hold,
    /// None. `wants_probe`: but one, to try imin with.
    Paused {
        /// Nobody waits who could be the next probe.
        wants_probe: bool,
    },
}

/// What an operator wants to know, published at every change.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Why the breaker is open, if it is.
    pub trip: Option<Trip>,
    /// What else holds the worker up, and in which words.
    pub suspended: BTreeMap<Pause, String>,
    /// The breaker's state, as its label says it.
    pub breaker: &'static str,
}

/// Why there is no place, and will be none soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The worker is paused: give the message back.
    Paused,
    /// The retry budget is spent: come back later, and leave the room to first calls.
    Budget,
}

/// The gate.
pub struct Gate {
    settings: Settings,
    inner: Mutex<Inner>,
    /// One waiter for a place at a time.
    place: Notify,
    /// Every waiter: the rules have changed.
    changed: Notify,
    flow: watch::Sender<Flow>,
    view: watch::Sender<View>,
    /// Whether the worker has the broker send it messages.
    taking: watch::Sender<bool>,
}

struct Inner {
    breaker: Breaker,
    limit: Limit,
    pace: Pace,
    budget: Budget,
    suspended: BTreeMap<Pause, String>,
    under_way: usize,
    /// Somebody waits to be the next probe.
    candidate: bool,
    /// Somebody watches the clock for the next call that the pace allows; the others wait to be told.
    pacing: bool,
}

/// What a waiter is told.
enum Try {
    Go(Leave),
    Wait(Option<Instant>),
    Leave(Refused),
}

/// A place to call from. Dropped without a report, it says nothing about imin.
#[must_use = "an unused place is lost to others until it is dropped"]
pub struct Place {
    gate: Arc<Gate>,
    leave: Leave,
    reported: bool,
}

impl Gate {
    /// An open gate.
    pub fn new(settings: Settings) -> Arc<Self> {
        let inner = Inner {
            breaker: Breaker::new(settings.breaker),
            limit: Limit::new(settings.concurrency, settings.adaptive),
            pace: Pace::new(settings.rate_limit),
            budget: Budget::new(settings.retry_budget),
            suspended: BTreeMap::new(),
            under_way: 0,
            candidate: false,
            pacing: false,
        };
        let (flow, view) = (watch::Sender::new(inner.flow()), watch::Sender::new(inner.view()));
        let (place, changed, taking) = (Notify::new(), Notify::new(), watch::Sender::new(false));
        Arc::new(Self { settings, inner: Mutex::new(inner), place, changed, flow, view, taking })
    }

    /// Whether messages are taken, now and at every change.
    pub fn flow(&self) -> watch::Receiver<Flow> {
        self.flow.subscribe()
    }

    /// Notes whether the worker has the broker send it messages.
    pub fn takes(&self, taking: bool) {
        self.taking.send_if_modified(|known| std::mem::replace(known, taking) != taking);
    }

    /// Waits until the broker sends no more messages: one that is given back before comes straight back.
    /// Or until messages are taken again.
    pub async fn stopped(&self) {
        let (mut taking, mut flow) = (self.taking.subscribe(), self.flow.subscribe());
        tokio::select! {
            _ = taking.wait_for(|taking| !taking) => {}
            _ = flow.wait_for(|flow| *flow == Flow::Open) => {}
        }
    }

    /// The most calls at a time now.
    pub fn limit(&self) -> usize {
        self.lock().limit.get()
    }

    /// What the gate looks like, now and at every change.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Holds the worker up for a reason of its own.
    pub fn suspend(&self, pause: Pause, detail: &str) {
        if self.change(|inner| inner.suspended.insert(pause, detail.to_owned())).is_none() {
            warn!(cause = pause.as_str(), detail, "paused");
        }
    }

    /// Takes that reason away.
    pub fn resume(&self, pause: Pause) {
        if self.change(|inner| inner.suspended.remove(&pause)).is_some() {
            info!(cause = pause.as_str(), "resumed");
        }
    }

    /// Lets the next probe go at once: the key or the URL may have been mended.
    pub fn probe_now(&self) {
        self.change(|inner| inner.breaker.probe_now(Instant::now()));
        // Nothing that shows has changed, but whoever waits for the probe's time waits for another now.
        self.changed.notify_waiters();
    }

    /// Waits for a place to call from. While the worker is paused, one waiter stays to be the next
    /// probe and the others are told to give their messages back; while only the connection for
    /// publishing is gone, all wait, since none could be given back. A retry beyond the budget is sent
    /// away instead of waiting, since it would wait in the way of those first calls that refill it.
    pub async fn enter(self: &Arc<Self>, retry: bool) -> Result<Place, Refused> {
        let mut seat = Seat { gate: self, taken: false, pacing: false };
        let (mut waited, mut told) = (false, false);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let paced = seat.pacing;
            let tried = self.try_enter(retry, &mut seat);
            // There may be room for another who waits, or whoever was told of a place cannot use it.
            let pass_on = match tried {
                Try::Go(_) => waited,
                Try::Leave(_) => told || paced,
                Try::Wait(until) => told && until.is_some(),
            };
            if pass_on {
                self.place.notify_one();
            }
            let until = match tried {
                Try::Go(leave) => {
                    let gate = Arc::clone(self);
                    return Ok(Place { gate, leave, reported: false });
                }
                Try::Leave(refused) => return Err(refused),
                Try::Wait(until) => until,
            };
            (waited, told) = (true, false);
            tokio::select! {
                () = changed => {}
                () = self.place.notified(), if until.is_none() => told = true,
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    fn try_enter(&self, retry: bool, seat: &mut Seat<'_>) -> Try {
        let mut inner = self.lock();
        let now = Instant::now();
        if std::mem::take(&mut seat.pacing) {
            inner.pacing = false;
        }
        let open = matches!(inner.breaker.state(), State::Open { .. });
        let suspended = inner.suspended.keys().any(|pause| *pause != Pause::Broker);
        if suspended || (open && inner.candidate && !seat.taken) {
            return Try::Leave(Refused::Paused);
        }
        if open && !seat.taken {
            (seat.taken, inner.candidate) = (true, true);
            self.publish(&inner);
        }
        // A probe is one call, whatever still hangs from before.
        if !inner.suspended.is_empty() || (!open && inner.under_way >= inner.limit.get()) {
            return Try::Wait(None);
        }
        if let Some(until) = inner.pace.wait_until(now) {
            if inner.pacing {
                return Try::Wait(None);
            }
            (seat.pacing, inner.pacing) = (true, true);
            return Try::Wait(Some(until));
        }
        let leave = match inner.breaker.admit(now) {
            Admission::Closed(until) => return Try::Wait(until),
            Admission::Full => return Try::Wait(None),
            Admission::Go(leave) => leave,
        };
        if retry && !leave.probe && !inner.budget.withdraw(now) {
            inner.breaker.abandon(leave);
            return Try::Leave(Refused::Budget);
        }
        if !retry {
            inner.budget.deposit();
        }
        inner.pace.go(now);
        inner.under_way += 1;
        Try::Go(leave)
    }

    fn leave(&self, place: &Place, answer: Option<(&Answer, Duration)>) {
        let now = Instant::now();
        let before = self.change(|inner| {
            let before = inner.breaker.state();
            let under_way = inner.under_way;
            inner.under_way -= 1;
            match answer {
                Some((answer, latency)) => {
                    inner.learn(answer, latency, under_way);
                    inner.breaker.report(now, place.leave, Signal::from(answer));
                    if let Some(wait) = self.hold_after(answer) {
                        inner.pace.hold(now, wait);
                    }
                }
                None => inner.breaker.abandon(place.leave),
            }
            (before, inner.breaker.state())
        });
        announce(before.0, before.1);
        self.place.notify_one();
    }

    /// A 429, or a 503 that says for how long, slows the whole worker.
    fn hold_after(&self, answer: &Answer) -> Option<Duration> {
        let Answer::NotDone { cause: NotDone::Status(status), retry_after } = answer else {
            return None;
        };
        let wait = match (status, retry_after) {
            (_, Some(wait)) => *wait,
            (429, None) => PAUSE_AFTER_429,
            _ => return None,
        };
        Some(wait.min(self.settings.retry_after_max))
    }

    /// Changes the rules, and tells everyone whom the change concerns.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let told = self.publish(&inner);
        drop(inner);
        if told {
            self.changed.notify_waiters();
        }
        result
    }

    /// Shows flow and view where they changed; whether the rules for those who wait did.
    fn publish(&self, inner: &Inner) -> bool {
        let flow = inner.flow();
        let flows = self.flow.send_if_modified(|shown| std::mem::replace(shown, flow) != flow);
        let same = {
            let shown = self.view.borrow();
            shown.breaker == inner.breaker.state().as_str()
                && shown.suspended == inner.suspended
                && shown.trip == inner.trip()
        };
        if !same {
            self.view.send_replace(inner.view());
        }
        flows || !same
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a waiter does for all: it is the next probe, or watches the clock. Another may as soon as
/// this one is gone.
struct Seat<'a> {
    gate: &'a Gate,
    taken: bool,
    pacing: bool,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if self.taken {
            self.gate.change(|inner| inner.candidate = false);
        }
        if self.pacing {
            self.gate.lock().pacing = false;
            self.gate.place.notify_one();
        }
    }
}

impl Inner {
    fn learn(&mut self, answer: &Answer, latency: Duration, under_way: usize) {
        match answer {
            Answer::NotDone { .. } | Answer::Ambiguous { .. } => {
                self.limit.overloaded(under_way);
                self.budget.learn(true);
            }
            Answer::Misconfigured { .. } => {}
            Answer::Created(_) | Answer::Unusable { .. } | Answer::Rejected { .. } => {
                self.limit.answered(latency, under_way);
                self.budget.learn(false);
            }
        }
    }

    fn trip(&self) -> Option<Trip> {
        match self.breaker.state() {
            State::Open { trip, .. } => Some(trip),
            _ => None,
        }
    }

    fn flow(&self) -> Flow {
        match self.breaker.state() {
            State::Open { probing, .. } => {
                Flow::Paused { wants_probe: self.suspended.is_empty() && !self.candidate && !probing }
            }
            _ if self.suspended.is_empty() => Flow::Open,
            _ if self.suspended.keys().all(|pause| *pause == Pause::Broker) => Flow::Hold,
            _ => Flow::Paused { wants_probe: false },
        }
    }

    fn view(&self) -> View {
        View { breaker: self.breaker.state().as_str(), trip: self.trip(), suspended: self.suspended.clone() }
    }
}

impl View {
    /// Everything that holds the worker up, and in which words.
    pub fn pauses(&self) -> BTreeMap<Pause, String> {
        let mut pauses = self.suspended.clone();
        match self.trip {
            None => None,
            Some(Trip::Failing) => {
                pauses.insert(Pause::Breaker, "imin fails; one call now and then tries it".to_owned())
            }
            Some(Trip::Misconfigured(status)) => pauses.insert(
                Pause::Misconfigured,
                format!("imin answers {status}: check IMIN_API_KEY and IMIN_BASE_URL; resumes by itself"),
            ),
        };
        pauses
    }
}

/// One line for each change of the breaker.
fn announce(before: State, after: State) {
    if before.as_str() == after.as_str() {
        return;
    }
    match after {
        State::Closed => info!("breaker closed: imin works"),
        State::Recovering { .. } => info!("breaker half open: a probe succeeded, coming back in steps"),
        State::Open { trip: Trip::Failing, .. } => warn!(cause = "failing", "breaker open: imin fails"),
        State::Open { trip: Trip::Misconfigured(status), .. } => warn!(
            cause = "misconfigured",
            status,
            "breaker open: imin refuses the key, or the URL is wrong; check IMIN_API_KEY and IMIN_BASE_URL"
        ),
    }
}

impl Place {
    /// Whether the call is a probe: its failure is not the message's.
    pub fn probe(&self) -> bool {
        self.leave.probe
    }

    /// Tells the gate what came of the call, and how long imin took for it.
    pub fn report(mut self, answer: &Answer, latency: Duration) {
        self.reported = true;
        self.gate.leave(&self, Some((answer, latency)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.reported {
            self.gate.leave(self, None);
        }
    }
}

#[cfg(test)]
mod tests;
