//! Looks at imin and makes nothing there: whether it answers, what it thinks of the key, what time it has.
//!
//! Owns two reading requests. What an answer means to an operator is the doctor's.

use super::{API_KEY, Settings, SetupError, chain, client, endpoint, is_tls};
use crate::{clock, imin::ApiKey};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method, Request, header, header::HeaderValue};

/// What imin answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The HTTP status.
    pub status: u16,
    /// How far this machine's clock is ahead of imin's, as far as the answer proves it: 0 where
    /// the difference lies within the answer's time and the second that a date is written to.
    /// None where imin gave no date.
    pub ahead: Option<SignedDuration>,
}

/// Why imin did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// The name has no address.
    #[error("its name cannot be resolved: {0}")]
    Name(String),
    /// There is no trust.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Nobody is there, or nobody answers.
    #[error("it cannot be reached: {0}")]
    Unreached(String),
    /// The client cannot be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Asks for the API's root without the key. Any answer is one.
pub async fn at_the_door(settings: &Settings) -> Result<Heard, Silence> {
    let client = client(settings, Some(settings.timeout))?;
    ask(&client, Request::new(Method::GET, settings.base_url.clone())).await
}

/// Asks with the key for a customer account that nobody has, which makes nothing: the status.
pub async fn with_the_key(settings: &Settings, key: &ApiKey) -> Result<u16, Silence> {
    let client = client(settings, Some(settings.timeout))?;
    let mut url = endpoint(&settings.base_url)?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(&uuid::Uuid::new_v4().to_string());
    }
    let mut request = Request::new(Method::GET, url);
    if let Ok(mut value) = HeaderValue::from_str(key.reveal()) {
        value.set_sensitive(true);
        request.headers_mut().insert(API_KEY, value);
    }
    Ok(ask(&client, request).await?.status)
}

async fn ask(client: &Client, request: Request) -> Result<Heard, Silence> {
    let before = clock::now();
    match client.execute(request).await {
        Ok(answer) => {
            let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
            let ahead = date.and_then(second).map(|date| ahead(date, before, clock::now()));
            Ok(Heard { status: answer.status().as_u16(), ahead })
        }
        Err(error) => Err(silence(&error.without_url())),
    }
}

fn silence(error: &reqwest::Error) -> Silence {
    let words = chain(error);
    if error.is_dns() {
        Silence::Name(words)
    } else if is_tls(error) {
        Silence::Tls(words)
    } else {
        Silence::Unreached(words)
    }
}

fn second(date: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(date).ok()?).ok()
}

/// A date was written somewhen between `before` and `after`, and stands for a whole second.
fn ahead(date: Timestamp, before: Timestamp, after: Timestamp) -> SignedDuration {
    let end = date.saturating_add(SignedDuration::from_secs(1)).unwrap_or(date);
    if before > end {
        before.duration_since(end)
    } else if after < date {
        after.duration_since(date)
    } else {
        SignedDuration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_ahead_only_by_what_is_proven() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let date = second("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        assert_eq!(date, at("1994-11-06T08:49:37Z"));
        for (before, after, seconds) in [
            ("08:49:37.9Z", "08:49:38.1Z", 0),
            ("08:49:30Z", "08:49:50Z", 0),
            ("08:50:38Z", "08:50:39Z", 60),
            ("08:48:36Z", "08:48:37Z", -60),
        ] {
            let (before, after) = (at(&format!("1994-11-06T{before}")), at(&format!("1994-11-06T{after}")));
            assert_eq!(ahead(date, before, after), SignedDuration::from_secs(seconds), "{before}");
        }
        assert_eq!(second("yesterday"), None);
    }
}
