//! Writing changed JSON such that whatever did not change keeps its bytes, its order and its spelling.

use crate::problem::shown;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, collections::HashSet, fmt};

/// An object's members in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// The new value, with the old one's bytes wherever the two are equal.
pub(super) fn write(new: &Value, old: &RawValue) -> String {
    let mut out = String::with_capacity(old.get().len());
    merge(new, Some(old), &mut out);
    out
}

fn merge(new: &Value, old: Option<&RawValue>, out: &mut String) {
    if let Some(old) = old.filter(|old| serde_json::from_str::<Value>(old.get()).is_ok_and(|old| old == *new))
    {
        out.push_str(old.get());
        return;
    }
    let old = old.map(RawValue::get);
    match new {
        Value::Object(new) => {
            let old = old.and_then(|old| serde_json::from_str(old).ok()).unwrap_or(Members(Vec::new()));
            members(new, &old, out);
        }
        Value::Array(new) => {
            let old: Vec<&RawValue> = old.and_then(|old| serde_json::from_str(old).ok()).unwrap_or_default();
            list('[', ']', new.iter().enumerate(), out, |(at, value), out| {
                merge(value, old.get(at).copied(), out);
            });
        }
        leaf => out.push_str(&leaf.to_string()),
    }
}

/// The members that stay, in the old order, and then the new ones. Of a repeated name the last counts.
fn members(new: &serde_json::Map<String, Value>, old: &Members<'_>, out: &mut String) {
    let last = |name: &str| old.0.iter().rposition(|(other, _)| other == name);
    let kept = old.0.iter().enumerate().filter(|(at, (name, _))| last(name) == Some(*at));
    let kept: Vec<_> =
        kept.filter_map(|(_, (name, raw))| Some((&**name, new.get(&**name)?, Some(*raw)))).collect();
    let names: HashSet<&str> = kept.iter().map(|(name, ..)| *name).collect();
    let added = new.iter().filter(|(name, _)| !names.contains(name.as_str()));
    let added = added.map(|(name, value)| (name.as_str(), value, None));
    list('{', '}', kept.iter().copied().chain(added), out, |(name, value, raw), out| {
        out.push_str(&Value::from(name).to_string());
        out.push(':');
        merge(value, raw, out);
    });
}

fn list<T>(
    open: char,
    close: char,
    items: impl Iterator<Item = T>,
    out: &mut String,
    mut write: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(close);
}

/// The places at which two bodies differ, without a value: `/customer/email`. None where one of them is
/// no JSON.
pub fn changes(before: &[u8], after: &[u8]) -> Option<Vec<String>> {
    let (before, after) = (serde_json::from_slice(before).ok()?, serde_json::from_slice(after).ok()?);
    let mut places = Vec::new();
    differ(&before, &after, &mut String::new(), &mut places);
    places.dedup();
    Some(places)
}

fn differ(before: &Value, after: &Value, at: &mut String, places: &mut Vec<String>) {
    let length = at.len();
    let mut below = |name: &str, before: Option<&Value>, after: Option<&Value>| {
        at.push('/');
        at.push_str(name);
        match (before, after) {
            (Some(before), Some(after)) => differ(before, after, at, places),
            (Some(_), None) => places.push(format!("{at} (removed)")),
            (None, _) => places.push(format!("{at} (new)")),
        }
        at.truncate(length);
    };
    match (before, after) {
        (one, other) if one == other => {}
        (Value::Object(before), Value::Object(after)) => {
            let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
            for name in names {
                below(shown(name), before.get(name), after.get(name));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for index in 0..before.len().max(after.len()) {
                below(&index.to_string(), before.get(index), after.get(index));
            }
        }
        _ => places.push(if at.is_empty() { "(all of it)".to_owned() } else { at.clone() }),
    }
}
