//! The attributes of an envelope: where each encoding keeps them, and what they have to be.
//!
//! Owns the rules of the envelope. The identity that follows from them is `identity`'s.

use super::{
    CREATE_CUSTOMER,
    encoding::{Encoding, is_json},
    set,
};
use crate::{
    json::{Node, Object},
    message::{Message, Value, text},
    problem::{Path, Problems},
};
use jiff::Timestamp;

const NOT_JSON: &str = "must be a JSON media type such as application/json";

/// Where a CloudEvent keeps its attributes.
pub(super) enum Attributes<'a> {
    /// In the members of the body's object.
    Members(&'a Object<'a>),
    /// In headers with this prefix.
    Headers(&'a Message, &'static str),
}

/// What an attribute is given as.
enum Given<'a> {
    Nothing,
    Text(&'a str),
    Other,
}

/// What an envelope says, as far as it can be read.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    /// Where the event comes from; no plain message says.
    pub(super) source: Option<&'a str>,
    /// The sender's id of the event; the CloudEvent's, never AMQP's.
    pub(super) id: Option<&'a str>,
    /// The sender's own key for the customer.
    pub(super) subject: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// The attributes of a message, where it is a CloudEvent whose body can be read that far.
    pub(super) fn of(encoding: Encoding, message: &'a Message, tree: Option<&'a Node<'a>>) -> Option<Self> {
        match (encoding, tree) {
            (Encoding::Structured, Some(Node::Object(object))) => Some(Self::Members(object)),
            (Encoding::Binary(prefix), _) => Some(Self::Headers(message, prefix)),
            _ => None,
        }
    }

    /// An attribute's text, if it has any.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match self.get(name) {
            Given::Text(text) => Some(text),
            Given::Nothing | Given::Other => None,
        }
    }

    /// When the event was made. It decides nothing, so that one that cannot be read is none; AMQP has a
    /// type of its own for it.
    pub(super) fn time(&self) -> Option<Timestamp> {
        if let Self::Headers(message, prefix) = *self
            && let Some(&Value::Timestamp(seconds)) = message.header(&format!("{prefix}time"))
        {
            return Timestamp::from_second(i64::try_from(seconds).ok()?).ok();
        }
        self.text("time")?.parse().ok()
    }

    /// An attribute. CloudEvents take a null for an attribute that is not set.
    fn get(&self, name: &str) -> Given<'a> {
        let text = match *self {
            Self::Members(object) => match object.get(name) {
                None | Some(Node::Null) => return Given::Nothing,
                Some(Node::String(text)) => Some(&**text),
                Some(_) => None,
            },
            Self::Headers(message, prefix) => match message.header(&format!("{prefix}{name}")) {
                None | Some(Value::Void) => return Given::Nothing,
                Some(value) => text(value),
            },
        };
        text.map_or(Given::Other, Given::Text)
    }

    fn note(&self, name: &str, rule: &'static str, problems: &mut Problems) {
        match self {
            Self::Members(_) => problems.body(&Path::Root.name(name), rule),
            Self::Headers(_, prefix) => problems.header(&format!("{prefix}{name}"), rule),
        }
    }

    /// An attribute that has to be there, and not empty.
    fn required(&self, name: &str, problems: &mut Problems) -> Option<&'a str> {
        if matches!(self.get(name), Given::Nothing) {
            self.note(name, "is required", problems);
            return None;
        }
        self.optional(name, problems)
    }

    /// An attribute that may be left out, but not empty.
    fn optional(&self, name: &str, problems: &mut Problems) -> Option<&'a str> {
        match self.get(name) {
            Given::Nothing => return None,
            Given::Text("") => self.note(name, "must not be empty", problems),
            Given::Text(text) => return Some(text),
            Given::Other => self.note(name, "must be a string", problems),
        }
        None
    }
}

/// Notes every problem of the envelope, and says what can be read of it.
pub(super) fn check<'a>(
    encoding: Encoding,
    message: &Message,
    attributes: Option<&Attributes<'a>>,
    problems: &mut Problems,
) -> Envelope<'a> {
    let kind = set(message.properties.kind().as_ref());
    let media = set(message.properties.content_type().as_ref());
    match encoding {
        Encoding::Plain if kind.is_some_and(|kind| kind != CREATE_CUSTOMER) => {
            problems.property("type", "must be CreateCustomer where it is set");
        }
        Encoding::Binary(_) if media.is_some_and(|media| !is_json(media)) => {
            problems.property("content_type", NOT_JSON);
        }
        _ => {}
    }
    attributes.map(|attributes| cloud_event(attributes, problems)).unwrap_or_default()
}

fn cloud_event<'a>(attributes: &Attributes<'a>, problems: &mut Problems) -> Envelope<'a> {
    if attributes.required("specversion", problems).is_some_and(|version| version != "1.0") {
        attributes.note("specversion", "must be 1.0", problems);
    }
    if attributes.required("type", problems).is_some_and(|kind| kind != CREATE_CUSTOMER) {
        attributes.note("type", "must be CreateCustomer", problems);
    }
    if attributes.optional("datacontenttype", problems).is_some_and(|media| !is_json(media)) {
        attributes.note("datacontenttype", NOT_JSON, problems);
    }
    Envelope {
        source: attributes.required("source", problems),
        id: attributes.required("id", problems),
        subject: attributes.optional("subject", problems),
    }
}
