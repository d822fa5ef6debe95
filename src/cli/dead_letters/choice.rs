//! Which letters are meant, as one says it on the command line.

use crate::{
    dead_letters::{
        letter::Why,
        select::{Filter, KeyPart},
    },
    message::ShortString,
};
use std::time::Duration;

/// The conditions: all must hold; of several values of one, any.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Choice {
    /// Keys, or their beginnings from six characters on.
    #[arg(value_name = "KEY")]
    pub(super) keys: Vec<KeyPart>,
    /// Of this reason: `invalid_event`, `rejected_by_api`, `retries_exhausted`, `outcome_unknown`,
    /// `unusable_response`, `delivery_limit`, expired or foreign.
    #[arg(long = "reason", value_name = "REASON")]
    reasons: Vec<Why>,
    /// Dead for at least so long, such as 2h or 7d.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Dead for at most so long.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
    /// With this HTTP status of imin's.
    #[arg(long = "status", value_name = "STATUS")]
    statuses: Vec<u16>,
    /// With a problem at or below this place, such as /customer/email.
    #[arg(long = "problem", value_name = "POINTER", value_parser = pointer)]
    problems: Vec<String>,
    /// Replayed at least so often.
    #[arg(long, value_name = "N")]
    min_replays: Option<u64>,
    /// Replayed at most so often.
    #[arg(long, value_name = "N")]
    max_replays: Option<u64>,
}

/// The names of those arguments, one of which a deed needs, or `all`.
pub(super) const WHICH: [&str; 9] = [
    "keys",
    "reasons",
    "older_than",
    "newer_than",
    "statuses",
    "problems",
    "min_replays",
    "max_replays",
    "all",
];

impl Choice {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            keys: self.keys.clone(),
            reasons: self.reasons.clone(),
            older_than: self.older_than,
            newer_than: self.newer_than,
            statuses: self.statuses.clone(),
            problems: self.problems.clone(),
            min_replays: self.min_replays,
            max_replays: self.max_replays,
        }
    }
}

fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err("a place starts with a slash, such as /customer/email".to_owned())
}

/// An identifier of imin's, as an operator copies it.
pub(super) fn identifier(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err("is an address; the identifier is the last part of it".to_owned());
    }
    let clean = !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if !clean || ShortString::try_new(text).is_err() {
        return Err("is no identifier: imin's have no spaces, such as MAlnTNiZut".to_owned());
    }
    Ok(text.to_owned())
}
