//! The body as bytes: how long it may be, and that it is JSON in UTF-8.
//!
//! Owns the limits. What stands in the JSON is read elsewhere.

use super::set;
use crate::{
    json::{self, Node},
    message::Message,
    problem::{Path, Problems},
};

/// The longest body that is read, in bytes: 1 MiB, a thousand times what a customer needs.
pub const MAX_BODY: usize = 1024 * 1024;

/// The body's text. A body in an encoding that is not read is a problem of the encoding alone.
pub(super) fn text<'a>(message: &'a Message, problems: &mut Problems) -> Option<&'a str> {
    let encoding = set(message.properties.content_encoding().as_ref()).unwrap_or("identity");
    if !["identity", "utf-8"].iter().any(|known| known.eq_ignore_ascii_case(encoding)) {
        problems.property("content_encoding", "must be utf-8 or left out: send the body uncompressed");
        return None;
    }
    utf8(&message.body, &Path::Root, problems)
}

/// The text of bytes that lie at `at`.
pub(super) fn utf8<'a>(bytes: &'a [u8], at: &Path<'_>, problems: &mut Problems) -> Option<&'a str> {
    if bytes.len() > MAX_BODY {
        problems.body(at, "must not be longer than 1 MiB");
        return None;
    }
    if bytes.trim_ascii().is_empty() {
        problems.body(at, "must not be empty");
        return None;
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        problems.body(at, "must not start with a byte order mark");
        return None;
    }
    let text = std::str::from_utf8(bytes).ok();
    if text.is_none() {
        problems.body(at, "must be UTF-8");
    }
    text
}

/// The JSON of a text that lies at `at`, its names checked.
pub(super) fn tree<'a>(text: &'a str, at: &Path<'_>, problems: &mut Problems) -> Option<Node<'a>> {
    match json::parse(text) {
        Ok(node) => {
            json::check_names(&node, at, problems);
            Some(node)
        }
        Err(fault) => {
            problems.body(at, fault.to_string());
            None
        }
    }
}
