//! The data of an event: where each encoding keeps imin's request body.
//!
//! Owns finding its bytes, uncopied where they stand in the message. Its rules are `customer`'s.

use super::{body, encoding::Encoding};
use crate::{
    customer::{self, Missing},
    json::{Node, Object},
    message::Message,
    problem::{Path, Problems},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The data's bytes, and the constants that are not among them.
type Data = (Bytes, Missing);

/// Notes every problem of the data. None means that there is at least one, noted here or by
/// whoever could not read the body.
pub(super) fn read(
    encoding: Encoding,
    message: &Message,
    text: Option<&str>,
    tree: Option<&Node<'_>>,
    today: Date,
    problems: &mut Problems,
) -> Option<Data> {
    match (encoding, tree?) {
        (Encoding::Structured, Node::Object(object)) => structured(message, text?, object, today, problems),
        (Encoding::Structured, _) => {
            problems.body(&Path::Root, "must be an object");
            None
        }
        (Encoding::Binary(_) | Encoding::Plain, node) => {
            Some((message.body.clone(), customer::check(node, &Path::Root, today, problems)))
        }
    }
}

/// A structured event's data. A null counts as left out, as for every member of the envelope.
fn structured(
    message: &Message,
    text: &str,
    event: &Object<'_>,
    today: Date,
    problems: &mut Problems,
) -> Option<Data> {
    let member = |name| event.get(name).filter(|node| **node != Node::Null);
    let encoded = member("data_base64");
    let at = Path::Root.name("data");
    if let Some(node) = member("data") {
        if encoded.is_some() {
            problems.body(&Path::Root.name("data_base64"), "must not stand beside data");
        }
        let missing = customer::check(node, &at, today, problems);
        return Some((member_bytes(message, text)?, missing));
    }
    let Some(node) = encoded else {
        problems.body(&at, "is required");
        return None;
    };
    base64(node, today, problems)
}

/// Finds the bytes of `data` by a second, skipping pass.
#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The bytes of the member `data`, a part of the message's own. None only where a name is
/// repeated, which is noted already.
fn member_bytes(message: &Message, text: &str) -> Option<Bytes> {
    let event: Structured<'_> = serde_json::from_str(text).ok()?;
    Some(message.body.slice_ref(event.data.get().as_bytes()))
}

/// Data that is written in Base64. Pointers into it continue behind `/data_base64`.
fn base64(node: &Node<'_>, today: Date, problems: &mut Problems) -> Option<Data> {
    let at = Path::Root.name("data_base64");
    let Node::String(encoded) = node else {
        problems.body(&at, "must be a string");
        return None;
    };
    let Ok(bytes) = BASE64_STANDARD.decode(encoded.as_bytes()) else {
        problems.body(&at, "must be Base64 (RFC 4648, with padding)");
        return None;
    };
    let bytes = Bytes::from(bytes);
    let text = body::utf8(&bytes, &at, problems)?;
    let missing = customer::check(&body::tree(text, &at, problems)?, &at, today, problems);
    Some((bytes, missing))
}
