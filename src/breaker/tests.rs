//! The breaker, step by step.

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
fn a_call_is_a_probe_only_while_it_is_open() {
    let (mut breaker, now) = opened();
    let due = now + Duration::from_secs(5);
    assert!(!go(&mut Breaker::new(settings()), now).probe);
    let leave = probe(&mut breaker, due);
    breaker.report(due, leave, Signal::Good);
    assert_eq!(breaker.state(), State::Recovering { allowed: 1, good: 0, bad: 0 });
    assert!(!go(&mut breaker, due).probe);
}

#[test]
fn calls_that_hung_while_it_was_open_take_no_room_of_its_recovery() {
    let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
    let _hung = (go(&mut breaker, now), go(&mut breaker, now));
    (0..4).for_each(|_| call(&mut breaker, now, Signal::Bad));
    let due = now + Duration::from_secs(5);
    let leave = probe(&mut breaker, due);
    breaker.report(due, leave, Signal::Good);
    let leave = go(&mut breaker, due);
    assert_eq!(breaker.admit(due), Admission::Full);
    breaker.abandon(leave);
    assert!(!go(&mut breaker, due).probe, "a leave that came to nothing makes room");
}

#[test]
fn a_good_call_begins_the_count_of_failures_in_a_row_anew() {
    let (mut breaker, mut now) = (Breaker::new(settings()), Instant::now());
    for signal in [Signal::Bad, Signal::Good, Signal::Bad, Signal::Bad, Signal::Bad] {
        now += Duration::from_secs(3600);
        call(&mut breaker, now, signal);
    }
    assert_eq!(breaker.state(), State::Closed);
    call(&mut breaker, now, Signal::Bad);
    assert_eq!(breaker.state().as_str(), "open");
}

#[test]
fn the_window_holds_what_is_just_as_old_as_it_is_long() {
    let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
    (0..2).for_each(|_| call(&mut breaker, now, Signal::Bad));
    let later = now + Duration::from_secs(10);
    call(&mut breaker, later, Signal::Good);
    call(&mut breaker, later, Signal::Bad);
    assert_eq!(breaker.state().as_str(), "open");
}

#[test]
fn exactly_the_rate_opens_it() {
    let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
    for signal in [Signal::Bad, Signal::Good, Signal::Good, Signal::Bad] {
        call(&mut breaker, now, signal);
    }
    assert_eq!(breaker.state().as_str(), "open");
}

#[test]
fn in_recovery_more_failures_than_good_calls_open_it_again() {
    let (mut breaker, now) = opened();
    let due = now + Duration::from_secs(5);
    let leave = probe(&mut breaker, due);
    breaker.report(due, leave, Signal::Good);
    let step = |good, bad| State::Recovering { allowed: 2, good, bad };
    for (signal, expected) in
        [(Signal::Good, step(0, 0)), (Signal::Good, step(1, 0)), (Signal::Bad, step(1, 1))]
    {
        call(&mut breaker, due, signal);
        assert_eq!(breaker.state(), expected);
    }
    call(&mut breaker, due, Signal::Bad);
    let State::Open { trip, probe_at, .. } = breaker.state() else { panic!("it must be open") };
    assert_eq!((trip, probe_at), (Trip::Failing, due + Duration::from_secs(5)));
}

#[test]
fn closed_again_it_has_forgotten_what_opened_it() {
    let (mut breaker, now) = opened();
    let due = now + Duration::from_secs(5);
    let leave = probe(&mut breaker, due);
    breaker.report(due, leave, Signal::Good);
    (0..7).for_each(|_| call(&mut breaker, due, Signal::Good));
    assert_eq!(breaker.state(), State::Closed);
    // One in four, and then four in a row.
    for signal in [Signal::Good, Signal::Good, Signal::Good, Signal::Bad] {
        call(&mut breaker, due, signal);
    }
    let later = due + Duration::from_secs(11);
    call(&mut breaker, later, Signal::Good);
    (0..3).for_each(|n| {
        assert_eq!(breaker.state(), State::Closed, "after {n}");
        call(&mut breaker, later + Duration::from_secs(11 * (n + 1)), Signal::Bad);
    });
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_probe_that_reaches_a_failing_imin_says_that_the_key_is_right() {
    let trip_after = |first: Signal, second: Signal| {
        let (mut breaker, now) = (Breaker::new(settings()), Instant::now());
        (0..4).for_each(|_| {
            if breaker.state() == State::Closed {
                call(&mut breaker, now, first);
            }
        });
        let due = now + Duration::from_secs(10);
        let leave = probe(&mut breaker, due);
        breaker.report(due, leave, second);
        let State::Open { trip, .. } = breaker.state() else { panic!("it must be open") };
        trip
    };
    assert_eq!(trip_after(Signal::Misconfigured(401), Signal::Bad), Trip::Failing);
    assert_eq!(trip_after(Signal::Misconfigured(401), Signal::Neutral), Trip::Misconfigured(401));
    assert_eq!(trip_after(Signal::Bad, Signal::Neutral), Trip::Failing);
    assert_eq!(trip_after(Signal::Bad, Signal::Misconfigured(403)), Trip::Misconfigured(403));
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
