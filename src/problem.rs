//! What is wrong with an event: places and rules, never values.

use serde::{Deserialize, Serialize};

/// The part of a message in which a problem lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The body; the pointer is a JSON Pointer (RFC 6901) into it.
    Body,
    /// The headers; the pointer is `/` and the header's name.
    Headers,
    /// The AMQP properties; the pointer is `/` and the property's name.
    Properties,
}

/// One problem of an event. It names a place and a rule and carries no value of the event:
/// property names that the worker does not know stand as `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The part of the message.
    #[serde(rename = "in")]
    pub part: Part,
    /// Where in that part; empty for the whole of it.
    pub pointer: String,
    /// The rule that is broken, in words: `must be a string`.
    pub rule: String,
}

impl Problem {
    /// A problem of the body.
    pub fn body(pointer: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { part: Part::Body, pointer: pointer.into(), rule: rule.into() }
    }

    /// A problem of a header.
    pub fn header(name: &str, rule: impl Into<String>) -> Self {
        Self { part: Part::Headers, pointer: format!("/{name}"), rule: rule.into() }
    }

    /// A problem of an AMQP property.
    pub fn property(name: &str, rule: impl Into<String>) -> Self {
        Self { part: Part::Properties, pointer: format!("/{name}"), rule: rule.into() }
    }
}
