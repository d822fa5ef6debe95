//! Counts instead of lines: how many letters for which reason, and what is wrong with them.
//!
//! Owns the counting, in memory for the kinds of problems and not for the letters.

use super::letter::{Letter, Why};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most kinds of problems that are told apart; the rest is counted together.
const MOST: usize = 1000;

/// The counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Groups {
    /// By reason.
    pub reasons: BTreeMap<Why, u64>,
    /// By what is wrong: a problem of an event counts once for each letter that has it.
    pub problems: BTreeMap<(Why, String), u64>,
}

impl Groups {
    /// Counts a letter.
    pub fn add(&mut self, letter: &Letter) {
        *self.reasons.entry(letter.why).or_default() += 1;
        if letter.problems.is_empty() {
            let what = letter.what().unwrap_or_else(|| "nothing is said of it".to_owned());
            self.count(letter.why, what);
        }
        for problem in &letter.problems {
            let part = serde_json::to_value(problem.part).unwrap_or_default();
            let part = part.as_str().filter(|part| *part != "body").map(|part| format!("{part} "));
            let what = format!("{}{} {}", part.unwrap_or_default(), problem.pointer, problem.rule);
            self.count(letter.why, what);
        }
    }

    /// The problems, the most frequent first.
    pub fn ranked(&self) -> Vec<(Why, &str, u64)> {
        let mut ranked: Vec<_> =
            self.problems.iter().map(|((why, what), count)| (*why, what.as_str(), *count)).collect();
        ranked.sort_by_key(|(why, _, count)| (std::cmp::Reverse(*count), *why));
        ranked
    }

    /// One object for each count.
    pub fn lines(&self) -> Vec<Value> {
        let reasons =
            self.reasons.iter().map(|(why, count)| json!({ "reason": why.as_str(), "count": count }));
        let problems = self
            .ranked()
            .into_iter()
            .map(|(why, what, count)| json!({ "reason": why.as_str(), "problem": what, "count": count }));
        reasons.chain(problems).collect()
    }

    fn count(&mut self, why: Why, what: String) {
        let full = self.problems.len() >= MOST;
        let key = (why, what);
        let key = if full && !self.problems.contains_key(&key) { (why, "others".to_owned()) } else { key };
        *self.problems.entry(key).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dead_letters::samples::letter, outcome::Reason, problem::Problem};

    #[test]
    fn letters_are_counted_by_reason_and_by_each_problem() {
        let mut groups = Groups::default();
        let invalid = Letter {
            problems: vec![
                Problem::body("/customer/email", "is required"),
                Problem::header("ce-type", "must be CreateCustomer"),
            ],
            ..letter(Reason::InvalidEvent)
        };
        groups.add(&invalid);
        groups.add(&invalid);
        let detail = json!({ "type": "GoneError" });
        groups.add(&Letter { status: Some(410), detail, ..letter(Reason::RejectedByApi) });
        let invalid = Why::Known(Reason::InvalidEvent);
        assert_eq!(
            groups.ranked(),
            [
                (invalid, "/customer/email is required", 2),
                (invalid, "headers /ce-type must be CreateCustomer", 2),
                (Why::Known(Reason::RejectedByApi), "410 GoneError", 1),
            ]
        );
        assert_eq!(groups.reasons[&invalid], 2);
        assert_eq!(groups.lines().len(), 5);
    }

    #[test]
    fn memory_is_bounded_by_the_kinds_of_problems() {
        let mut groups = Groups::default();
        for n in 0..2 * MOST {
            let problems = vec![Problem::body(format!("/{n}"), "is odd")];
            groups.add(&Letter { problems, ..letter(Reason::InvalidEvent) });
        }
        assert_eq!(groups.problems.len(), MOST + 1);
        assert_eq!(groups.problems.values().sum::<u64>(), 2 * MOST as u64);
    }
}
