//! Which of the three encodings a message has.
//!
//! Owns the marks that tell them apart, and the reading of media types.

use super::set;
use crate::message::Message;

/// The prefixes of a binary CloudEvent's headers: what HTTP bridges write, what the AMQP binding
/// says, and what it says for clients that cannot send a colon.
const PREFIXES: [&str; 3] = ["ce-", "cloudEvents:", "cloudEvents_"];
/// The attributes of which any one, as a header, makes a message a binary CloudEvent.
const MARKS: [&str; 4] = ["specversion", "type", "id", "source"];

/// How an event is written into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// CloudEvents 1.0, all of it in the body.
    Structured,
    /// CloudEvents 1.0, its attributes in headers of this prefix.
    Binary(&'static str),
    /// The data alone.
    Plain,
}

impl Encoding {
    /// The encoding of a message. One that uses several prefixes is read by the first of them.
    pub(super) fn of(message: &Message) -> Self {
        let content_type = set(message.properties.content_type().as_ref()).map(media_type);
        if content_type.is_some_and(|media| media.eq_ignore_ascii_case("application/cloudevents+json")) {
            return Self::Structured;
        }
        let marked =
            |prefix: &&str| MARKS.iter().any(|mark| message.header(&format!("{prefix}{mark}")).is_some());
        match PREFIXES.into_iter().find(|prefix| message.properties.headers().is_some() && marked(prefix)) {
            Some(prefix) => Self::Binary(prefix),
            None => Self::Plain,
        }
    }
}

/// A content type without its parameters.
fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a content type is JSON: `application/json`, or any type whose subtype ends in `+json`.
pub(super) fn is_json(content_type: &str) -> bool {
    match media_type(content_type).split_once('/') {
        Some((_, subtype)) => {
            subtype.rsplit('+').next().is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
        }
        None => false,
    }
}
