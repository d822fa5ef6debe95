//! From a setting's text to its typed value, or to what is wrong with it.
//!
//! One small function for each kind of value. A fault never repeats the text: whether that may be
//! shown is the table's to say.

use super::{Ambiguous, Root, Sampler, Secret, TopologyMode};
use crate::{
    ledger::open::LedgerUrl,
    telemetry::{self, Format},
};
use percent_encoding::percent_decode_str;
use std::{fmt::Display, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};
use url::Url;

/// What is wrong with a text, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What it is not, after "is" or "must": `is not a duration`.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// A parsed value or its fault.
pub(super) type Parsed<T> = Result<T, Fault>;

fn fault<T>(what: impl Into<String>, remedy: impl Into<String>) -> Parsed<T> {
    Err(Fault { what: what.into(), remedy: remedy.into() })
}

/// Longest duration that means anything here; far from where clocks overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Longest `IMIN_TIMEOUT`: the histogram of the calls has buckets beyond it.
pub(super) const LONGEST_CALL: Duration = Duration::from_mins(2);

/// A duration, which may be zero.
pub(super) fn duration_or_zero(text: &str) -> Parsed<Duration> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) => fault("is longer than ten years", "Write a shorter duration."),
        Err(_) => fault("is not a duration", "Write numbers and units: 250ms, 10s, 5m, 24h or 30d."),
    }
}

/// A duration longer than zero.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    match duration_or_zero(text)? {
        Duration::ZERO => fault("must be longer than zero", "Write a duration such as 10s."),
        duration => Ok(duration),
    }
}

/// How long one call may take.
pub(super) fn call_timeout(text: &str) -> Parsed<Duration> {
    match duration(text)? {
        long if long > LONGEST_CALL => fault("is longer than 2m", "Write 2m or less."),
        timeout => Ok(timeout),
    }
}

/// AMQP's heartbeat: whole seconds, in 16 bits.
pub(super) fn heartbeat(text: &str) -> Parsed<Duration> {
    let heartbeat = duration(text)?;
    if heartbeat.subsec_nanos() != 0 || heartbeat.as_secs() > u16::MAX.into() {
        return fault("is not a number of whole seconds up to 65535s", "Write a duration such as 10s.");
    }
    Ok(heartbeat)
}

/// A whole number between two bounds, both included.
pub(super) fn whole<T: FromStr, const MIN: u32, const MAX: u32>(text: &str) -> Parsed<T> {
    let number: Option<T> = match text.parse::<u32>() {
        Ok(number) if (MIN..=MAX).contains(&number) => number.to_string().parse().ok(),
        _ => None,
    };
    number.map_or_else(
        || fault(format!("is not a whole number from {MIN} to {MAX}"), "Write such a number."),
        Ok,
    )
}

/// A limit, where 0 says that there is none.
pub(super) fn limit(text: &str) -> Parsed<Option<u32>> {
    whole::<u32, 0, 1_000_000>(text).map(|limit| (limit > 0).then_some(limit))
}

/// A share, which may be none or all.
pub(super) fn share(text: &str) -> Parsed<f64> {
    number(text, "a number from 0 to 1", |n| (0.0..=1.0).contains(&n))
}

/// A share that is not none.
pub(super) fn some_share(text: &str) -> Parsed<f64> {
    number(text, "a number above 0 and up to 1", |n| n > 0.0 && n <= 1.0)
}

/// What an interval is multiplied with, from retry to retry.
pub(super) fn multiplier(text: &str) -> Parsed<f64> {
    number(text, "a number from 1 to 100", |n| (1.0..=100.0).contains(&n))
}

/// So many a second.
pub(super) fn rate(text: &str) -> Parsed<f64> {
    number(text, "a number above 0 and up to 1000000", |n| n > 0.0 && n <= 1e6)
}

fn number(text: &str, rule: &str, fits: impl Fn(f64) -> bool) -> Parsed<f64> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && fits(number) => Ok(number),
        _ => fault(format!("is not {rule}"), "Write such a number."),
    }
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    choice(text, &[("true", true), ("false", false)])
}

/// How the worker treats the broker's topology.
pub(super) fn topology(text: &str) -> Parsed<TopologyMode> {
    choice(text, &[("apply", TopologyMode::Apply), ("verify", TopologyMode::Verify)])
}

/// What follows an attempt that nobody knows the end of.
pub(super) fn ambiguous(text: &str) -> Parsed<Ambiguous> {
    choice(text, &[("retry", Ambiguous::Retry), ("park", Ambiguous::Park)])
}

/// How log lines look.
pub(super) fn format(text: &str) -> Parsed<Format> {
    choice(text, &[("pretty", Format::Pretty), ("json", Format::Json)])
}

/// Which traces are taken, in OpenTelemetry's words.
pub(super) fn sampler(text: &str) -> Parsed<Sampler> {
    let sampler = |parent_based, root| Sampler { parent_based, root };
    choice(
        text,
        &[
            ("always_on", sampler(false, Root::All)),
            ("always_off", sampler(false, Root::None)),
            ("traceidratio", sampler(false, Root::Ratio)),
            ("parentbased_always_on", sampler(true, Root::All)),
            ("parentbased_always_off", sampler(true, Root::None)),
            ("parentbased_traceidratio", sampler(true, Root::Ratio)),
        ],
    )
}

/// How spans go to the collector.
pub(super) fn otlp_protocol(text: &str) -> Parsed<()> {
    choice(text, &[("http/protobuf", ())])
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let names = names.join(" or ");
    fault(format!("is not {names}"), format!("Write {names}."))
}

/// A log filter in `RUST_LOG`'s language.
pub(super) fn filter(text: &str) -> Parsed<String> {
    match telemetry::check_filter(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(what) => fault(what, "Write a level (info), or target=level (imin_customer_worker=debug)."),
    }
}

/// A path.
#[expect(clippy::unnecessary_wraps, reason = "every parser has one type; a path has no wrong text")]
pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    Ok(PathBuf::from(text))
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().or_else(|_| {
        fault("is not an IP address and a port", "Write one such as 127.0.0.1:8080 or 0.0.0.0:8080.")
    })
}

/// A key: one line of visible ASCII, as an HTTP header takes it.
pub(super) fn key(text: &str) -> Parsed<Secret> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret::new(text));
    }
    fault(
        "has a space, a control character or a letter beyond ASCII",
        "Copy the key again, without what surrounds it.",
    )
}

/// The broker's URL.
pub(super) fn amqp_url(text: &str) -> Parsed<Secret> {
    let url = url(text)?;
    if !matches!(url.scheme(), "amqp" | "amqps") || !url.has_host() {
        return fault("is not an amqp:// or amqps:// URL", "Write amqp://USER:PASSWORD@HOST:5672/VHOST.");
    }
    if url.path().trim_start_matches('/').contains('/') {
        return fault("has a vhost with a slash in it", "Write the slash as %2f; the vhost / is %2f.");
    }
    Ok(Secret::new(text))
}

/// imin's base URL, without a slash at its end.
pub(super) fn base_url(text: &str) -> Parsed<Url> {
    let mut url = url(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return fault("is not an https:// or http:// URL", "Write one such as https://book.imin.co/api/v2.");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return fault("has a query or a fragment", "Leave out what follows the ? or #.");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return fault("has a user or a password", "Leave it out: imin knows a caller by IMIN_API_KEY.");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The collector's URL.
pub(super) fn otlp_endpoint(text: &str) -> Parsed<Url> {
    let url = url(text)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return fault("is not an https:// or http:// URL", "Write one such as http://collector:4318.");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return fault("has a query or a fragment", "Leave out what follows the ? or #.");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return fault("has a user or a password", "Leave it out, and set OTEL_EXPORTER_OTLP_HEADERS.");
    }
    Ok(url)
}

/// Headers: `name=value,name=value`, as far as HTTP takes them.
pub(super) fn headers(text: &str) -> Parsed<Vec<(String, Secret)>> {
    let fits = |(name, value): &(String, String)| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
            && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    let headers = pairs(text)?;
    if !headers.iter().all(fits) {
        return fault("has a character that no HTTP header takes", "Write name=value, with commas between.");
    }
    Ok(headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
}

/// Attributes: `name=value,name=value`.
pub(super) fn attributes(text: &str) -> Parsed<Vec<(String, String)>> {
    pairs(text)
}

fn pairs(text: &str) -> Parsed<Vec<(String, String)>> {
    let pair = |member: &str| {
        let (name, value) = member.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value))
    };
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    members.map(pair).collect::<Option<_>>().map_or_else(
        || {
            fault(
                "is not a list of name=value",
                "Write name=value, with commas between, and %2C for a comma.",
            )
        },
        Ok,
    )
}

/// The ledger's URL; what its parts mean is the ledger's to say, and its words repeat nothing.
pub(super) fn ledger_url(text: &str) -> Parsed<Secret> {
    match text.parse::<LedgerUrl>() {
        Ok(_) => Ok(Secret::new(text)),
        Err(error) => fault(
            error.to_string(),
            "Write sqlite://FILE.db, sqlite:///ABSOLUTE/FILE.db or postgres://USER:PASSWORD@HOST/DATABASE.",
        ),
    }
}

fn url(text: &str) -> Parsed<Url> {
    let why = |error: &dyn Display| format!("is not a URL ({error})");
    Url::parse(text).or_else(|error| fault(why(&error), "Write it in full, with what stands before ://."))
}

/// A queue's name, with room for what its delay queues add.
pub(super) fn queue(text: &str) -> Parsed<String> {
    name::<200>(text)
}

/// A text for people.
pub(super) fn plain(text: &str) -> Parsed<String> {
    if text.chars().any(char::is_control) {
        return fault("has a control character", "Write plain text.");
    }
    Ok(text.to_owned())
}

/// An exchange's name or a routing key.
pub(super) fn word(text: &str) -> Parsed<String> {
    name::<255>(text)
}

fn name<const MAX: usize>(text: &str) -> Parsed<String> {
    if text.len() > MAX || text.chars().any(char::is_control) {
        return fault(
            format!("is longer than {MAX} bytes or has a control character"),
            "Write a shorter, plain name.",
        );
    }
    if text.starts_with("amq.") {
        return fault("starts with amq., which the broker keeps for itself", "Write another name.");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
