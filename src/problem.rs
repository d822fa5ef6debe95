//! What is wrong with an event: places and rules, never values.
//!
//! Owns the words of a problem, its place in a body and the bound of a list of them. The rules
//! themselves belong to the rooms that read an event.

use serde::{Deserialize, Serialize};

mod path;
#[cfg(test)]
mod tests;

pub use path::Path;
pub(crate) use path::shown;

/// The most problems that one event reports; the last of a longer list says how many are left out.
pub const MAX_PROBLEMS: usize = 100;
/// The most bytes of pointers and rules in one list, since it travels in a header and all headers
/// of a message have to fit one frame of 128 KiB.
pub const MAX_PROBLEM_BYTES: usize = 16 * 1024;

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

/// The problems of one event as they are found: all of them, within the bounds of a header.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    bytes: usize,
    more: usize,
}

impl Problems {
    /// Notes a problem of the body. Beyond the bounds it is only counted, and nothing is written,
    /// so that a hostile body with 100,000 problems costs no more than a counter.
    pub fn body(&mut self, at: &Path<'_>, rule: impl Into<String>) {
        self.add(|| Problem::body(at.to_string(), rule));
    }

    /// Notes a problem of a header, by a name that the worker knows: never one from the event.
    pub fn header(&mut self, name: &str, rule: impl Into<String>) {
        self.add(|| Problem::header(name, rule));
    }

    /// Notes a problem of an AMQP property.
    pub fn property(&mut self, name: &'static str, rule: impl Into<String>) {
        self.add(|| Problem::property(name, rule));
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The list: at most [`MAX_PROBLEMS`] long, the last entry saying how many were left out, if any.
    pub fn into_list(mut self) -> Vec<Problem> {
        if self.more == 0 {
            return self.found;
        }
        if self.found.len() == MAX_PROBLEMS {
            self.found.pop();
            self.more += 1;
        }
        let more = format!("there are {} more problems", self.more);
        self.found.push(Problem::body("", more));
        self.found
    }

    fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.found.len() == MAX_PROBLEMS || self.bytes > MAX_PROBLEM_BYTES {
            self.more += 1;
            return;
        }
        let problem = problem();
        self.bytes += problem.pointer.len() + problem.rule.len();
        self.found.push(problem);
    }
}
