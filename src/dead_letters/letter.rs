//! What a dead letter says of itself, whoever made it one: the worker, the broker, or a stranger.
//!
//! Owns the reading of the headers that `letters` writes. Nothing in a [`Letter`] is a value of the
//! customer's, but for the masked hint.

use super::mask;
use crate::{
    event::{self, EventKey},
    letters::{death::Death, replay},
    message::Message,
    outcome::Reason,
    problem::Problem,
};
use jiff::{Timestamp, civil::Date};
use serde_json::Value;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Why a message is among the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// The worker says so, or the broker does: the delivery limit.
    Known(Reason),
    /// It expired in a queue before the worker saw it.
    Expired,
    /// Nobody says: it was put there by hand, or by a program that is not the worker.
    Foreign,
}

impl Why {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Reason::ALL.into_iter().map(Self::Known).chain([Self::Expired, Self::Foreign])
    }

    /// As lists and filters say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known(reason) => reason.as_str(),
            Self::Expired => "expired",
            Self::Foreign => "foreign",
        }
    }

    fn of(message: &Message, death: Option<&Death>) -> Self {
        let said = message.header_text("failure-reason");
        if let Some(reason) = said.and_then(|said| Reason::ALL.into_iter().find(|r| r.as_str() == said)) {
            return Self::Known(reason);
        }
        match death.map(|death| death.reason.as_str()) {
            Some("delivery_limit") => Self::Known(Reason::DeliveryLimit),
            Some("expired") => Self::Expired,
            _ => Self::Foreign,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Why {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().find(|why| why.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::all().map(Self::as_str).collect();
            format!("is no reason; there are {}", all.join(", "))
        })
    }
}

/// What a dead letter says.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The event's identity, from the header, else from the message itself.
    pub key: EventKey,
    /// Why it is here.
    pub why: Why,
    /// The HTTP status of imin's last answer.
    pub status: Option<u16>,
    /// How many attempts counted.
    pub attempts: u64,
    /// How often it was replayed.
    pub replays: u64,
    /// Since when it has been dead.
    pub at: Option<Timestamp>,
    /// The first attempt.
    pub first_attempt_at: Option<Timestamp>,
    /// The problems of an invalid event.
    pub problems: Vec<Problem>,
    /// More about any other failure.
    pub detail: Value,
    /// The customer, masked.
    pub hint: Option<String>,
}

impl Letter {
    /// Reads one; `today` is the last date that is not in the future.
    pub fn read(message: &Message, today: Date) -> Self {
        let death = Death::of(message);
        let time = |name| message.header_text(name).and_then(|text| text.parse().ok());
        let mut detail: Value = message
            .header_text("failure-detail")
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let problems = detail.get_mut("problems").map(Value::take).unwrap_or_default();
        Self {
            key: key(message, today),
            why: Why::of(message, death.as_ref()),
            status: message.header_number("failure-status").and_then(|status| status.try_into().ok()),
            attempts: message.header_number("failure-attempts").unwrap_or(0),
            replays: replay::replays(message),
            at: time("failure-at").or_else(|| death?.at).or_else(|| sent(message)),
            first_attempt_at: time("first-attempt-at"),
            problems: serde_json::from_value(problems).unwrap_or_default(),
            detail,
            hint: mask::hint(&message.body),
        }
    }

    /// What went wrong, in a few words: the first problem, imin's word for it, or the cause.
    pub fn what(&self) -> Option<String> {
        if let Some(problem) = self.problems.first() {
            return Some(format!("{} {}", problem.pointer, problem.rule));
        }
        let word = |name| self.detail.get(name).and_then(Value::as_str).map(str::to_owned);
        match (word("type").or_else(|| word("cause")), word("ended"), self.status) {
            (Some(what), _, Some(status)) => Some(format!("{status} {what}")),
            (Some(what), Some(ended), None) => Some(format!("{what} {ended}")),
            (what, _, status) => what.or_else(|| Some(status?.to_string())),
        }
    }
}

/// The key that the worker wrote, or the one that it would read.
fn key(message: &Message, today: Date) -> EventKey {
    let said = message.header_text("event-key").and_then(|text| Uuid::parse_str(text).ok());
    said.map_or_else(|| identity(message, today), EventKey)
}

/// The identity that the worker would give the message.
pub fn identity(message: &Message, today: Date) -> EventKey {
    match event::read(message, today) {
        Ok(event) => event.key,
        Err(invalid) => invalid.key,
    }
}

fn sent(message: &Message) -> Option<Timestamp> {
    let seconds = i64::try_from((*message.properties.timestamp())?).ok()?;
    Timestamp::from_second(seconds).ok()
}
