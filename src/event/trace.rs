//! W3C Trace Context: taken along where it is well-formed, and dropped silently where it is not.
//!
//! Owns its form. A trace is never a reason to refuse a customer.

use super::{Trace, attributes::Attributes};
use crate::message::Message;

/// The longest `tracestate` that is passed on, in bytes: what W3C asks everyone to carry.
const MAX_STATE: usize = 512;
/// The most members of a `tracestate`.
const MAX_MEMBERS: usize = 32;

/// The trace of a message: the CloudEvent's own attributes, else AMQP headers.
pub(super) fn read(message: &Message, attributes: Option<&Attributes<'_>>) -> Trace {
    let own = |name| attributes.and_then(|attributes| attributes.text(name));
    let header = |name| message.header_text(name);
    trace(own("traceparent"), own("tracestate"))
        .or_else(|| trace(header("traceparent"), header("tracestate")))
        .unwrap_or_default()
}

fn trace(parent: Option<&str>, state: Option<&str>) -> Option<Trace> {
    let parent = parent.filter(|parent| is_parent(parent))?.to_owned();
    Some(Trace { parent: Some(parent), state: state.filter(|state| is_state(state)).map(str::to_owned) })
}

/// Whether a text is a `traceparent` of version 00, whose ids are not zero.
fn is_parent(text: &str) -> bool {
    let fields: Vec<&str> = text.splitn(5, '-').collect();
    let [version, trace, span, flags] = fields[..] else { return false };
    version == "00" && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2)
}

fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|digit| digit != b'0')
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a text is a `tracestate`: members `key=value` between commas, at least one.
fn is_state(text: &str) -> bool {
    let members = || text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|m| !m.is_empty());
    text.len() <= MAX_STATE && (1..=MAX_MEMBERS).contains(&members().count()) && members().all(is_member)
}

fn is_member(member: &str) -> bool {
    let key_byte = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let value_byte = |byte| matches!(byte, b' '..=b'~') && byte != b'=';
    member.split_once('=').is_some_and(|(key, value)| {
        key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && (1..=256).contains(&value.len())
            && key.len() <= 256
            && key.bytes().all(key_byte)
            && value.bytes().all(value_byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_has_one_form() {
        assert!(is_parent(PARENT));
        let broken = [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        for text in broken {
            assert!(!is_parent(text), "{text}");
        }
    }

    #[test]
    fn a_tracestate_is_a_bounded_list_of_pairs() {
        for text in ["a=1", "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "t@v=x y,,b=2", "0a=~"] {
            assert!(is_state(text), "{text}");
        }
        let long = format!("a={}", "x".repeat(MAX_STATE));
        let many = vec!["a=1"; MAX_MEMBERS + 1].join(",");
        for text in
            ["", ",", "a", "a=", "=1", "A=1", "_a=1", "a=1=2", "a=\u{e9}", "a=\r\nX-API-KEY: 1", &long, &many]
        {
            assert!(!is_state(text), "{text:?}");
        }
    }

    #[test]
    fn a_state_needs_a_parent_and_never_breaks_it() {
        assert_eq!(trace(None, Some("a=1")), None);
        assert_eq!(trace(Some("nonsense"), Some("a=1")), None);
        let alone = Trace { parent: Some(PARENT.to_owned()), state: None };
        assert_eq!(trace(Some(PARENT), Some("nonsense")), Some(alone));
    }
}
