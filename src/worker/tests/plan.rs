//! What a case is made of, and how it is generated: small parts that shrink to nothing going wrong.

use crate::outcome::{Account, Ambiguity, Answer, NotDone};
use proptest::{collection::vec, prelude::*};
use std::time::Duration;

/// A case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) park: bool,
    pub(super) max_attempts: u32,
    pub(super) workers: usize,
    pub(super) concurrency: usize,
    pub(super) prefetch: usize,
    /// Milliseconds.
    pub(super) in_process_max: u64,
    /// Milliseconds.
    pub(super) hold_max: u64,
    pub(super) events: Vec<Event>,
    /// What becomes of one publication after the other.
    pub(super) publishes: Vec<PublishFault>,
    /// What becomes of one begin or finish after the other.
    pub(super) ledger: Vec<LedgerFault>,
    /// Milliseconds of pause, and then this.
    pub(super) acts: Vec<(u16, Act)>,
}

/// An event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) valid: bool,
    /// How often it is sent at the start.
    pub(super) copies: usize,
    /// What becomes of one call for it after the other; then imin makes the account.
    pub(super) calls: Vec<Call>,
}

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) class: Class,
    /// Milliseconds.
    pub(super) latency: u16,
    pub(super) crash: Option<Crash>,
}

/// When a worker dies, as seen from the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// Nothing has arrived.
    Before,
    /// It has arrived; the worker does not hear the answer.
    After,
}

/// What imin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Created,
    Unusable,
    Rejected,
    Unavailable,
    RateLimited(Option<u16>),
    Connect,
    Dns,
    Tls,
    Misconfigured,
    /// Ambiguous, and the account was made.
    Made,
    /// Ambiguous, and it was not.
    NotMade,
}

impl Class {
    pub(super) fn makes(self) -> bool {
        matches!(self, Self::Created | Self::Unusable | Self::Made)
    }

    /// Whether it may count as one of the attempts after which an event is given up.
    pub(super) fn counts(self) -> bool {
        matches!(self, Self::Unavailable | Self::Made | Self::NotMade)
    }

    pub(super) fn answer(self, account: Option<String>) -> Answer {
        let not_done = |cause| Answer::NotDone { cause, retry_after: None };
        match self {
            Self::Created => {
                Answer::Created(Account { identifier: account.expect("it makes one"), id: None })
            }
            Self::Unusable => Answer::Unusable { status: 201 },
            Self::Rejected => Answer::Rejected { status: 422, kind: None, description: None },
            Self::Unavailable => not_done(NotDone::Status(503)),
            Self::RateLimited(seconds) => Answer::NotDone {
                cause: NotDone::Status(429),
                retry_after: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            },
            Self::Connect => not_done(NotDone::Connect),
            Self::Dns => not_done(NotDone::Dns),
            Self::Tls => not_done(NotDone::Tls),
            Self::Misconfigured => Answer::Misconfigured { status: 401 },
            Self::Made => Answer::Ambiguous { cause: Ambiguity::Timeout },
            Self::NotMade => Answer::Ambiguous { cause: Ambiguity::Status(500) },
        }
    }
}

/// What becomes of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublishFault {
    Fine,
    Nack,
    Returned,
    TimeoutLost,
    TimeoutArrived,
    ConnectionLost,
    ConnectionArrived,
    /// The connection of the deliveries breaks meanwhile.
    SessionLost,
    Crash(Crash),
}

/// What becomes of a begin or a finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LedgerFault {
    Fine,
    /// Nothing was written.
    Unwritten,
    /// It was written, and the answer got lost.
    Unheard,
    Crash(Crash),
}

/// Something that happens at a moment of its own. A worker is chosen among those that live.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Copy(u8),
    Crash(u8),
    LoseSession(u8),
    Drain(u8),
    Abort(u8),
    Start,
    /// An operator says what became of a dead letter, and replays it.
    Resolve,
    /// An operator replays a dead letter without a word.
    Replay,
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let shape = (any::<bool>(), 1..5_u32, 1..3_usize, 1..4_usize, 1..4_usize);
    let waits =
        (prop_oneof![Just(10_000_u64), Just(1000), Just(0)], prop_oneof![Just(600_000_u64), Just(3000)]);
    let faults = (vec(publish(), 0..10), vec(ledger(), 0..10));
    let acts = vec((prop_oneof![0..50_u16, 0..5000_u16, 5000..40_000_u16], act()), 0..8);
    (shape, waits, vec(event(), 1..4), faults, acts).prop_map(|(shape, waits, events, faults, acts)| {
        let (park, max_attempts, workers, concurrency, prefetch) = shape;
        let ((in_process_max, hold_max), (publishes, ledger)) = (waits, faults);
        Case {
            park,
            max_attempts,
            workers,
            concurrency,
            prefetch,
            in_process_max,
            hold_max,
            events,
            publishes,
            ledger,
            acts,
        }
    })
}

fn event() -> impl Strategy<Value = Event> {
    let valid = prop_oneof![9 => Just(true), 1 => Just(false)];
    (valid, 1..3_usize, vec(call(), 0..6)).prop_map(|(valid, copies, calls)| Event { valid, copies, calls })
}

fn call() -> impl Strategy<Value = Call> {
    let class = prop_oneof![
        2 => Just(Class::Created),
        1 => Just(Class::Unusable),
        2 => Just(Class::Rejected),
        4 => Just(Class::Unavailable),
        2 => proptest::option::of(0..100_u16).prop_map(Class::RateLimited),
        1 => Just(Class::Connect),
        1 => Just(Class::Dns),
        1 => Just(Class::Tls),
        2 => Just(Class::Misconfigured),
        4 => Just(Class::Made),
        4 => Just(Class::NotMade),
    ];
    (class, prop_oneof![0..200_u16, 0..10_000_u16], crash(12)).prop_map(|(class, latency, crash)| Call {
        class,
        latency,
        crash,
    })
}

fn crash(rarely: u32) -> impl Strategy<Value = Option<Crash>> {
    prop_oneof![rarely => Just(None), 1 => Just(Some(Crash::Before)), 1 => Just(Some(Crash::After))]
}

fn publish() -> impl Strategy<Value = PublishFault> {
    use PublishFault as F;
    prop_oneof![
        12 => Just(F::Fine),
        1 => Just(F::Nack),
        1 => Just(F::Returned),
        1 => Just(F::TimeoutLost),
        2 => Just(F::TimeoutArrived),
        1 => Just(F::ConnectionLost),
        2 => Just(F::ConnectionArrived),
        2 => Just(F::SessionLost),
        1 => Just(F::Crash(Crash::Before)),
        2 => Just(F::Crash(Crash::After)),
    ]
}

fn ledger() -> impl Strategy<Value = LedgerFault> {
    use LedgerFault as F;
    prop_oneof![
        10 => Just(F::Fine),
        2 => Just(F::Unwritten),
        2 => Just(F::Unheard),
        1 => Just(F::Crash(Crash::Before)),
        1 => Just(F::Crash(Crash::After)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => any::<u8>().prop_map(Act::Copy),
        2 => any::<u8>().prop_map(Act::Crash),
        3 => any::<u8>().prop_map(Act::LoseSession),
        2 => any::<u8>().prop_map(Act::Drain),
        2 => any::<u8>().prop_map(Act::Abort),
        1 => Just(Act::Start),
        2 => Just(Act::Resolve),
        1 => Just(Act::Replay),
    ]
}
