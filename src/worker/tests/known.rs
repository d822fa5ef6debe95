//! Cases that broke a promise once, by hand: each says what went wrong.

use super::{
    plan::{Act, Call, Case, Class, Crash, Event, LedgerFault, PublishFault},
    run,
};

/// A case in which nothing goes wrong: one worker, one event, once.
fn case() -> Case {
    Case {
        park: false,
        max_attempts: 1,
        workers: 1,
        concurrency: 2,
        prefetch: 1,
        in_process_max: 10_000,
        hold_max: 600_000,
        events: vec![event(&[])],
        publishes: Vec::new(),
        ledger: Vec::new(),
        acts: Vec::new(),
    }
}

/// An event, and what imin answers for it, after how many milliseconds.
fn event(calls: &[(Class, u16)]) -> Event {
    let calls = calls.iter().map(|&(class, latency)| Call { class, latency, crash: None }).collect();
    Event { valid: true, copies: 1, calls }
}

fn holds(case: &Case) {
    assert_eq!(run(case), Vec::<String>::new());
}

/// It waited out a retry, while the broker delivered the message again and that came to its end. Then it
/// called once more, for a message that no queue held any more, and died: an account of which no event
/// and no dead letter told.
#[test]
fn a_delivery_that_was_lost_calls_no_more() {
    let calls = [(Class::RateLimited(None), 0), (Class::Rejected, 3000), (Class::Created, 7000)];
    // Others earn the budget for its retry.
    let events = vec![event(&calls), event(&[]), event(&[]), event(&[]), event(&[])];
    let acts = vec![(2, Act::LoseSession(0)), (8000, Act::Crash(0))];
    holds(&Case { events, acts, concurrency: 8, ..case() });
}

/// The ledger wrote down that it would call, did not answer, and came back only after the message had been
/// given back: every other worker found the event held by one that had forgotten it.
#[test]
fn an_attempt_whose_record_was_not_heard_of_is_taken_back() {
    let ledger = [[LedgerFault::Unwritten; 4].as_slice(), &[LedgerFault::Unheard]].concat();
    let acts = vec![(1506, Act::Copy(0))];
    holds(&Case { workers: 2, in_process_max: 0, hold_max: 3000, ledger, acts, ..case() });
}

/// One account was made and the worker died; another was made whose answer named none; and the worker died
/// again. The dead letter told of one account only.
#[test]
fn a_dead_letter_from_the_ledger_tells_of_the_doubt() {
    let mut event = event(&[(Class::Made, 0), (Class::Unusable, 0)]);
    event.calls[0].crash = Some(Crash::After);
    let publishes = vec![PublishFault::Crash(Crash::Before)];
    holds(&Case { events: vec![event], publishes, ..case() });
}

/// A worker let go while its ledger was down, and published what it alone knew. The event came once more and
/// was given up with its outcome in doubt: the dead letter tells, since the event could not. Here the checker
/// was wrong, which asked the event for a flag.
#[test]
fn a_dead_letter_after_an_event_tells_of_the_doubt() {
    let calls = [(Class::Created, 0), (Class::Made, 0), (Class::Made, 0), (Class::Made, 0)];
    let ledger = vec![LedgerFault::Fine, LedgerFault::Unwritten];
    let acts = vec![(3, Act::Abort(0)), (0, Act::Copy(0))];
    holds(&Case { max_attempts: 3, events: vec![event(&calls)], ledger, acts, ..case() });
}
