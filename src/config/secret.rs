//! Values that must not be seen, and what is shown in their place.

use std::fmt;
use url::Url;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";

/// A value that shows itself only to a caller who asks for it by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value into hiding.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for the wire, never for a log, an error or a header of ours.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide: a key that was not set, for a command that needs none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A URL with its password, and whatever parameter smells of one, masked; what is no URL is
/// masked as a whole.
pub fn mask_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return MASK.to_owned() };
    // An @ behind the host says that a password was not escaped and has been cut in the wrong place.
    if url.cannot_be_a_base() || url.path().contains('@') || url.fragment().is_some() {
        return MASK.to_owned();
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let shown: Vec<(String, String)> = pairs.iter().map(|(key, value)| mask_pair(key, value)).collect();
    if pairs != shown {
        url.query_pairs_mut().clear().extend_pairs(&shown);
    } else if url.password().is_none() {
        return text.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    url.into()
}

fn mask_pair(key: &str, value: &str) -> (String, String) {
    let lower = key.to_ascii_lowercase();
    let smells = ["pass", "secret", "token", "key"].iter().any(|word| lower.contains(word));
    (key.to_owned(), if smells { MASK.to_owned() } else { value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{MASK, Secret, mask_url};

    #[test]
    fn debug_hides_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), MASK);
        assert_eq!(Secret::new("hunter2").expose(), "hunter2");
    }

    #[test]
    fn only_what_is_secret_in_a_url_is_masked() {
        for (text, shown) in [
            ("amqp://guest:hunter2@127.0.0.1:5672/%2f", "amqp://guest:***@127.0.0.1:5672/%2f"),
            ("amqp://rabbit.example:5672/%2f", "amqp://rabbit.example:5672/%2f"),
            ("sqlite://imin-customer-worker.db", "sqlite://imin-customer-worker.db"),
            ("sqlite:///var/lib/worker.db", "sqlite:///var/lib/worker.db"),
            ("postgres://u@db/x?sslmode=require", "postgres://u@db/x?sslmode=require"),
            ("postgres://u@db/x?password=hunter2&a=b", "postgres://u@db/x?password=***&a=b"),
            ("hunter2", MASK),
            ("user:hunter2@host", MASK),
            ("amqp://user:123/hunter2@host", MASK),
            ("amqp://user:123#hunter2@host", MASK),
        ] {
            assert_eq!(mask_url(text), shown, "{text}");
        }
    }
}
