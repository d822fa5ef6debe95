//! What is left of everything that an operator does: who, when, what, to which letters, why.
//!
//! Owns the form of the lines. It is written before anything is done, so that nothing can be done
//! without it; what came of it is in the letters' headers and in the worker's metrics. No line holds a
//! value of a customer's.

use crate::event::EventKey;
use jiff::Timestamp;
use serde::Serialize;

/// How many keys one line holds.
const KEYS: usize = 1000;

/// Who does it: a user of the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who(pub String);

#[derive(Serialize)]
struct Line<'a> {
    audit: &'a str,
    at: String,
    who: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    count: usize,
    keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<String>,
}

/// The lines of an action: one, or several where the keys are many.
pub fn lines(action: &str, who: &Who, at: Timestamp, why: Option<&str>, keys: &[EventKey]) -> Vec<String> {
    let parts = keys.len().div_ceil(KEYS).max(1);
    let part = |index: usize| {
        let from = (index * KEYS).min(keys.len());
        let of = &keys[from..(from + KEYS).min(keys.len())];
        let line = Line {
            audit: action,
            at: at.to_string(),
            who: &who.0,
            why,
            count: keys.len(),
            keys: of.iter().map(ToString::to_string).collect(),
            part: (parts > 1).then(|| format!("{} of {parts}", index + 1)),
        };
        // Texts and numbers: there is nothing that could fail to serialise.
        serde_json::to_string(&line).unwrap_or_default()
    };
    (0..parts).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use uuid::Uuid;

    fn audit(count: u128) -> Vec<Value> {
        let keys: Vec<_> = (0..count).map(|n| EventKey(Uuid::from_u128(n))).collect();
        let who = Who("alice".into());
        let lines = lines("replay", &who, Timestamp::UNIX_EPOCH, Some("imin is back"), &keys);
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn a_line_says_who_when_what_and_why() {
        let lines = audit(1);
        assert_eq!(
            lines,
            [serde_json::json!({
                "audit": "replay", "at": "1970-01-01T00:00:00Z", "who": "alice", "why": "imin is back",
                "count": 1, "keys": ["00000000-0000-0000-0000-000000000000"],
            })]
        );
    }

    #[test]
    fn many_keys_take_several_lines_and_none_is_left_out() {
        let lines = audit(2 * KEYS as u128 + 1);
        assert_eq!(lines.len(), 3);
        let keys: usize = lines.iter().map(|line| line["keys"].as_array().expect("keys").len()).sum();
        assert_eq!(keys, 2 * KEYS + 1);
        assert_eq!(lines[2]["part"], "3 of 3");
    }
}
