//! What may be seen of a customer without `--reveal`: the shape, not the values.
//!
//! Owns the masking of bodies, of header values and of the hint by which an operator tells two
//! letters apart; and that no text from a message can talk to a terminal.

use crate::{
    json::{self, Node},
    message::{Value, number, text},
    problem::shown,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::fmt::Write as _;

/// What stands for a value.
pub const MASK: &str = "•••";
/// Values that say nothing of anybody: the constants of the contract.
const CONSTANTS: [&str; 8] = [
    "https://openactive.io/",
    "CustomerAccount",
    "Person",
    "PostalAddress",
    "CreateCustomer",
    "1.0",
    "application/json",
    "application/cloudevents+json",
];
/// Headers whose values are the worker's own words, or public by their nature.
const OPEN: [&str; 17] = [
    "attempts",
    "failures",
    "not-before",
    "original-exchange",
    "original-routing-key",
    "replay-count",
    "replay-watched-by",
    "resolution",
    "resolution-id",
    "traceparent",
    "x-death",
    "event-key",
    "worker-version",
    "first-attempt-at",
    "headers-dropped",
    "x-delivery-count",
    "x-acquired-count",
];

/// The customer's e-mail address, so that an operator may tell two letters apart: `g•••@e•••.com`.
pub fn hint(body: &[u8]) -> Option<String> {
    let tree = json::parse(std::str::from_utf8(body).ok()?).ok()?;
    let Node::Object(event) = &tree else { return None };
    if let Some(Node::String(encoded)) = event.get("data_base64") {
        return hint(&BASE64_STANDARD.decode(encoded.as_bytes()).ok()?);
    }
    let data = match event.get("data") {
        Some(Node::Object(data)) => data,
        _ => event,
    };
    let Some(Node::Object(customer)) = data.get("customer") else { return None };
    let Some(Node::String(email)) = customer.get("email") else { return None };
    Some(email_address(email))
}

/// An e-mail address by its first letters and its top-level domain.
fn email_address(address: &str) -> String {
    let first = |part: &str| part.chars().next().filter(|c| c.is_alphanumeric()).map(String::from);
    let Some((local, domain)) = address.rsplit_once('@') else { return MASK.to_owned() };
    let top = domain.rsplit_once('.').map_or("", |(_, top)| top);
    let top = if top.len() > 6 || !top.chars().all(|c| c.is_ascii_alphanumeric()) { MASK } else { top };
    let (local, domain) = (first(local).unwrap_or_default(), first(domain).unwrap_or_default());
    format!("{local}{MASK}@{domain}{MASK}.{top}")
}

/// A body's shape: its documented names, and the kinds of its values. One that is no JSON shows its
/// length only.
pub fn body(bytes: &[u8]) -> String {
    let tree = std::str::from_utf8(bytes).ok().and_then(|text| json::parse(text).ok());
    match &tree {
        Some(tree) => {
            let mut out = String::new();
            node(tree, 0, &mut out);
            out
        }
        None => format!("({} bytes that are no JSON)", bytes.len()),
    }
}

fn node(tree: &Node<'_>, depth: usize, out: &mut String) {
    match tree {
        Node::Null => out.push_str("null"),
        Node::Bool(_) => out.push_str("(boolean)"),
        Node::Number => out.push_str("(number)"),
        Node::String(text) if CONSTANTS.contains(&&**text) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "\"{text}\"");
        }
        Node::String(text) if text.is_empty() => out.push_str("\"\""),
        Node::String(_) => out.push_str(MASK),
        Node::Array(nodes) => {
            list(nodes.iter().map(|node| (None, node)), ('[', ']'), depth, out);
        }
        Node::Object(object) => {
            list(object.iter().map(|(name, node)| (Some(name), node)), ('{', '}'), depth, out);
        }
    }
}

fn list<'a>(
    items: impl Iterator<Item = (Option<&'a str>, &'a Node<'a>)>,
    (open, close): (char, char),
    depth: usize,
    out: &mut String,
) {
    out.push(open);
    let mut any = false;
    for (name, item) in items {
        out.push_str(if any { ",\n" } else { "\n" });
        any = true;
        out.push_str(&"  ".repeat(depth + 1));
        if let Some(name) = name {
            let _ = write!(out, "\"{}\": ", shown(name));
        }
        node(item, depth + 1, out);
    }
    if any {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
}

/// A header's value as it may be seen: in full where it is the worker's own word.
pub fn header(name: &str, value: &Value) -> String {
    let bare = name.strip_prefix("previous-").unwrap_or(name);
    let own = OPEN.contains(&bare)
        || ["failure-", "x-first-death-", "x-last-death-"].iter().any(|start| bare.starts_with(start));
    if own {
        return plain(&full(value));
    }
    match value {
        Value::Boolean(_) => "(boolean)".to_owned(),
        Value::Void => "null".to_owned(),
        _ if number(value).is_some() => "(number)".to_owned(),
        _ if text(value).is_some_and(|text| CONSTANTS.contains(&text)) => full(value),
        _ => MASK.to_owned(),
    }
}

/// A header's value in full.
pub fn full(value: &Value) -> String {
    if let Some(text) = text(value) {
        return text.to_owned();
    }
    match value {
        Value::FieldArray(values) => {
            let all: Vec<_> = values.as_slice().iter().map(full).collect();
            format!("[{}]", all.join(", "))
        }
        Value::FieldTable(table) => {
            let all: Vec<_> =
                table.inner().iter().map(|(name, value)| format!("{name}: {}", full(value))).collect();
            format!("{{{}}}", all.join(", "))
        }
        Value::Boolean(is) => is.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::ShortShortInt(n) => n.to_string(),
        Value::ShortInt(n) => n.to_string(),
        Value::LongInt(n) => n.to_string(),
        Value::LongLongInt(n) => n.to_string(),
        Value::Void => "null".to_owned(),
        _ => number(value).map_or_else(|| "(bytes)".to_owned(), |n| n.to_string()),
    }
}

/// A text without anything by which it could move a terminal's cursor or change its colours.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::long;
    use proptest::prelude::*;

    #[test]
    fn a_hint_tells_two_apart_and_names_nobody() {
        for (body, hint_) in [
            (r#"{"customer":{"email":"geoff@example.com"}}"#, Some("g•••@e•••.com")),
            (r#"{"data":{"customer":{"email":"zoe@b.example.org"}}}"#, Some("z•••@b•••.org")),
            (r#"{"data_base64":"eyJjdXN0b21lciI6eyJlbWFpbCI6ImFAYi5jbyJ9fQ=="}"#, Some("a•••@b•••.co")),
            (r#"{"customer":{"email":"not an address"}}"#, Some("•••")),
            (r#"{"customer":{"email":"a@b.averylongname"}}"#, Some("a•••@b•••.•••")),
            (r#"{"customer":{}}"#, None),
            ("[]", None),
            ("nonsense", None),
        ] {
            assert_eq!(hint(body.as_bytes()).as_deref(), hint_, "{body}");
        }
    }

    #[test]
    fn a_masked_body_keeps_its_shape_and_the_constants() {
        let body_ =
            br#"{"@type":"CustomerAccount","customer":{"email":"x@y.z","age":7,"Geoff":true,"n":[null,""]}}"#;
        let masked = body(body_);
        assert_eq!(
            masked,
            "{\n  \"@type\": \"CustomerAccount\",\n  \"customer\": {\n    \"email\": •••,\n    \"*\": (number),\n    \
             \"*\": (boolean),\n    \"*\": [\n      null,\n      \"\"\n    ]\n  }\n}"
        );
        assert_eq!(body(b"\xff"), "(1 bytes that are no JSON)");
    }

    #[test]
    fn a_senders_header_is_masked_and_the_workers_own_is_not() {
        assert_eq!(header("failure-reason", &long("rejected_by_api")), "rejected_by_api");
        assert_eq!(header("previous-failure-status", &Value::LongInt(422)), "422");
        assert_eq!(header("ce-subject", &long("geoff@example.com")), MASK);
        assert_eq!(header("ce-specversion", &long("1.0")), "1.0");
        assert_eq!(header("mine", &Value::LongInt(7)), "(number)");
    }

    #[test]
    fn a_value_of_any_kind_is_seen_in_full_where_it_is_the_workers_own() {
        for (value, seen, masked) in [
            (Value::Boolean(true), "true", "(boolean)"),
            (Value::Void, "null", "null"),
            (Value::Float(0.5), "0.5", MASK),
            (Value::Double(0.25), "0.25", MASK),
            (Value::ShortShortInt(-1), "-1", MASK),
            (Value::ShortInt(-2), "-2", MASK),
            (Value::LongInt(-3), "-3", MASK),
            (Value::LongLongInt(-4), "-4", MASK),
            (Value::Timestamp(5), "5", "(number)"),
            (Value::ByteArray(vec![0xff].into()), "(bytes)", MASK),
        ] {
            assert_eq!(
                (header("failure-x", &value).as_str(), header("mine", &value).as_str()),
                (seen, masked)
            );
        }
    }

    #[test]
    fn no_text_talks_to_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\u{9b}c\r\n"), "a\\u{1b}[31mb\\u{9b}c\\u{d}\n");
    }

    proptest! {
        #[test]
        fn no_value_is_seen_through_the_mask(secret in "[A-Z]{8,20}", name in "[a-z]{8,12}") {
            let body_ = serde_json::json!({
                &name: [&secret], "customer": {"email": format!("{secret}@{secret}.com"), "address": {&name: &secret}}
            });
            let masked = body(body_.to_string().as_bytes());
            prop_assert!(!masked.contains(&secret) && !masked.contains(&name), "{masked}");
            let hint = hint(body_.to_string().as_bytes()).expect("an e-mail address");
            prop_assert!(!hint.contains(&secret[..2]), "{hint}");
        }
    }
}
