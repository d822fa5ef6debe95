//! The circuit breaker: a pure state machine over the results of calls.
//!
//! Closed, everything passes. It opens on the failure rate over a window with a minimum of calls, on
//! as many failures in a row however long they take (a trickle of messages must not be given up one
//! by one while imin is down), and at the first sight of a wrong key or URL. Open, one probe passes
//! now and then. After a good probe it recovers in steps: one call at a time, two, four, and so on.
//! The pattern is Nygard's, "Release It!", 2nd edition, chapter 5.

use crate::outcome::{Answer, NotDone};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// The numbers of the breaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The share of failed calls that opens it.
    pub failure_rate: f64,
    /// The time over which calls are counted.
    pub window: Duration,
    /// How many calls must have been made before the share says anything.
    pub min_calls: u32,
    /// The time between probes.
    pub probe_interval: Duration,
    /// The time between probes while the key or URL is wrong.
    pub misconfigured_probe_interval: Duration,
    /// The number of calls at a time at which recovery is complete.
    pub full: usize,
}

/// Why it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// imin fails.
    Failing,
    /// imin refuses the key, or the URL leads elsewhere; the HTTP status.
    Misconfigured(u16),
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything passes.
    Closed,
    /// One probe passes at `probe_at`; `probing` while one is under way.
    Open {
        /// Why.
        trip: Trip,
        /// When the next probe may go.
        probe_at: Instant,
        /// Whether one is under way.
        probing: bool,
    },
    /// So many calls at a time may be under way.
    Recovering {
        /// The bound.
        allowed: usize,
        /// Good answers at this step.
        good: usize,
        /// Failures at this step.
        bad: usize,
    },
}

impl State {
    /// The label of `breaker_state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::Recovering { .. } => "half_open",
        }
    }
}

/// What an answer says about imin, as opposed to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// imin works: it made the account, or refused this very customer.
    Good,
    /// imin does not work.
    Bad,
    /// Nothing: too many requests is a matter of pace.
    Neutral,
    /// The key or the URL is wrong.
    Misconfigured(u16),
}

impl From<&Answer> for Signal {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Created(_) | Answer::Unusable { .. } | Answer::Rejected { .. } => Self::Good,
            Answer::NotDone { cause: NotDone::Status(429), .. } => Self::Neutral,
            Answer::NotDone { .. } | Answer::Ambiguous { .. } => Self::Bad,
            Answer::Misconfigured { status } => Self::Misconfigured(*status),
        }
    }
}

/// Whether a call may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may. The leave must be reported or abandoned.
    Go(Leave),
    /// Recovery allows no more at a time: wait for one to end.
    Full,
    /// Open: the next probe goes then; `None` while one is under way.
    Closed(Option<Instant>),
}

/// The breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// How often the breaker has opened, or heard that what was wrong is mended.
    epoch: u64,
    /// Calls under way of this epoch.
    under_way: usize,
    calls: VecDeque<(Instant, bool)>,
    failed: u32,
    in_a_row: u32,
}

/// A call's leave to go. Its result counts while nothing has changed since that makes it old news: a
/// call that hung since before an outage must not open the breaker again after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// It is a probe: its failure is no message's fault.
    pub probe: bool,
    epoch: u64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed,
            epoch: 0,
            under_way: 0,
            calls: VecDeque::new(),
            failed: 0,
            in_a_row: 0,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Asks for a call.
    pub fn admit(&mut self, now: Instant) -> Admission {
        let probe = match &mut self.state {
            State::Closed => false,
            State::Recovering { allowed, .. } if self.under_way < *allowed => false,
            State::Recovering { .. } => return Admission::Full,
            State::Open { probing: true, .. } => return Admission::Closed(None),
            State::Open { probe_at, .. } if now < *probe_at => return Admission::Closed(Some(*probe_at)),
            State::Open { probing, .. } => {
                *probing = true;
                true
            }
        };
        self.under_way += 1;
        Admission::Go(Leave { probe, epoch: self.epoch })
    }

    /// Takes a call's result. Results of calls that went out before it opened change nothing.
    pub fn report(&mut self, now: Instant, leave: Leave, signal: Signal) {
        if leave.epoch != self.epoch {
            return;
        }
        self.under_way -= 1;
        if let Signal::Misconfigured(status) = signal {
            self.open(now, Trip::Misconfigured(status));
            return;
        }
        match self.state {
            State::Closed => self.count(now, signal),
            State::Recovering { .. } => self.step(now, signal),
            // The probe: what went out before it opened is of an older epoch.
            State::Open { trip, .. } => match signal {
                Signal::Good => self.state = State::Recovering { allowed: 1, good: 0, bad: 0 },
                _ => self.open(now, trip_after_probe(trip, signal)),
            },
        }
    }

    /// Nothing came of a leave: there was no call.
    pub fn abandon(&mut self, leave: Leave) {
        if leave.epoch != self.epoch {
            return;
        }
        self.under_way -= 1;
        if let State::Open { probing, .. } = &mut self.state {
            *probing = false;
        }
    }

    /// Lets the next probe go now: what was wrong may have been mended. Calls under way say nothing of that.
    pub fn probe_now(&mut self, now: Instant) {
        self.turn();
        if let State::Open { probe_at, probing, .. } = &mut self.state {
            (*probe_at, *probing) = (now, false);
        }
    }

    /// Whatever is under way is old news from now on.
    fn turn(&mut self) {
        self.epoch += 1;
        self.under_way = 0;
    }

    fn count(&mut self, now: Instant, signal: Signal) {
        let failed = match signal {
            Signal::Good => false,
            Signal::Bad => true,
            Signal::Neutral | Signal::Misconfigured(_) => return,
        };
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        self.calls.push_back((now, failed));
        self.failed += u32::from(failed);
        while let Some(&(at, failed)) = self.calls.front()
            && now.duration_since(at) > self.settings.window
        {
            self.calls.pop_front();
            self.failed -= u32::from(failed);
        }
        if failed && (self.too_many() || self.in_a_row >= self.settings.min_calls) {
            self.open(now, Trip::Failing);
        }
    }

    fn too_many(&self) -> bool {
        let made = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        made >= self.settings.min_calls
            && f64::from(self.failed) >= self.settings.failure_rate * f64::from(made)
    }

    fn step(&mut self, now: Instant, signal: Signal) {
        let State::Recovering { allowed, good, bad } = &mut self.state else {
            return;
        };
        match signal {
            Signal::Good => *good += 1,
            Signal::Bad => *bad += 1,
            Signal::Neutral | Signal::Misconfigured(_) => return,
        }
        if *bad > *good {
            self.open(now, Trip::Failing);
        } else if *good >= *allowed {
            *allowed *= 2;
            (*good, *bad) = (0, 0);
            if *allowed >= self.settings.full {
                self.close();
            }
        }
    }

    fn open(&mut self, now: Instant, trip: Trip) {
        let wait = match trip {
            Trip::Failing => self.settings.probe_interval,
            Trip::Misconfigured(_) => self.settings.misconfigured_probe_interval,
        };
        self.turn();
        self.state = State::Open { trip, probe_at: now + wait, probing: false };
        self.forget();
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.forget();
    }

    fn forget(&mut self) {
        self.calls.clear();
        self.failed = 0;
        self.in_a_row = 0;
    }
}

/// A probe that reached imin and failed there says that the key is right again.
fn trip_after_probe(before: Trip, signal: Signal) -> Trip {
    if signal == Signal::Bad { Trip::Failing } else { before }
}

#[cfg(test)]
mod tests;
