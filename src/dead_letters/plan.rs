//! What may be done with which letter, and how much of it there is, before anything is done.
//!
//! Owns the rules that keep promise 2 in an operator's hands: what may have made an account is never
//! called for again without a word on it. Carrying a plan out is `run`'s.

use super::{
    letter::{Letter, Why},
    select::{Filter, Named, NamedWrong},
    shelf::{Shelf, ShelfError},
};
use crate::{event::EventKey, letters::Resolution, outcome::Reason};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};
use uuid::Uuid;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Try again, as it is or edited.
    Replay {
        /// After so many replays only with `force`.
        max: u64,
        /// However often it was replayed.
        force: bool,
    },
    /// Say what came of a call that nobody knows the end of.
    Resolve(Resolution),
    /// Give it up.
    Discard,
    /// Write it to a file.
    Export,
}

/// Why a letter is left where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// An account may exist: someone has to look.
    Unknown,
    /// An account exists; nobody knows which.
    Unusable,
    /// It was replayed too often.
    TooOften,
    /// Nothing was called, or imin has answered: there is nothing to say of it.
    NothingToResolve,
    /// imin has said that it made the account.
    Made,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "may have an account already. Look at imin, then: dead-letters resolve KEY \
                 --identifier ABC, or --not-created"
            }
            Self::Unusable => {
                "have an account whose identifier nobody learnt. Ask imin for it, then: dead-letters \
                 resolve KEY --identifier ABC"
            }
            Self::TooOften => {
                "failed after every replay so far. Mend the cause; --force replays all the same"
            }
            Self::NothingToResolve => {
                "are of a known end, so that there is nothing to resolve: replay or edit"
            }
            Self::Made => {
                "have an account, imin said so: --not-created cannot be. Ask imin for the \
                 identifier, then say --identifier ABC"
            }
        })
    }
}

/// Whether an action may be done to a letter.
pub fn check(action: &Action, letter: &Letter) -> Result<(), Refusal> {
    match action {
        Action::Discard | Action::Export => Ok(()),
        Action::Replay { max, force } => match letter.why {
            Why::Known(Reason::OutcomeUnknown) => Err(Refusal::Unknown),
            Why::Known(Reason::UnusableResponse) => Err(Refusal::Unusable),
            _ if letter.replays >= *max && !force => Err(Refusal::TooOften),
            _ => Ok(()),
        },
        Action::Resolve(word) => match (letter.why, word) {
            (Why::Known(Reason::OutcomeUnknown | Reason::RetriesExhausted | Reason::DeliveryLimit), _)
            | (Why::Known(Reason::UnusableResponse), Resolution::Created(_)) => Ok(()),
            (Why::Known(Reason::UnusableResponse), Resolution::NotCreated(_)) => Err(Refusal::Made),
            _ => Err(Refusal::NothingToResolve),
        },
    }
}

/// What would be done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How many letters were looked at: nothing behind them is touched.
    pub seen: u64,
    /// Those to be dealt with, in their order.
    pub chosen: Vec<EventKey>,
    /// How many of them for which reason.
    pub reasons: BTreeMap<Why, u64>,
    /// How many match and are left, and why.
    pub refused: BTreeMap<Refusal, u64>,
    /// How many match and are beyond the limit.
    pub beyond: u64,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The queue cannot be looked through.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// A key is not there, or not one.
    #[error(transparent)]
    Named(#[from] NamedWrong),
}

/// What one asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which letters.
    pub filter: Filter,
    /// What is to be done with them.
    pub action: Action,
    /// At most so many, from the front.
    pub limit: Option<u64>,
    /// The time by which ages are counted.
    pub now: Timestamp,
}

impl Wish {
    /// Looks through the queue, and says what would be done; `glance` is told of each letter.
    pub async fn plan(&self, look: &mut dyn Shelf, mut glance: impl FnMut()) -> Result<Plan, PlanError> {
        let (mut plan, mut named) = (Plan::default(), Named::new(&self.filter));
        let today = crate::clock::today(self.now);
        while let Some(held) = look.next().await? {
            glance();
            let letter = Letter::read(&held.message, today);
            named.see(letter.key);
            self.consider(&mut plan, &letter);
        }
        named.check()?;
        Ok(plan)
    }

    /// Takes a letter into the plan, or not.
    pub fn consider(&self, plan: &mut Plan, letter: &Letter) {
        plan.seen += 1;
        if !self.filter.matches(letter, self.now) {
            return;
        }
        if let Err(refusal) = check(&self.action, letter) {
            *plan.refused.entry(refusal).or_default() += 1;
        } else if self.limit.is_some_and(|limit| plan.chosen.len() as u64 >= limit) {
            plan.beyond += 1;
        } else {
            plan.chosen.push(letter.key);
            *plan.reasons.entry(letter.why).or_default() += 1;
        }
    }
}

/// A plan being carried out: the same letters again, and nothing that came since.
#[derive(Debug)]
pub struct Agenda {
    wish: Wish,
    keys: HashSet<Uuid>,
    again: Plan,
}

impl Agenda {
    /// For a plan, by the wish it was made of.
    pub fn new(wish: Wish, plan: &Plan) -> Self {
        let keys = plan.chosen.iter().map(|key| key.0).collect();
        let limit = Some(plan.chosen.len() as u64);
        Self { wish: Wish { limit, ..wish }, keys, again: Plan::default() }
    }

    /// Whether this letter is one of the plan's.
    pub fn has(&mut self, letter: &Letter) -> bool {
        if !self.keys.contains(&letter.key.0) {
            return false;
        }
        let before = self.again.chosen.len();
        self.wish.consider(&mut self.again, letter);
        self.again.chosen.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::samples::{letter, now};
    use proptest::prelude::*;

    const REPLAY: Action = Action::Replay { max: 5, force: false };

    fn wish(action: Action, limit: Option<u64>) -> Wish {
        Wish { filter: Filter::default(), action, limit, now: now() }
    }

    #[test]
    fn what_may_have_made_an_account_is_never_replayed() {
        for force in [false, true] {
            let replay = Action::Replay { max: 5, force };
            assert_eq!(check(&replay, &letter(Reason::OutcomeUnknown)), Err(Refusal::Unknown));
            assert_eq!(check(&replay, &letter(Reason::UnusableResponse)), Err(Refusal::Unusable));
        }
        for why in Why::all() {
            let allowed = check(&REPLAY, &Letter { why, ..letter(Reason::InvalidEvent) }).is_ok();
            let doubtful = matches!(why, Why::Known(Reason::OutcomeUnknown | Reason::UnusableResponse));
            assert_eq!(allowed, !doubtful, "{why}");
        }
    }

    #[test]
    fn too_many_replays_need_force() {
        let tired = Letter { replays: 5, ..letter(Reason::RejectedByApi) };
        assert_eq!(check(&REPLAY, &tired), Err(Refusal::TooOften));
        assert_eq!(check(&Action::Replay { max: 5, force: true }, &tired), Ok(()));
        assert_eq!(check(&REPLAY, &Letter { replays: 4, ..tired }), Ok(()));
    }

    #[test]
    fn a_word_is_taken_only_where_it_can_be_true() {
        let created = Action::Resolve(Resolution::Created("abc".into()));
        let not_created = Action::Resolve(Resolution::NotCreated(Uuid::from_u128(1)));
        for why in Why::all() {
            let letter = Letter { why, ..letter(Reason::InvalidEvent) };
            let expected = match why {
                Why::Known(Reason::OutcomeUnknown | Reason::RetriesExhausted | Reason::DeliveryLimit) => {
                    (Ok(()), Ok(()))
                }
                Why::Known(Reason::UnusableResponse) => (Ok(()), Err(Refusal::Made)),
                _ => (Err(Refusal::NothingToResolve), Err(Refusal::NothingToResolve)),
            };
            assert_eq!((check(&created, &letter), check(&not_created, &letter)), expected, "{why}");
        }
    }

    #[test]
    fn a_plan_counts_what_it_chooses_refuses_and_leaves() {
        let wish = wish(REPLAY, Some(1));
        let mut plan = Plan::default();
        for reason in [Reason::OutcomeUnknown, Reason::RejectedByApi, Reason::InvalidEvent] {
            wish.consider(&mut plan, &letter(reason));
        }
        assert_eq!((plan.seen, plan.chosen.len(), plan.beyond), (3, 1, 1));
        assert_eq!(plan.reasons[&Why::Known(Reason::RejectedByApi)], 1);
        assert_eq!(plan.refused[&Refusal::Unknown], 1);
    }

    proptest! {
        /// However the queue has changed meanwhile, only what was planned is touched.
        #[test]
        fn an_agenda_never_exceeds_its_plan(first in prop::collection::vec(0u128..8, 0..20),
            then in prop::collection::vec(0u128..12, 0..30), limit in prop::option::of(0u64..10)) {
            let wish = wish(REPLAY, limit);
            let with = |key: u128| Letter { key: EventKey(Uuid::from_u128(key)), ..letter(Reason::RejectedByApi) };
            let mut plan = Plan::default();
            for key in &first {
                wish.consider(&mut plan, &with(*key));
            }
            let mut agenda = Agenda::new(wish, &plan);
            let touched: Vec<_> = then.iter().filter(|key| agenda.has(&with(**key))).collect();
            prop_assert!(touched.len() <= plan.chosen.len());
            prop_assert!(touched.iter().all(|key| plan.chosen.contains(&EventKey(Uuid::from_u128(**key)))));
            let mut unchanged = Agenda::new(agenda.wish.clone(), &plan);
            let again: Vec<_> = first.iter().filter(|key| unchanged.has(&with(**key))).collect();
            prop_assert_eq!(again.len(), plan.chosen.len(), "an unchanged queue gives all of them");
        }
    }
}
