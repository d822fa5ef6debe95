//! The whole table of decisions, written out, and what no value of its arguments may change.

use super::*;
use proptest::prelude::*;

const MAX_ATTEMPTS: u32 = 3;
const MAX_ELAPSED: Duration = Duration::from_secs(600);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

fn policy(ambiguous: Ambiguous) -> Policy {
    Policy {
        max_attempts: MAX_ATTEMPTS,
        max_elapsed: MAX_ELAPSED,
        ambiguous,
        retry_after_max: RETRY_AFTER_MAX,
    }
}

/// The first attempt, just made.
const FIRST: Spent = Spent { attempts: 1, elapsed: Duration::ZERO, probe: false };
/// The last attempt that the policy allows for.
const LAST: Spent = Spent { attempts: MAX_ATTEMPTS, elapsed: Duration::ZERO, probe: false };

fn created() -> Answer {
    Answer::Created(Account { identifier: "abc".into(), id: None })
}

fn rejected() -> Answer {
    Answer::Rejected { status: 422, kind: Some("GoneError".into()), description: None }
}

fn not_done(cause: NotDone) -> Answer {
    Answer::NotDone { cause, retry_after: None }
}

fn ambiguous(cause: Ambiguity) -> Answer {
    Answer::Ambiguous { cause }
}

fn again(cause: Cause, spent: bool) -> Disposition {
    Disposition::Retry { cause, at_least: Duration::ZERO, spent }
}

fn called(answer: Answer, spent: Spent, ambiguous: Ambiguous) -> Disposition {
    decide(&Outcome::Called(answer), spent, &policy(ambiguous))
}

#[test]
fn what_no_call_brought_about_is_decided_alone() {
    for (outcome, expected) in [
        (Outcome::Duplicate, Disposition::Complete(Done::Duplicate)),
        (Outcome::Invalid, Disposition::DeadLetter(Reason::InvalidEvent)),
        (Outcome::Unknown, Disposition::DeadLetter(Reason::OutcomeUnknown)),
        (Outcome::UnusableBefore, Disposition::DeadLetter(Reason::UnusableResponse)),
        (Outcome::Interrupted, Disposition::Release),
    ] {
        for spent in [FIRST, LAST, Spent { probe: true, ..LAST }] {
            for ambiguous in [Ambiguous::Retry, Ambiguous::Park] {
                assert_eq!(decide(&outcome, spent, &policy(ambiguous)), expected, "{outcome:?}");
            }
        }
    }
}

/// Answer, then what follows the first attempt, the last, and a probe.
#[test]
fn every_answer_has_its_disposition() {
    use Disposition::{Complete, DeadLetter};
    let over = DeadLetter(Reason::RetriesExhausted);
    let status = |status| not_done(NotDone::Status(status));
    let same = |disposition| [disposition; 3];
    let outage = |cause| same(again(cause, false));
    let counted = |cause| [again(cause, true), over, again(cause, false)];
    let table = [
        (created(), same(Complete(Done::Created))),
        (Answer::Unusable { status: 201 }, same(DeadLetter(Reason::UnusableResponse))),
        (rejected(), same(DeadLetter(Reason::RejectedByApi))),
        (Answer::Misconfigured { status: 401 }, outage(Cause::Misconfigured)),
        (not_done(NotDone::Connect), outage(Cause::Connect)),
        (not_done(NotDone::Dns), outage(Cause::Dns)),
        (not_done(NotDone::Tls), outage(Cause::Tls)),
        (status(429), outage(Cause::RateLimited)),
        (status(408), counted(Cause::Unavailable)),
        (status(425), counted(Cause::Unavailable)),
        (status(503), counted(Cause::Unavailable)),
        (ambiguous(Ambiguity::Status(500)), counted(Cause::Ambiguous)),
        (ambiguous(Ambiguity::Timeout), counted(Cause::Ambiguous)),
        (ambiguous(Ambiguity::Reset), counted(Cause::Ambiguous)),
        (ambiguous(Ambiguity::OpenAttempt), counted(Cause::Ambiguous)),
    ];
    for (answer, expected) in table {
        for (spent, expected) in [FIRST, LAST, Spent { probe: true, ..LAST }].into_iter().zip(expected) {
            assert_eq!(called(answer.clone(), spent, Ambiguous::Retry), expected, "{answer:?} {spent:?}");
            let parked = match answer {
                Answer::Ambiguous { .. } => DeadLetter(Reason::OutcomeUnknown),
                _ => expected,
            };
            assert_eq!(called(answer.clone(), spent, Ambiguous::Park), parked, "{answer:?} {spent:?}");
        }
    }
}

#[test]
fn an_event_is_given_up_at_the_last_attempt_or_when_its_time_is_up() {
    let after = |attempts, elapsed| {
        let spent = Spent { attempts, elapsed, probe: false };
        called(not_done(NotDone::Status(503)), spent, Ambiguous::Retry)
    };
    let nearly = MAX_ELAPSED.checked_sub(Duration::from_nanos(1)).expect("longer");
    let over = Disposition::DeadLetter(Reason::RetriesExhausted);
    assert_eq!(after(MAX_ATTEMPTS - 1, nearly), again(Cause::Unavailable, true));
    assert_eq!(after(MAX_ATTEMPTS, Duration::ZERO), over);
    assert_eq!(after(MAX_ATTEMPTS + 1, Duration::ZERO), over);
    assert_eq!(after(1, MAX_ELAPSED), over);
    assert_eq!(after(0, Duration::MAX), over);
}

#[test]
fn a_retry_after_is_believed_up_to_a_bound() {
    for (asked, believed) in [
        (None, Duration::ZERO),
        (Some(Duration::ZERO), Duration::ZERO),
        (Some(Duration::from_secs(7)), Duration::from_secs(7)),
        (Some(RETRY_AFTER_MAX), RETRY_AFTER_MAX),
        (Some(Duration::MAX), RETRY_AFTER_MAX),
    ] {
        let answer = Answer::NotDone { cause: NotDone::Status(429), retry_after: asked };
        let expected = Disposition::Retry { cause: Cause::RateLimited, at_least: believed, spent: false };
        assert_eq!(called(answer, FIRST, Ambiguous::Retry), expected);
    }
}

#[test]
fn an_end_has_one_label_and_a_retry_none() {
    let dead = |reason| Disposition::DeadLetter(reason).label();
    assert_eq!(Disposition::Complete(Done::Created).label(), Some("created"));
    assert_eq!(Disposition::Complete(Done::Duplicate).label(), Some("duplicate"));
    assert_eq!(Disposition::Release.label(), Some("released"));
    assert_eq!(again(Cause::Dns, false).label(), None);
    assert_eq!(
        Reason::ALL.map(dead).map(|label| label.expect("an end")),
        ["invalid", "rejected", "exhausted", "unknown", "unusable", "exhausted"]
    );
}

#[test]
fn reasons_and_causes_are_written_as_the_contract_says() {
    assert_eq!(
        Reason::ALL.map(Reason::as_str),
        [
            "invalid_event",
            "rejected_by_api",
            "retries_exhausted",
            "outcome_unknown",
            "unusable_response",
            "delivery_limit",
        ]
    );
    assert_eq!(
        Cause::ALL.map(Cause::as_str),
        ["connect", "dns", "tls", "rate_limited", "unavailable", "ambiguous", "misconfigured"]
    );
}

#[test]
fn a_dead_letter_tells_status_and_cause() {
    for (answer, expected) in [
        (created(), (None, json!({}))),
        (Answer::Unusable { status: 204 }, (Some(204), json!({}))),
        (Answer::Misconfigured { status: 404 }, (Some(404), json!({}))),
        (rejected(), (Some(422), json!({ "type": "GoneError", "description": null }))),
        (not_done(NotDone::Connect), (None, json!({ "cause": "connect" }))),
        (not_done(NotDone::Dns), (None, json!({ "cause": "dns" }))),
        (not_done(NotDone::Tls), (None, json!({ "cause": "tls" }))),
        (not_done(NotDone::Status(503)), (Some(503), json!({ "cause": "unavailable" }))),
        (ambiguous(Ambiguity::Status(502)), (Some(502), json!({ "cause": "ambiguous", "ended": "status" }))),
        (ambiguous(Ambiguity::Timeout), (None, json!({ "cause": "ambiguous", "ended": "timeout" }))),
        (ambiguous(Ambiguity::Reset), (None, json!({ "cause": "ambiguous", "ended": "reset" }))),
        (ambiguous(Ambiguity::OpenAttempt), (None, json!({ "cause": "ambiguous", "ended": "open_attempt" }))),
    ] {
        assert_eq!(answer.detail(), expected, "{answer:?}");
    }
}

fn spent() -> impl Strategy<Value = Spent> {
    (any::<u32>(), any::<Duration>(), any::<bool>()).prop_map(|(attempts, elapsed, probe)| Spent {
        attempts,
        elapsed,
        probe,
    })
}

fn outages() -> impl Strategy<Value = Answer> {
    let retry_after = any::<Option<Duration>>();
    let cause = prop_oneof![
        Just(NotDone::Connect),
        Just(NotDone::Dns),
        Just(NotDone::Tls),
        Just(NotDone::Status(429))
    ];
    prop_oneof![
        (cause, retry_after).prop_map(|(cause, retry_after)| Answer::NotDone { cause, retry_after }),
        prop_oneof![300..400_u16, Just(401), Just(403), Just(404), Just(405)]
            .prop_map(|status| Answer::Misconfigured { status }),
    ]
}

proptest! {
    /// Promise 3, at its root.
    #[test]
    fn an_outage_is_never_counted_against_a_message(answer in outages(), spent in spent(), park: bool) {
        let ambiguous = if park { Ambiguous::Park } else { Ambiguous::Retry };
        let retried = matches!(called(answer, spent, ambiguous), Disposition::Retry { spent: false, .. });
        prop_assert!(retried);
    }

    /// A probe is made because imin is known to be in trouble.
    #[test]
    fn a_probe_never_exhausts_a_message(status: u16, spent in spent()) {
        let spent = Spent { probe: true, ..spent };
        for answer in [not_done(NotDone::Status(status)), ambiguous(Ambiguity::Status(status))] {
            let retried = matches!(called(answer, spent, Ambiguous::Retry), Disposition::Retry { spent: false, .. });
            prop_assert!(retried);
        }
    }

    #[test]
    fn no_wait_is_longer_than_is_believed(status: u16, retry_after: Option<Duration>, spent in spent()) {
        let answer = Answer::NotDone { cause: NotDone::Status(status), retry_after };
        if let Disposition::Retry { at_least, .. } = called(answer, spent, Ambiguous::Retry) {
            prop_assert!(at_least <= RETRY_AFTER_MAX);
        }
    }
}
