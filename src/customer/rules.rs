//! The rules of the fields, each worded so that whoever reads it knows what to change.
//!
//! Owns the words. Which field has which rule is `customer`'s.

use crate::{
    json::{Node, Object},
    problem::{Path, Problems},
};
use email_address::{EmailAddress, Error as EmailError, Options};
use jiff::civil::Date;

/// What a rule says of a value: nothing, or what it must be.
pub(super) type Verdict = Result<(), &'static str>;

/// A null breaks the rule of every optional field, and there is a better way out than that rule's.
const NO_NULL: &str = "must not be null: leave the property out instead";

/// An object under check, with its place and the problems found so far.
pub(super) struct Fields<'a> {
    object: &'a Object<'a>,
    at: Path<'a>,
    problems: &'a mut Problems,
}

impl<'a> Fields<'a> {
    /// The fields of a node, if it is an object; a problem, if not.
    pub(super) fn of(node: &'a Node<'a>, at: Path<'a>, problems: &'a mut Problems) -> Option<Self> {
        let Node::Object(object) = node else {
            problems.body(&at, "must be an object");
            return None;
        };
        Some(Self { object, at, problems })
    }

    /// Checks a field that may be left out and has one value only; true where it is left out.
    pub(super) fn constant(&mut self, name: &str, value: &str) -> bool {
        match self.object.get(name) {
            None => return true,
            Some(Node::String(text)) if text == value => {}
            Some(_) => self.problems.body(&self.at.name(name), format!("must be {value} where it is given")),
        }
        false
    }

    /// Checks a field that must be there.
    pub(super) fn required(&mut self, name: &str, rule: impl FnOnce(&Node<'_>) -> Verdict) {
        self.check(name, rule, Some("is required"));
    }

    /// Checks a field that may be left out.
    pub(super) fn optional(&mut self, name: &str, rule: impl FnOnce(&Node<'_>) -> Verdict) {
        self.check(name, |node| if *node == Node::Null { Err(NO_NULL) } else { rule(node) }, None);
    }

    /// Checks an object that must be there.
    pub(super) fn required_object(&mut self, name: &str, fields: impl FnOnce(&mut Fields<'_>)) {
        match self.object.get(name) {
            None => self.problems.body(&self.at.name(name), "is required"),
            Some(node) => self.enter(name, node, fields),
        }
    }

    /// Checks an object that may be left out.
    pub(super) fn optional_object(&mut self, name: &str, fields: impl FnOnce(&mut Fields<'_>)) {
        match self.object.get(name) {
            None => {}
            Some(Node::Null) => self.problems.body(&self.at.name(name), NO_NULL),
            Some(node) => self.enter(name, node, fields),
        }
    }

    fn enter(&mut self, name: &str, node: &Node<'_>, fields: impl FnOnce(&mut Fields<'_>)) {
        if let Some(mut inner) = Fields::of(node, self.at.name(name), self.problems) {
            fields(&mut inner);
        }
    }

    fn check(&mut self, name: &str, rule: impl FnOnce(&Node<'_>) -> Verdict, absent: Option<&'static str>) {
        let broken = match self.object.get(name) {
            None => absent,
            Some(node) => rule(node).err(),
        };
        if let Some(words) = broken {
            self.problems.body(&self.at.name(name), words);
        }
    }
}

fn string<'a>(node: &'a Node<'_>) -> Result<&'a str, &'static str> {
    match node {
        Node::String(text) => Ok(text),
        _ => Err("must be a string"),
    }
}

/// Any string.
pub(super) fn text(node: &Node<'_>) -> Verdict {
    string(node).map(drop)
}

/// A string that shows something.
pub(super) fn not_blank(node: &Node<'_>) -> Verdict {
    if string(node)?.chars().all(shows_nothing) { Err("must not be blank") } else { Ok(()) }
}

/// White space, control characters, and the format characters that sheets and web pages leave behind.
fn shows_nothing(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node<'_>) -> Verdict {
    if matches!(node, Node::Bool(_)) { Ok(()) } else { Err("must be true or false") }
}

/// The bare address of a mailbox on the internet.
pub(super) fn email(node: &Node<'_>) -> Verdict {
    const BARE: &str = "must be the bare e-mail address, without a name, angle brackets or spaces around it";
    not_blank(node)?;
    let address = string(node)?;
    let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
    // The parser takes " <a@example.com>" for an address without a display name.
    if address.trim() != address || address.ends_with('>') {
        return Err(BARE);
    }
    EmailAddress::parse_with_options(address, options).map(drop).map_err(|error| match error {
        EmailError::UnsupportedDisplayName => BARE,
        EmailError::DomainTooFew | EmailError::UnsupportedDomainLiteral => {
            "must be an e-mail address whose domain has a dot, such as name@example.com"
        }
        _ => "must be an e-mail address such as name@example.com",
    })
}

/// A day of the calendar that has come.
pub(super) fn birth_date(node: &Node<'_>, today: Date) -> Verdict {
    let Node::String(text) = node else { return Err("must be a date such as 1970-01-31") };
    let (year, month, day) = digits(text).ok_or("must be a date such as 1970-01-31")?;
    let date = Date::new(year, month, day).map_err(|_| "must be a date that exists")?;
    if date > today { Err("must not lie in the future") } else { Ok(()) }
}

/// The numbers of `YYYY-MM-DD`, and of no other of the forms that ISO 8601 knows.
fn digits(text: &str) -> Option<(i16, i8, i8)> {
    let form =
        |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    if text.len() != 10 || !text.bytes().enumerate().all(form) {
        return None;
    }
    Some((text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?))
}

/// A country's code.
pub(super) fn country(node: &Node<'_>) -> Verdict {
    match rust_iso3166::from_alpha2(string(node)?) {
        Some(_) => Ok(()),
        None => Err("must be an ISO 3166-1 alpha-2 country code in capitals, such as GB"),
    }
}
