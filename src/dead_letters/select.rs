//! Which letters are meant: by key, by reason, by age, by what is wrong with them.
//!
//! Owns the filter and the keys that an operator types. Every condition given must hold; of several
//! values of one condition any one.

use super::letter::{Letter, Why};
use crate::event::EventKey;
use jiff::Timestamp;
use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

/// How short a key's beginning may be.
pub const SHORTEST: usize = 6;
/// How many keys are remembered of a beginning that is not unique: as many as one shows.
const REMEMBERED: usize = 5;

/// A key, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart(String);

impl FromStr for KeyPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if digits.len() > 32 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err("is no key: `dead-letters list` shows them, such as 15855196-ff0d".to_owned());
        }
        if digits.len() < SHORTEST {
            return Err(format!("is too short for a key: give at least {SHORTEST} of its digits"));
        }
        Ok(Self(digits))
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyPart {
    /// Whether the key begins with it.
    pub fn begins(&self, key: EventKey) -> bool {
        key.0.simple().encode_lower(&mut [0; 32]).starts_with(&self.0)
    }
}

/// The conditions.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// These keys.
    pub keys: Vec<KeyPart>,
    /// These reasons.
    pub reasons: Vec<Why>,
    /// Dead for at least so long.
    pub older_than: Option<Duration>,
    /// Dead for at most so long.
    pub newer_than: Option<Duration>,
    /// These HTTP statuses of imin's last answer.
    pub statuses: Vec<u16>,
    /// A problem at, or below, one of these places.
    pub problems: Vec<String>,
    /// Replayed at least so often.
    pub min_replays: Option<u64>,
    /// Replayed at most so often.
    pub max_replays: Option<u64>,
}

impl Filter {
    /// Whether nothing is asked for, so that every letter is meant.
    pub fn is_empty(&self) -> bool {
        let Self { keys, reasons, older_than, newer_than, statuses, problems, min_replays, max_replays } =
            self;
        keys.is_empty()
            && reasons.is_empty()
            && statuses.is_empty()
            && problems.is_empty()
            && older_than.is_none()
            && newer_than.is_none()
            && min_replays.is_none()
            && max_replays.is_none()
    }

    /// Whether a letter is meant.
    pub fn matches(&self, letter: &Letter, now: Timestamp) -> bool {
        let any = |empty: bool, found: bool| empty || found;
        any(self.keys.is_empty(), self.keys.iter().any(|part| part.begins(letter.key)))
            && any(self.reasons.is_empty(), self.reasons.contains(&letter.why))
            && any(self.statuses.is_empty(), letter.status.is_some_and(|s| self.statuses.contains(&s)))
            && any(self.problems.is_empty(), self.problems.iter().any(|at| has_problem(letter, at)))
            && self.min_replays.is_none_or(|least| letter.replays >= least)
            && self.max_replays.is_none_or(|most| letter.replays <= most)
            && self.is_of_age(letter, now)
    }

    /// A letter that does not say how old it is has no age to be chosen by.
    fn is_of_age(&self, letter: &Letter, now: Timestamp) -> bool {
        let age = letter.at.map(|at| Duration::try_from(now.duration_since(at)).unwrap_or_default());
        self.older_than.is_none_or(|least| age.is_some_and(|age| age >= least))
            && self.newer_than.is_none_or(|most| age.is_some_and(|age| age <= most))
    }
}

/// Whether a letter has a problem at a place or below it. A place within the data is meant wherever the
/// encoding keeps the data.
fn has_problem(letter: &Letter, at: &str) -> bool {
    let below =
        |pointer: &str| pointer.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    letter.problems.iter().any(|problem| {
        let pointer = problem.pointer.as_str();
        let inner = ["/data_base64", "/data"].iter().find_map(|data| pointer.strip_prefix(data));
        below(pointer) || inner.is_some_and(below)
    })
}

/// Whether every key that was named is there, and is one.
#[derive(Debug, Default)]
pub struct Named(Vec<(KeyPart, BTreeSet<EventKey>)>);

/// What is wrong with the keys that were named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedWrong {
    /// No dead letter has it.
    #[error("there is no dead letter {0}; `imin-customer-worker dead-letters list` shows which there are")]
    Nobody(String),
    /// Several do.
    #[error("{part} is the beginning of several keys, give more of it: {}", keys.join(", "))]
    Several {
        /// What was given.
        part: String,
        /// Some of them.
        keys: Vec<String>,
    },
}

impl Named {
    /// Of these keys.
    pub fn new(filter: &Filter) -> Self {
        Self(filter.keys.iter().map(|part| (part.clone(), BTreeSet::new())).collect())
    }

    /// Notes a letter that was seen.
    pub fn see(&mut self, key: EventKey) {
        for (_, seen) in self.0.iter_mut().filter(|(part, _)| part.begins(key)) {
            if seen.len() < REMEMBERED {
                seen.insert(key);
            }
        }
    }

    /// The verdict, once all letters were seen.
    pub fn check(&self) -> Result<(), NamedWrong> {
        for (part, seen) in &self.0 {
            if seen.is_empty() {
                return Err(NamedWrong::Nobody(part.to_string()));
            }
            if seen.len() > 1 {
                let keys = seen.iter().map(ToString::to_string).collect();
                return Err(NamedWrong::Several { part: part.to_string(), keys });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dead_letters::samples::{self, letter},
        outcome::Reason,
        problem::Problem,
    };
    use proptest::prelude::*;

    fn part(text: &str) -> KeyPart {
        text.parse().expect("a key's beginning")
    }

    fn matches(filter: &Filter, letter: &Letter) -> bool {
        filter.matches(letter, samples::now())
    }

    #[test]
    fn every_condition_must_hold_and_any_of_its_values() {
        let rejected = Letter { status: Some(422), ..letter(Reason::RejectedByApi) };
        let reasons = vec![Why::Known(Reason::RejectedByApi), Why::Foreign];
        let filter = Filter { reasons, statuses: vec![400, 422], ..Filter::default() };
        assert!(matches(&filter, &rejected));
        assert!(!matches(&filter, &Letter { status: Some(409), ..rejected.clone() }));
        assert!(!matches(&filter, &Letter { status: None, ..rejected.clone() }));
        assert!(!matches(&filter, &Letter { why: Why::Expired, ..rejected }));
        assert!(matches(&Filter::default(), &letter(Reason::InvalidEvent)));
    }

    #[test]
    fn age_and_replays_are_bounds_that_are_met() {
        let hour = Duration::from_hours(1);
        let at = samples::now() - jiff::SignedDuration::from_hours(1);
        let old = Letter { at: Some(at), replays: 2, ..letter(Reason::InvalidEvent) };
        assert!(matches(&Filter { older_than: Some(hour), ..Filter::default() }, &old));
        assert!(matches(&Filter { newer_than: Some(hour), ..Filter::default() }, &old));
        assert!(!matches(&Filter { older_than: Some(hour * 2), ..Filter::default() }, &old));
        assert!(!matches(&Filter { newer_than: Some(hour / 2), ..Filter::default() }, &old));
        let ageless = Letter { at: None, ..old.clone() };
        assert!(!matches(&Filter { newer_than: Some(hour), ..Filter::default() }, &ageless));
        assert!(matches(&Filter { min_replays: Some(2), max_replays: Some(2), ..Filter::default() }, &old));
        assert!(!matches(&Filter { min_replays: Some(3), ..Filter::default() }, &old));
        assert!(!matches(&Filter { max_replays: Some(1), ..Filter::default() }, &old));
    }

    #[test]
    fn a_place_is_meant_in_every_encoding_and_with_what_is_below() {
        let at = |pointer: &str| Letter {
            problems: vec![Problem::body(pointer, "is required")],
            ..letter(Reason::InvalidEvent)
        };
        let filter = Filter { problems: vec!["/customer".into()], ..Filter::default() };
        for pointer in ["/customer", "/customer/email", "/data/customer/email", "/data_base64/customer"] {
            assert!(matches(&filter, &at(pointer)), "{pointer}");
        }
        for pointer in ["/customers", "/data", ""] {
            assert!(!matches(&filter, &at(pointer)), "{pointer}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_beginning_however_it_is_written() {
        let key = letter(Reason::InvalidEvent).key;
        let text = key.to_string();
        for given in [&text, &text[..13], &text[..6], &text.to_uppercase(), &text.replace('-', "")] {
            assert!(part(given).begins(key), "{given}");
        }
        for wrong in ["12345", "not-a-key", &format!("{text}0"), ""] {
            assert!(wrong.parse::<KeyPart>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_beginning_must_be_there_and_be_one() {
        let keys: Vec<EventKey> = ["aaaaaa", "aaaaab"]
            .map(|head| EventKey(format!("{head}{}", "0".repeat(26)).parse().expect("UUID")))
            .to_vec();
        let named = |text: &str| {
            let mut named = Named::new(&Filter { keys: vec![part(text)], ..Filter::default() });
            keys.iter().chain(&keys).for_each(|key| named.see(*key));
            named.check()
        };
        assert_eq!(named("aaaaaa"), Ok(()));
        assert_eq!(named("bbbbbb"), Err(NamedWrong::Nobody("bbbbbb".into())));
        let mut one = Named::new(&Filter { keys: vec![part(&"a".repeat(6))], ..Filter::default() });
        one.see(keys[0]);
        one.see(EventKey(uuid::Uuid::parse_str(&format!("aaaaaa{}", "1".repeat(26))).expect("UUID")));
        assert!(matches!(one.check(), Err(NamedWrong::Several { keys, .. }) if keys.len() == 2));
    }

    proptest! {
        #[test]
        fn any_beginning_of_any_key_begins_it(key: u128, length in SHORTEST..=32) {
            let key = EventKey(uuid::Uuid::from_u128(key));
            prop_assert!(part(&key.0.simple().to_string()[..length]).begins(key));
        }
    }
}
