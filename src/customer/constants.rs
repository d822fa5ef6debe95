//! The constants of imin's request body, and putting them where they were left out.
//!
//! Owns the splice: what the sender wrote stays byte for byte, in its order.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What `@context` is, here and at imin.
pub const CONTEXT: &str = "https://openactive.io/";
/// What `@type` is.
pub const ACCOUNT: &str = "CustomerAccount";
/// What `customer.@type` is.
pub const PERSON: &str = "Person";

/// The constants that a request body leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// `@context`
    pub context: bool,
    /// `@type`
    pub kind: bool,
    /// `customer.@type`
    pub person: bool,
}

/// Where the customer stands in the data, found by a second, skipping pass that only bodies
/// without its `@type` need.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    customer: &'a RawValue,
}

impl Missing {
    /// The data with the constants supplied, each right behind the brace of its object; the same
    /// bytes, uncopied, where none is missing. `data` is a JSON object that `check` has passed.
    pub fn supply(self, data: &Bytes) -> Bytes {
        if self == Self::default() {
            return data.clone();
        }
        let top = brace(data, 0);
        let customer = if self.person { customer_brace(data) } else { None };
        let end = customer.unwrap_or(data.len());
        let mut whole = Vec::with_capacity(data.len() + 96);
        whole.extend_from_slice(&data[..top]);
        if self.context {
            push(&mut whole, "@context", CONTEXT);
        }
        if self.kind {
            push(&mut whole, "@type", ACCOUNT);
        }
        whole.extend_from_slice(&data[top..end]);
        if customer.is_some() {
            push(&mut whole, "@type", PERSON);
        }
        whole.extend_from_slice(&data[end..]);
        whole.into()
    }
}

/// Writes a property and its comma; a required property always follows.
fn push(whole: &mut Vec<u8>, name: &str, value: &str) {
    for piece in ["\"", name, "\":\"", value, "\","] {
        whole.extend_from_slice(piece.as_bytes());
    }
}

/// The place right behind the first brace at or after `from`.
fn brace(data: &[u8], from: usize) -> usize {
    data[from..].iter().position(|byte| *byte == b'{').map_or(from, |at| from + at + 1)
}

/// The place right behind the customer's brace.
fn customer_brace(data: &Bytes) -> Option<usize> {
    let parsed: Data<'_> = serde_json::from_slice(data).ok()?;
    let customer = parsed.customer.get();
    let from = customer.as_ptr().addr() - data.as_ptr().addr();
    Some(brace(data, from))
}
