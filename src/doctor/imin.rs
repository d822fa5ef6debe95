//! imin: its name, TLS, whether it answers, what it thinks of the key, and whose clock is right.

use super::Finding;
use crate::{
    app,
    config::Config,
    imin::{
        ApiKey,
        http::{
            Settings,
            look::{self, Heard, Silence},
        },
    },
};
use jiff::SignedDuration;

/// A difference of clocks that shows, in seconds.
const NOTICEABLE: i64 = 5;
/// One that spoils `Retry-After` dates, leases and the age of events.
const HARMFUL: i64 = 60;

/// Looks.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let settings = app::imin_settings(config);
    let host = config.imin.base_url.host_str().unwrap_or_default().to_owned();
    match look::at_the_door(&settings).await {
        Ok(heard) => {
            let answered = format!("{host} answers (HTTP {})", heard.status);
            vec![Finding::ok("imin", answered), clock(&heard), key(config, &settings).await]
        }
        Err(silence) => vec![silent(&host, &silence)],
    }
}

fn silent(host: &str, silence: &Silence) -> Finding {
    let remedy = match silence {
        Silence::Name(_) => {
            "Check IMIN_BASE_URL for typing errors and this machine's DNS (`getent hosts HOST`)"
        }
        Silence::Tls(_) => {
            "If a proxy or a test server signs with an authority of its own, name it in IMIN_CA_FILE; \
             otherwise do not trust this network"
        }
        Silence::Unreached(_) => {
            "Check IMIN_BASE_URL and whether firewall, NetworkPolicy or proxy let this machine out"
        }
        Silence::Setup(_) => "Check IMIN_BASE_URL and IMIN_CA_FILE",
    };
    Finding::fail("imin", format!("{host}: {silence}"), remedy)
}

fn clock(heard: &Heard) -> Finding {
    let Some(ahead) = heard.ahead else {
        return Finding::skip(
            "clock",
            "imin's answer has no date to compare with",
            "Check `timedatectl` yourself",
        );
    };
    let seconds = ahead.as_secs();
    let direction = if seconds < 0 { "behind" } else { "ahead of" };
    let what = format!("this machine's clock is {:?} {direction} imin's", ahead.unsigned_abs());
    let remedy =
        "Let NTP keep the time (`timedatectl set-ntp true`); waits, leases and ages are read off this clock";
    match seconds.abs() {
        HARMFUL.. => Finding::fail("clock", what, remedy),
        NOTICEABLE.. => Finding::warn("clock", what, remedy),
        _ if ahead == SignedDuration::ZERO => Finding::ok("clock", "agrees with imin's"),
        _ => Finding::ok("clock", what),
    }
}

/// 401 and 403 are about the key; what else imin says of an account that nobody has is about that.
async fn key(config: &Config, settings: &Settings) -> Finding {
    let Ok(key) = ApiKey::new(config.imin.api_key.expose()) else {
        return Finding::skip("key", "there is no key to show to imin", "Set IMIN_API_KEY");
    };
    match look::with_the_key(settings, &key).await {
        Ok(status @ (401 | 403)) => Finding::fail(
            "key",
            format!("imin refuses the key (HTTP {status})"),
            "Set IMIN_API_KEY, or IMIN_API_KEY_FILE, to the key that imin gave you for this API",
        ),
        Ok(status) => Finding::ok("key", format!("imin does not refuse it (HTTP {status})")),
        Err(silence) => Finding::skip("key", format!("imin: {silence}"), "Try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_clock_is_judged_by_its_difference() {
        let judged =
            |seconds| clock(&Heard { status: 200, ahead: Some(SignedDuration::from_secs(seconds)) }).status;
        assert_eq!(
            [judged(0), judged(-4), judged(5), judged(-59)],
            [Status::Ok, Status::Ok, Status::Warn, Status::Warn]
        );
        assert_eq!([judged(60), judged(-86_400)], [Status::Fail; 2]);
        assert_eq!(clock(&Heard { status: 200, ahead: None }).status, Status::Skip);
    }
}
