//! The vocabulary of faults: one grammar for the flag, the admin call and the magic e-mail address.
//!
//! ```text
//! FAULT    = ( EFFECT | "delay-" DURATION [ "-" EFFECT ] ) [ "x" TIMES ] [ "@" PERCENT "%" ]
//! EFFECT   = STATUS [ "-after" ] [ "-retry-after-" [ "date-" ] SECONDS ] [ "-echo" | "-html" ]
//!          | ( "timeout" | "reset" | "close" ) "-" ( "before" | "after" )
//!          | "garbage" | "no-identifier" | "huge" | "endless" | "drip" | "cut" | "gzip" | "redirect"
//! DURATION = a whole number and "ms", "s" or "m", up to a day
//! ```
//!
//! Owns the words. What a fault does to a request is `reply`'s, which one applies is `state`'s.

use std::{fmt, str::FromStr, time::Duration};

/// Something to go wrong, how often and how likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// How long to wait first.
    pub delay: Duration,
    /// What to do then.
    pub effect: Effect,
    /// How many calls it applies to; none for every one.
    pub times: Option<u32>,
    /// How many of a hundred calls it applies to.
    pub percent: u8,
}

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the call is served (after the delay).
    Serve,
    /// A status. A 2xx makes the account and mirrors it; any other makes one only where `after` is set.
    Status {
        /// 200 to 599.
        status: u16,
        /// The account is made all the same.
        after: bool,
        /// `Retry-After`.
        retry_after: Option<RetryAfter>,
        /// The body.
        words: Words,
    },
    /// No answer, and no end of the connection.
    Timeout {
        /// The account is made all the same.
        after: bool,
    },
    /// A TCP reset instead of an answer.
    Reset {
        /// The account is made all the same.
        after: bool,
    },
    /// An orderly end of the connection instead of an answer.
    Close {
        /// The account is made all the same.
        after: bool,
    },
    /// 201, the account is made, and the body is not what it should be.
    Body(Odd),
}

/// `Retry-After`, in seconds from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Written as a number.
    Seconds(u32),
    /// Written as a date.
    Date(u32),
}

/// The body of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// An `OpenBookingError`.
    Plain,
    /// An `OpenBookingError` whose description repeats the customer's e-mail address and name.
    Echo,
    /// A page, as a proxy in between would send it.
    Html,
}

/// What is odd about the body of a 201.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// It is no JSON.
    Garbage,
    /// It has no `identifier`.
    NoIdentifier,
    /// It is right, and 1 MiB long.
    Huge,
    /// It never ends.
    Endless,
    /// It is right, and comes a byte every 100 ms.
    Drip,
    /// It breaks off.
    Cut,
    /// It is compressed, though nobody asked for that.
    Gzip,
}

impl Odd {
    const NAMES: [(&'static str, Self); 7] = [
        ("garbage", Self::Garbage),
        ("no-identifier", Self::NoIdentifier),
        ("huge", Self::Huge),
        ("endless", Self::Endless),
        ("drip", Self::Drip),
        ("cut", Self::Cut),
        ("gzip", Self::Gzip),
    ];
}

impl Effect {
    /// Whether the account is made.
    pub fn makes(self) -> bool {
        match self {
            Self::Serve | Self::Body(_) => true,
            Self::Status { status, after, .. } => after || (200..300).contains(&status),
            Self::Timeout { after } | Self::Reset { after } | Self::Close { after } => after,
        }
    }
}

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no fault: `{0}` (try `503x2`, `reset-after@10%`, `delay-250ms`; --help has the list)")]
pub struct BadFault(String);

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        parse(&text.to_ascii_lowercase()).ok_or_else(|| BadFault(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Fault> {
    let (text, percent) = match text.split_once('@') {
        Some((text, percent)) => (text, number(percent.strip_suffix('%')?)?),
        None => (text, 100),
    };
    let (text, times) = match text.rsplit_once('x').map(|(head, times)| (head, number(times))) {
        Some((head, Some(times))) => (head, Some(times)),
        _ => (text, None),
    };
    let (delay, rest) = match text.strip_prefix("delay-") {
        Some(rest) => rest.split_once('-').map_or((rest, None), |(delay, rest)| (delay, Some(rest))),
        None => ("0s", Some(text)),
    };
    let effect = rest.map_or(Some(Effect::Serve), effect)?;
    let sane = (1..=100).contains(&percent) && times != Some(0);
    sane.then_some(Fault { delay: duration(delay)?, effect, times, percent })
}

fn effect(text: &str) -> Option<Effect> {
    if let Some((_, odd)) = Odd::NAMES.iter().find(|(name, _)| *name == text) {
        return Some(Effect::Body(*odd));
    }
    Some(match text {
        "timeout-before" => Effect::Timeout { after: false },
        "timeout-after" => Effect::Timeout { after: true },
        "reset-before" => Effect::Reset { after: false },
        "reset-after" => Effect::Reset { after: true },
        "close-before" => Effect::Close { after: false },
        "close-after" => Effect::Close { after: true },
        "redirect" => status("307")?,
        _ => status(text)?,
    })
}

fn status(text: &str) -> Option<Effect> {
    let status = number(text.get(..3)?).filter(|status| (200..600).contains(status))?;
    let rest = &text[3..];
    let (after, rest) = flag(rest, "-after");
    let (retry_after, rest) = match rest.strip_prefix("-retry-after-") {
        Some(rest) => retry_after(rest).map(|(wait, rest)| (Some(wait), rest))?,
        None => (None, rest),
    };
    let words = match rest {
        "" => Words::Plain,
        "-echo" => Words::Echo,
        "-html" => Words::Html,
        _ => return None,
    };
    Some(Effect::Status { status, after, retry_after, words })
}

fn retry_after(text: &str) -> Option<(RetryAfter, &str)> {
    let (is_date, text) = text.strip_prefix("date-").map_or((false, text), |rest| (true, rest));
    let end = text.find('-').unwrap_or(text.len());
    let seconds = number(&text[..end])?;
    let wait = if is_date { RetryAfter::Date(seconds) } else { RetryAfter::Seconds(seconds) };
    Some((wait, &text[end..]))
}

fn flag<'a>(text: &'a str, flag: &str) -> (bool, &'a str) {
    text.strip_prefix(flag).map_or((false, text), |rest| (true, rest))
}

/// A whole number without a sign.
fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = number::<u32>(&text[..unit])?.into();
    let duration = match &text[unit..] {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "m" => Duration::from_secs(count * 60),
        _ => return None,
    };
    (duration <= Duration::from_hours(24)).then_some(duration)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delayed = !self.delay.is_zero();
        if delayed || self.effect == Effect::Serve {
            write!(f, "delay-{}ms", self.delay.as_millis())?;
        }
        if self.effect != Effect::Serve {
            write!(f, "{}{}", if delayed { "-" } else { "" }, self.effect)?;
        }
        if let Some(times) = self.times {
            write!(f, "x{times}")?;
        }
        if self.percent < 100 {
            write!(f, "@{}%", self.percent)?;
        }
        Ok(())
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = |after: bool| if after { "after" } else { "before" };
        match *self {
            Self::Serve => f.write_str("serve"),
            Self::Timeout { after } => write!(f, "timeout-{}", when(after)),
            Self::Reset { after } => write!(f, "reset-{}", when(after)),
            Self::Close { after } => write!(f, "close-{}", when(after)),
            Self::Body(odd) => {
                let name = Odd::NAMES.iter().find(|(_, named)| *named == odd).map_or("", |(name, _)| name);
                f.write_str(name)
            }
            Self::Status { status, after, retry_after, words } => {
                write!(f, "{status}{}", if after { "-after" } else { "" })?;
                match retry_after {
                    Some(RetryAfter::Seconds(seconds)) => write!(f, "-retry-after-{seconds}")?,
                    Some(RetryAfter::Date(seconds)) => write!(f, "-retry-after-date-{seconds}")?,
                    None => {}
                }
                f.write_str(match words {
                    Words::Plain => "",
                    Words::Echo => "-echo",
                    Words::Html => "-html",
                })
            }
        }
    }
}

/// The fault that an e-mail address asks for at its `call`-th call, from 1: `geoff+fault-503x2@…`
/// fails twice. Of several tags each takes over where the one before it has had its calls.
pub fn of_address(email: &str, call: u32) -> Option<Fault> {
    let (local, _) = email.rsplit_once('@')?;
    let mut left = call;
    for tag in local.split('+').skip(1).filter_map(|tag| tag.strip_prefix("fault-")) {
        let Ok(fault) = tag.parse::<Fault>() else { continue };
        match fault.times {
            Some(times) if left > times => left -= times,
            _ => return Some(fault),
        }
    }
    None
}

/// Whether an address asks for faults at all, so that only such a one's calls are counted.
pub fn is_magic(email: &str) -> bool {
    email.contains("+fault-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn the_words_mean_what_they_say() {
        let plain = Fault { delay: Duration::ZERO, effect: Effect::Serve, times: None, percent: 100 };
        let status = |status, after, retry_after, words| Effect::Status { status, after, retry_after, words };
        for (text, expected) in [
            ("503x2", Fault { effect: status(503, false, None, Words::Plain), times: Some(2), ..plain }),
            ("500-after", Fault { effect: status(500, true, None, Words::Plain), ..plain }),
            ("redirect", Fault { effect: status(307, false, None, Words::Plain), ..plain }),
            ("delay-5s", Fault { delay: Duration::from_secs(5), ..plain }),
            (
                "429-retry-after-2x1",
                Fault {
                    effect: status(429, false, Some(RetryAfter::Seconds(2)), Words::Plain),
                    times: Some(1),
                    ..plain
                },
            ),
            (
                "delay-250ms-400-retry-after-date-3-echo@10%",
                Fault {
                    delay: Duration::from_millis(250),
                    effect: status(400, false, Some(RetryAfter::Date(3)), Words::Echo),
                    percent: 10,
                    ..plain
                },
            ),
            ("reset-after", Fault { effect: Effect::Reset { after: true }, ..plain }),
            ("Gzip", Fault { effect: Effect::Body(Odd::Gzip), ..plain }),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "",
            "5",
            "503-",
            "100",
            "600",
            "+03",
            "503x0",
            "503@0%",
            "503@101%",
            "503@1",
            "delay",
            "delay-5",
            "delay-s",
            "reset",
            "503-echo-html",
            "é03",
            "garbage-after",
            "serve",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_asks_for_faults_in_turn() {
        let email = "geoff+fault-503x2+news+fault-422@example.com";
        let statuses: Vec<_> = (1..=4).map(|call| of_address(email, call).unwrap().to_string()).collect();
        assert_eq!(statuses, ["503x2", "503x2", "422", "422"]);
        assert_eq!(of_address("geoff+fault-503x1@example.com", 2), None);
        assert_eq!(of_address("geoff@fault-503.example", 1), None);
        assert_eq!(of_address("fault-503@example.com", 1), None);
        assert!(is_magic(email) && !is_magic("geoff+news@example.com"));
    }

    fn effects() -> impl Strategy<Value = Effect> {
        let retry = proptest::option::of(prop_oneof![
            any::<u32>().prop_map(RetryAfter::Seconds),
            any::<u32>().prop_map(RetryAfter::Date)
        ]);
        let words = prop_oneof![Just(Words::Plain), Just(Words::Echo), Just(Words::Html)];
        prop_oneof![
            Just(Effect::Serve),
            any::<bool>().prop_map(|after| Effect::Timeout { after }),
            any::<bool>().prop_map(|after| Effect::Reset { after }),
            any::<bool>().prop_map(|after| Effect::Close { after }),
            (0..Odd::NAMES.len()).prop_map(|at| Effect::Body(Odd::NAMES[at].1)),
            (200_u16..600, any::<bool>(), retry, words).prop_map(|(status, after, retry_after, words)| {
                Effect::Status { status, after, retry_after, words }
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            effect in effects(),
            delay in 0_u64..100_000,
            times in proptest::option::of(1_u32..),
            percent in 1_u8..=100,
        ) {
            let fault = Fault { delay: Duration::from_millis(delay), effect, times, percent };
            prop_assert_eq!(read(&fault.to_string()), fault);
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[0-9]{3}[-a-z0-9x@%é]*") {
            if let Ok(fault) = text.parse::<Fault>() {
                prop_assert_eq!(read(&fault.to_string()), fault);
            }
        }
    }
}
