//! A letter with another body: patched, checked by the worker's own rules, its identity kept.
//!
//! Owns the changing of JSON such that what nobody changed keeps its bytes. The editor, the questions
//! and the sending are elsewhere.

use crate::{
    event::{self, EventKey},
    message::Message,
    problem::Problem,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::civil::Date;
use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::{Value, value::RawValue};

mod bytes;

pub use bytes::changes;

/// Why a body could not be changed. Shows no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Only JSON has places.
    #[error(
        "the body is no JSON in UTF-8, so that there is nothing at {0} to set; leave --set and --patch out, and edit it whole"
    )]
    NotJson(String),
    /// A patch that does not apply.
    #[error("the patch does not apply: {0}")]
    Patch(String),
    /// A `--set` that is no pointer and value.
    #[error("--set takes a JSON Pointer and a value, such as /customer/email=geoff@example.com")]
    Set,
}

/// A `--set`: a place, and a value that is JSON, or else a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pointer: PointerBuf,
    value: Value,
}

impl std::str::FromStr for Set {
    type Err = EditError;

    fn from_str(text: &str) -> Result<Self, EditError> {
        let (pointer, value) = text.split_once('=').ok_or(EditError::Set)?;
        let pointer = PointerBuf::parse(pointer.to_owned()).map_err(|_| EditError::Set)?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok(Self { pointer, value })
    }
}

/// Sets places one after the other. A place within the data is found wherever the encoding keeps the
/// data: `/customer/email` is `/data/customer/email` in a structured `CloudEvent`.
pub fn set(body: &[u8], places: &[Set]) -> Result<Vec<u8>, EditError> {
    places.iter().try_fold(body.to_vec(), |body, place| set_one(&body, &place.pointer, &place.value))
}

fn set_one(body: &[u8], pointer: &PointerBuf, value: &Value) -> Result<Vec<u8>, EditError> {
    let tree: Value = serde_json::from_slice(body).map_err(|_| EditError::NotJson(pointer.to_string()))?;
    if let Some((encoded, inner)) = within_base64(&tree, pointer) {
        let inside = BASE64_STANDARD.decode(encoded).map_err(|_| EditError::NotJson(pointer.to_string()))?;
        let changed = BASE64_STANDARD.encode(set_one(&inside, &inner, value)?);
        let outer = pointer_to("/data_base64");
        return set_one(body, &outer, &Value::String(changed));
    }
    let path = locate(&tree, pointer);
    let value = value.clone();
    let operation = if path.resolve(&tree).is_ok() {
        PatchOperation::Replace(ReplaceOperation { path, value })
    } else {
        PatchOperation::Add(AddOperation { path, value })
    };
    patch(body, &Patch(vec![operation]))
}

/// Applies an RFC 6902 patch.
pub fn patch(body: &[u8], patch: &Patch) -> Result<Vec<u8>, EditError> {
    let not_json = || EditError::NotJson("its places".to_owned());
    let old: &RawValue = serde_json::from_slice(body).map_err(|_| not_json())?;
    let mut new: Value = serde_json::from_str(old.get()).map_err(|_| not_json())?;
    json_patch::patch(&mut new, patch)
        .map_err(|error| EditError::Patch(format!("{} at operation {}", error.kind, error.operation)))?;
    Ok(bytes::write(&new, old).into_bytes())
}

fn pointer_to(text: &str) -> PointerBuf {
    PointerBuf::parse(text.to_owned()).unwrap_or_default()
}

/// The place in a structured event that a place in its data stands for.
fn locate(tree: &Value, pointer: &PointerBuf) -> PointerBuf {
    let first = pointer.first().map(|token| token.decoded().into_owned());
    let stands = first.is_none_or(|first| tree.get(&first).is_some() || first == "data");
    if stands || !tree.get("data").is_some_and(Value::is_object) || tree.get("specversion").is_none() {
        return pointer.clone();
    }
    pointer_to(&format!("/data{pointer}"))
}

/// The text and the rest of the pointer, where it leads into data that is written in Base64.
fn within_base64<'a>(tree: &'a Value, pointer: &PointerBuf) -> Option<(&'a str, PointerBuf)> {
    let encoded = tree.get("data_base64")?.as_str()?;
    let text = pointer.to_string();
    if let Some(inner) = text.strip_prefix("/data_base64/") {
        return Some((encoded, pointer_to(&format!("/{inner}"))));
    }
    text.starts_with("/customer").then(|| (encoded, pointer.clone()))
}

/// A letter after the edit.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The letter with its new body.
    pub message: Message,
    /// The identity that the worker will give it.
    pub key: EventKey,
    /// What the worker would find wrong with it.
    pub problems: Vec<Problem>,
}

/// The letter with another body, as the worker would read it.
///
/// An event without an id of its own is known by its body. It keeps its identity, and with it what the
/// ledger knows, by getting the old one as its AMQP `message_id`.
pub fn edited(letter: &Message, body: Vec<u8>, today: Date) -> Edited {
    let before = read(letter, today).0;
    let message = Message { body: body.into(), ..letter.clone() };
    let (key, problems) = read(&message, today);
    let named = letter.properties.message_id().as_ref().is_some_and(|id| !id.as_str().is_empty());
    if key == before || named {
        return Edited { message, key, problems };
    }
    let id = event::id_of_body(&letter.body);
    let properties = message.properties.clone().with_message_id(id.as_str().into());
    let pinned = Message { properties, ..message.clone() };
    let (pinned_key, pinned_problems) = read(&pinned, today);
    if pinned_key == before {
        return Edited { message: pinned, key: pinned_key, problems: pinned_problems };
    }
    Edited { message, key, problems }
}

fn read(message: &Message, today: Date) -> (EventKey, Vec<Problem>) {
    match event::read(message, today) {
        Ok(event) => (event.key, Vec::new()),
        Err(invalid) => (invalid.key, invalid.problems),
    }
}

#[cfg(test)]
mod tests;
