//! The identity of an event: one key for one event, however often and however written it comes.
//!
//! Owns how the key is made. It is a contract with every ledger on disk: a change makes every
//! event of the past a new one.

use super::{EventKey, attributes::Envelope, set};
use crate::message::Message;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use uuid::Uuid;

/// The namespace of the keys: the version 5 UUID of `urn:imin-customer-worker:event` in the namespace of
/// URLs (RFC 9562).
const NAMESPACE: Uuid = Uuid::from_u128(0x07e6_aebf_b6bf_5090_801e_1dae_003e_9a27);

/// The key and the incoming id of an event: a CloudEvent's own, else what AMQP and the body give.
pub(super) fn of(envelope: &Envelope<'_>, message: &Message) -> (EventKey, String) {
    if let (Some(source), Some(id)) = (envelope.source, envelope.id) {
        return (key(Some(source), id), id.to_owned());
    }
    let message_id = set(message.properties.message_id().as_ref());
    let id = message_id.map_or_else(|| sha256(&message.body), str::to_owned);
    (key(None, &id), id)
}

/// The version 5 UUID of the JSON array `["source","id"]`, or `[null,"id"]`: JSON, so that no two pairs
/// are written alike, wherever a source ends and an id begins.
fn key(source: Option<&str>, id: &str) -> EventKey {
    // Strings: there is nothing that could fail to serialise.
    let name = serde_json::to_string(&(source, id)).unwrap_or_default();
    EventKey(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}

/// A SHA-256 in lower-case hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_what_its_comment_says() {
        assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_URL, b"urn:imin-customer-worker:event"));
    }

    #[test]
    fn keys_are_what_every_ledger_on_disk_holds() {
        // Computed with another implementation: Python's `uuid.uuid5`.
        assert_eq!(key(Some("/signup"), "1").to_string(), "15855196-ff0d-53b7-b503-415c48d1ba7d");
        assert_eq!(key(None, "1").to_string(), "e9a337bd-6968-575f-b782-e08b668dcfeb");
    }

    #[test]
    fn no_two_pairs_share_a_key() {
        let pairs = [
            (Some("a"), "b\",\"c"),
            (Some("a\",\"b"), "c"),
            (Some(""), "a"),
            (None, "a"),
            (Some("null"), "a"),
        ];
        for (at, one) in pairs.iter().enumerate() {
            for other in &pairs[..at] {
                assert_ne!(key(one.0, one.1), key(other.0, other.1));
            }
        }
    }

    #[test]
    fn a_hash_is_written_as_every_tool_writes_it() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
