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
            State::Open { trip, .. } if leave.probe => match signal {
                Signal::Good => self.state = State::Recovering { allowed: 1, good: 0, bad: 0 },
                _ => self.open(now, trip_after_probe(trip, signal)),
            },
            State::Open { .. } => {}
        }
    }

    /// Nothing came of a leave: there was no call.
    pub fn abandon(&mut self, leave: Leave) {
        if leave.epoch != self.epoch {
            return;
        }
        self.under_way -= 1;
        if let State::Open { probing, .. } = &mut self.state
            && leave.probe
        {
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
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            failure_rate: 0.5,
            window: Duration::from_secs(10),
            min_calls: 4,
            probe_interval: Duration::from_secs(5),
            misconfigured_probe_interval: Duration::from_secs(10),
            full: 8,
        }
    }

    fn go(breaker: &mut Breaker, now: Instant) -> Leave {
        match breaker.admit(now) {
            Admission::Go(leave) => leave,
            other => panic!("no leave: {other:?}"),
        }
    }

    /// A call that ends at once.
    fn call(breaker: &mut Breaker, now: Instant, signal: Signal) {
        let leave = go(breaker, now);
        breaker.report(now, leave, signal);
    }

    fn probe(breaker: &mut Breaker, now: Instant) -> Leave {
        let leave = go(breaker, now);
        assert!(leave.probe);
        leave
    }

    fn opened() -> (Breaker, Instant) {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        for _ in 0..4 {
            call(&mut breaker, now, Signal::Bad);
        }
        (breaker, now)
    }

    #[test]
    fn it_opens_on_the_rate_and_not_before_the_minimum() {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        for signal in [Signal::Good, Signal::Bad, Signal::Bad] {
            call(&mut breaker, now, signal);
            assert_eq!(breaker.state(), State::Closed);
        }
        call(&mut breaker, now, Signal::Bad);
        assert_eq!(breaker.state().as_str(), "open");
    }

    #[test]
    fn a_trickle_of_failures_opens_it_however_slowly_they_come() {
        let (mut breaker, mut now) = (Breaker::new(settings()), Instant::now());
        for _ in 0..4 {
            now += Duration::from_secs(3600);
            call(&mut breaker, now, Signal::Bad);
        }
        assert_eq!(breaker.state().as_str(), "open");
    }

    #[test]
    fn failures_of_messages_and_of_pace_never_open_it() {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        let rejected = Answer::Rejected { status: 422, kind: None, description: None };
        let limited = Answer::NotDone { cause: NotDone::Status(429), retry_after: None };
        for _ in 0..100 {
            call(&mut breaker, now, Signal::from(&rejected));
            call(&mut breaker, now, Signal::from(&limited));
        }
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        for _ in 0..3 {
            call(&mut breaker, now, Signal::Bad);
        }
        let later = now + Duration::from_secs(11);
        for signal in [Signal::Good, Signal::Good, Signal::Good, Signal::Bad] {
            call(&mut breaker, later, signal);
        }
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn open_it_lets_one_probe_pass_at_a_time() {
        let (mut breaker, now) = opened();
        let due = now + Duration::from_secs(5);
        assert_eq!(breaker.admit(now), Admission::Closed(Some(due)));
        let leave = probe(&mut breaker, due);
        assert_eq!(breaker.admit(due), Admission::Closed(None));
        breaker.report(due, leave, Signal::Bad);
        assert_eq!(breaker.admit(due), Admission::Closed(Some(due + Duration::from_secs(5))));
    }

    #[test]
    fn it_comes_back_in_steps() {
        let (mut breaker, now) = opened();
        let due = now + Duration::from_secs(5);
        let leave = probe(&mut breaker, due);
        breaker.report(due, leave, Signal::Good);
        let mut steps = vec![];
        while let State::Recovering { allowed, .. } = breaker.state() {
            let leaves: Vec<_> = (0..allowed).map(|_| go(&mut breaker, due)).collect();
            assert_eq!(breaker.admit(due), Admission::Full);
            steps.push(allowed);
            leaves.into_iter().for_each(|leave| breaker.report(due, leave, Signal::Good));
        }
        assert_eq!(steps, [1, 2, 4]);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn a_wrong_key_opens_it_at_the_first_sight() {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        let straggler = go(&mut breaker, now);
        call(&mut breaker, now, Signal::Misconfigured(401));
        let State::Open { trip, probe_at, .. } = breaker.state() else { panic!("it must be open") };
        assert_eq!((trip, probe_at), (Trip::Misconfigured(401), now + Duration::from_secs(10)));
        breaker.report(now + Duration::from_secs(9), straggler, Signal::Misconfigured(401));
        assert!(probe(&mut breaker, now + Duration::from_secs(10)).probe, "a straggler delays no probe");
    }

    #[test]
    fn a_call_that_hung_since_before_it_opened_does_not_open_it_again() {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        let straggler = go(&mut breaker, now);
        (0..4).for_each(|_| call(&mut breaker, now, Signal::Bad));
        let due = now + Duration::from_secs(5);
        let leave = probe(&mut breaker, due);
        breaker.report(due, leave, Signal::Good);
        for signal in [Signal::Bad, Signal::Misconfigured(401)] {
            breaker.report(due, straggler, signal);
            assert_eq!(breaker.state().as_str(), "half_open");
        }
    }

    #[test]
    fn a_mended_key_is_tried_at_once_even_while_a_probe_of_the_old_one_is_under_way() {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        call(&mut breaker, now, Signal::Misconfigured(401));
        let due = now + Duration::from_secs(10);
        let old = probe(&mut breaker, due);
        breaker.probe_now(due);
        let new = probe(&mut breaker, due);
        breaker.report(due, old, Signal::Misconfigured(401));
        breaker.abandon(old);
        assert_eq!(breaker.admit(due), Admission::Closed(None), "the new one is under way still");
        breaker.report(due, new, Signal::Good);
        assert_eq!(breaker.state().as_str(), "half_open");
    }

    #[test]
    fn an_abandoned_probe_makes_room_for_another() {
        let (mut breaker, now) = opened();
        let due = now + Duration::from_secs(5);
        let leave = probe(&mut breaker, due);
        breaker.abandon(leave);
        assert!(probe(&mut breaker, due).probe);
    }
}
