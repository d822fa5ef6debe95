//! JSON as a tree that borrows from its text: read once, in order, every repeated name kept.
//!
//! Owns reading and its faults. What the values have to be is `event`'s and `customer`'s.

use crate::problem::{Path, Problems, shown};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, collections::HashSet, fmt};

#[cfg(test)]
mod tests;

/// How deep arrays and objects may nest: what `serde_json` allows, which keeps a hostile body from
/// using up the stack.
pub const MAX_DEPTH: usize = 127;

/// Up to this many properties are compared with each other; more go through a hash set.
const FEW: usize = 16;

/// A value.
#[derive(Clone, PartialEq)]
pub enum Node<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; which one is nobody's business here.
    Number,
    /// A string, borrowed unless it holds an escape.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Node<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// An object's properties in their order, repeated ones included.
#[derive(Clone, PartialEq)]
pub struct Object<'a>(Vec<(Key<'a>, Node<'a>)>);

/// A property's name, borrowed unless it holds an escape.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    /// The value of a property, the first one where the name is repeated.
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.0.iter().find(|(key, _)| key.0 == name).map(|(_, value)| value)
    }

    /// The properties in their order, repeated ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.0.iter().map(|(key, value)| (&*key.0, value))
    }

    /// The names that stand more than once, each as often as it is repeated.
    fn repeated(&self) -> Vec<&str> {
        let names = self.0.iter().map(|(key, _)| &*key.0);
        if self.0.len() > FEW {
            let mut seen = HashSet::with_capacity(self.0.len());
            return names.filter(|name| !seen.insert(*name)).collect();
        }
        let stands_before = |(at, name): (usize, &'_ str)| self.0[..at].iter().any(|(key, _)| key.0 == name);
        names.enumerate().filter(|pair| stands_before(*pair)).map(|(_, name)| name).collect()
    }
}

/// Why a text could not be read. Shows a rule and a place, never a piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    rule: &'static str,
    line: usize,
    column: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {})", self.rule, self.line, self.column)
    }
}

/// Reads one JSON text.
pub fn parse(text: &str) -> Result<Node<'_>, Fault> {
    serde_json::from_str(text).map_err(|error| Fault {
        rule: rule(&error),
        line: error.line(),
        column: error.column(),
    })
}

/// The rule behind an error. Its own words are matched against a closed list and never passed on.
fn rule(error: &serde_json::Error) -> &'static str {
    if error.is_eof() {
        return "must be JSON, but ends too early";
    }
    let words = error.to_string();
    let is = |start: &str| words.starts_with(start);
    match () {
        () if is("recursion limit") => "must not be nested deeper than 127 levels",
        () if is("number out of range") => "must not hold a number beyond the range of a double",
        () if is("trailing comma") => "must be JSON, which has no comma before a closing bracket",
        () if is("trailing characters") => "must be one JSON value, with nothing after it",
        () if is("key must be a string") => "must be JSON, where a property's name is a string in quotes",
        () if is("control character") => "must be JSON, where a string holds no raw control character",
        () if is("lone") || is("unexpected end of hex") || is("invalid unicode") => {
            "must be JSON, where a \\u escape names a whole character"
        }
        () if is("expected `,`") => "must be JSON; a comma or a closing bracket is missing",
        () => "must be JSON",
    }
}

/// Notes every name that is repeated within one object, at any depth, as a problem.
pub fn check_names(node: &Node<'_>, at: &Path<'_>, problems: &mut Problems) {
    match node {
        Node::Array(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                check_names(node, &at.index(index), problems);
            }
        }
        Node::Object(object) => {
            note_repeated(object, at, problems);
            for (key, node) in &object.0 {
                check_names(node, &at.name(&key.0), problems);
            }
        }
        _ => {}
    }
}

/// One problem for each name as it is shown: a thousand undocumented names are one `*`.
fn note_repeated(object: &Object<'_>, at: &Path<'_>, problems: &mut Problems) {
    let mut noted = Vec::new();
    for name in object.repeated() {
        let name = shown(name);
        if !noted.contains(&name) {
            noted.push(name);
            problems.body(&at.name(name), "must not stand twice in one object");
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

/// Makes a node of whatever comes.
struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut properties = Vec::new();
        while let Some(property) = map.next_entry()? {
            properties.push(property);
        }
        Ok(Node::Object(Object(properties)))
    }
}
