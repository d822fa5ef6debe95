//! Takes a customer's values out of imin's error texts, and cuts what is left to a safe length. Pure.
//!
//! imin may repeat what it was sent ("geoffcapes@example.com is no e-mail address"). What leaves
//! this room goes into logs and headers, so it would rather lose a word too many than keep a value.

use serde_json::Value;
use std::collections::HashMap;

/// The longest text that comes out, in characters.
const LONGEST_TEXT: usize = 200;
/// A shorter value is in too many words to be taken out, and tells too little.
const SHORTEST_VALUE: usize = 3;
/// Not the customer's: the constants of every request.
const CONSTANTS: [&str; 4] = ["https://openactive.io/", "CustomerAccount", "Person", "PostalAddress"];

/// The values of one request, and the parts of them that give somebody away.
///
/// They are kept folded and by their first three characters, so that a long text is searched once.
pub(super) struct Secrets(Option<HashMap<[char; SHORTEST_VALUE], Vec<Vec<char>>>>);

impl Secrets {
    /// The values of a request body: every string and number in it, at any depth.
    pub(super) fn of(request: &[u8]) -> Self {
        let Ok(request) = serde_json::from_slice::<Value>(request) else { return Self(None) };
        let mut secrets = HashMap::new();
        collect(&request, &mut |text| {
            let folded: Vec<char> = text.chars().flat_map(fold).collect();
            if let Some(head) = folded.first_chunk() {
                secrets.entry(*head).or_insert_with(Vec::new).push(folded);
            }
        });
        Self(Some(secrets))
    }

    /// `text` on one line, at most 200 characters of it, with `…` for each word that has a value
    /// in it. None where nothing is left, or where the request could not be read: then nobody
    /// knows what would have to go.
    pub(super) fn scrub(&self, text: &str) -> Option<String> {
        let secrets = self.0.as_ref()?;
        let chars: Vec<char> = text.chars().collect();
        let mut hidden = vec![false; chars.len()];
        let folded: Vec<(char, usize)> =
            chars.iter().enumerate().flat_map(|(at, &c)| fold(c).map(move |c| (c, at))).collect();
        for (start, window) in folded.windows(SHORTEST_VALUE).enumerate() {
            let candidates = secrets.get(&[window[0].0, window[1].0, window[2].0]);
            for secret in candidates.into_iter().flatten() {
                if let Some(found) = found(&folded[start..], secret) {
                    hidden[found.0..=found.1].fill(true);
                }
            }
        }
        hide_whole_words(&chars, &mut hidden);
        let text = shown(&chars, &hidden);
        (!text.is_empty()).then_some(text)
    }
}

/// Case folded character by character; by way of upper case, so that `ß` meets `SS` and `ς` meets `σ`.
fn fold(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().flat_map(char::to_lowercase)
}

/// Where `secret` stands at the head of `folded`: its first and last place in the text.
fn found(folded: &[(char, usize)], secret: &[char]) -> Option<(usize, usize)> {
    let here = folded.get(..secret.len())?;
    let same = here.iter().zip(secret).all(|((c, _), secret)| c == secret);
    same.then(|| (here[0].1, here[here.len() - 1].1))
}

/// A word that is hidden in part is hidden: `cus…er` would tell that somebody is called Tom.
fn hide_whole_words(chars: &[char], hidden: &mut [bool]) {
    let mut start = 0;
    for word in chars.chunk_by(|a, b| a.is_alphanumeric() == b.is_alphanumeric()) {
        let word = start..start + word.len();
        start = word.end;
        if chars[word.start].is_alphanumeric() && hidden[word.clone()].contains(&true) {
            hidden[word].fill(true);
        }
    }
}

/// What is not hidden, with one `…` for each stretch that is.
fn shown(chars: &[char], hidden: &[bool]) -> String {
    let visible = chars.iter().zip(hidden).enumerate().filter_map(|(at, (&c, &gone))| match gone {
        true if at > 0 && hidden[at - 1] => None,
        true => Some('…'),
        false if c.is_control() => Some(' '),
        false => Some(c),
    });
    visible.take(LONGEST_TEXT).collect::<String>().trim().to_owned()
}

/// Hands every value below `json`, and every telling part of it, to `keep`.
fn collect(json: &Value, keep: &mut impl FnMut(&str)) {
    match json {
        Value::String(text) => parts(text, keep),
        Value::Number(number) => parts(&number.to_string(), keep),
        Value::Array(items) => items.iter().for_each(|item| collect(item, keep)),
        Value::Object(object) => {
            for (name, value) in object {
                if !constant(name, value) {
                    collect(value, keep);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn constant(name: &str, value: &Value) -> bool {
    matches!(name, "@context" | "@type") && value.as_str().is_some_and(|text| CONSTANTS.contains(&text))
}

/// The whole value; its words; of an e-mail address the local part, its words and the host;
/// of a telephone number the bare digits.
fn parts(text: &str, keep: &mut impl FnMut(&str)) {
    let mut keep = |part: &str| {
        if part.chars().nth(SHORTEST_VALUE - 1).is_some() {
            keep(part);
        }
    };
    keep(text);
    for word in text.split(|c: char| c.is_whitespace() || c == '-') {
        keep(word.trim_matches(|c: char| !c.is_alphanumeric()));
    }
    if let Some((local, host)) = text.rsplit_once('@') {
        keep(local);
        local.split(|c: char| !c.is_alphanumeric()).for_each(&mut keep);
        keep(host);
    }
    if text.chars().all(|c| c.is_ascii_digit() || " +-./()".contains(c)) {
        keep(&text.chars().filter(char::is_ascii_digit).collect::<String>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn scrub(request: &Value, text: &str) -> Option<String> {
        Secrets::of(request.to_string().as_bytes()).scrub(text)
    }

    fn geoff() -> Value {
        json!({
            "@context": "https://openactive.io/",
            "@type": "CustomerAccount",
            "customer": {
                "@type": "Person",
                "email": "geoff.capes@example.com",
                "telephone": "020 811-8055",
                "givenName": "Geoff",
                "familyName": "Capes",
                "birthDate": "1970-01-01",
                "address": {"streetAddress": "46A West Barnes Lane", "postalCode": "NW5 3DU"},
                "member": 12345,
            }
        })
    }

    #[test]
    fn values_and_their_parts_go() {
        for (text, expected) in [
            ("GEOFF.CAPES@EXAMPLE.COM is taken", "… is taken"),
            ("geoff is taken", "… is taken"),
            ("'Capes' at example.com", "'…' at …"),
            ("call 0208118055", "call …"),
            ("call 020 811-8055 now", "call … now"),
            ("born 1970-01-01", "born …"),
            ("lives in barnes lane", "lives in … …"),
            ("member 12345 exists", "member … exists"),
            ("nw5 3du", "…"),
            ("customer.email must be set", "customer.email must be set"),
            ("Person is no CustomerAccount", "Person is no CustomerAccount"),
        ] {
            assert_eq!(scrub(&geoff(), text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_word_goes_as_a_whole() {
        let tom = json!({"givenName": "Tom"});
        assert_eq!(scrub(&tom, "customer: tomsmith, ok").as_deref(), Some("…: …, ok"));
    }

    #[test]
    fn case_is_folded_beyond_ascii() {
        let odysseus = json!({"givenName": "ΟΔΥΣΣΕΥΣ", "familyName": "Weiß"});
        assert_eq!(scrub(&odysseus, "no οδυσσευς, no WEISS").as_deref(), Some("no …, no …"));
    }

    #[test]
    fn what_is_left_is_one_short_line() {
        assert_eq!(scrub(&json!({}), "a\nb\u{0}c").as_deref(), Some("a b c"));
        assert_eq!(scrub(&json!({}), &"é".repeat(500)), Some("é".repeat(200)));
        assert_eq!(scrub(&json!({}), " \n "), None);
        let beyond = format!("{} geoff", "x".repeat(197));
        assert_eq!(scrub(&geoff(), &beyond), Some(format!("{} …", "x".repeat(197))));
    }

    #[test]
    fn an_unreadable_request_lets_nothing_through() {
        assert_eq!(Secrets::of(b"no JSON").scrub("anything"), None);
    }

    /// Case folded as a reader would.
    fn folded(text: &str) -> String {
        text.chars().flat_map(fold).collect()
    }

    proptest! {
        #[test]
        fn no_value_comes_through(
            values in proptest::collection::vec("[\\PC&&[^…]]{3,12}|[a-zA-Z]{3,8}", 1..5),
            glue in proptest::collection::vec("[a-z:' ]{0,6}", 6),
            upper: bool,
        ) {
            let mut text = String::new();
            for (value, glue) in values.iter().zip(&glue) {
                text += glue;
                text += &if upper { value.to_uppercase() } else { value.clone() };
            }
            let left = scrub(&json!({"customer": {"values": values}}), &text).unwrap_or_default();
            for value in &values {
                prop_assert!(!folded(&left).contains(&folded(value)), "{value:?} in {left:?}");
            }
            prop_assert!(left.chars().count() <= LONGEST_TEXT);
            prop_assert!(!left.chars().any(char::is_control));
        }
    }
}
