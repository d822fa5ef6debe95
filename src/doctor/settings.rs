//! Settings: whether they are right, and what is right but unwise.

use super::{Finding, without_key};
use crate::{
    app,
    config::{Config, Needs, Surroundings},
};
use std::path::Path;
use url::{Host, Url};

/// The settings, and what is wrong with them. A missing key alone does not keep one from looking on.
pub(super) fn read(outside: &impl Surroundings, file: Option<&Path>) -> (Vec<Finding>, Option<Config>) {
    match Config::load(outside, file, Needs::ApiKey) {
        Ok(config) => (vec![Finding::ok("settings", "all of them can be used")], Some(config)),
        Err(error) => {
            let wrong = error.0.into_iter();
            let findings = wrong.map(|wrong| {
                Finding::fail("settings", format!("{} {}", wrong.name, wrong.what), wrong.remedy)
            });
            (findings.collect(), without_key(outside, file))
        }
    }
}

/// What is unwise, and how long a message is held.
pub(super) fn judge(config: &Config) -> Vec<Finding> {
    let imin = &config.imin.base_url;
    let mut findings = Vec::new();
    if imin.scheme() == "http" && !is_loopback(imin) {
        findings.push(Finding::warn(
            "encryption",
            "IMIN_BASE_URL is http:// to another machine: the key and every customer can be read on the way",
            "Use https://; imin itself has nothing else",
        ));
    }
    if let Some(url) = config.broker.url.expose().parse::<Url>().ok().filter(|url| url.scheme() == "amqp")
        && !is_loopback(&url)
    {
        findings.push(Finding::warn(
            "encryption",
            "AMQP_URL is amqp:// to another machine: the password and every customer can be read on the way",
            "Use amqps:// (with AMQP_CA_FILE for an authority of your own), unless the network itself is encrypted",
        ));
    }
    findings.push(held(config));
    findings
}

/// Settings in which a waiting message would outlast the broker's patience are refused; what the
/// broker's patience really is cannot be seen from here.
fn held(config: &Config) -> Finding {
    let longest = config.retry.in_process_max.saturating_add(config.imin.timeout);
    let limit = config.broker.consumer_timeout;
    Finding::ok(
        "waits",
        format!(
            "a wait and a call hold a message for {longest:?} at most, the broker takes it back after {limit:?} \
             (CONSUMER_TIMEOUT must be what consumer_timeout of the broker is)"
        ),
    )
}

/// Whether what is sent there stays on this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // The host of a scheme that is not the web's is a name to the parser, whatever it is.
        Some(Host::Domain(name)) => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    }
}

/// The place of the broker, without its secrets; none where the address is none.
pub(super) fn broker_place(config: &Config) -> Option<String> {
    app::endpoint(&config.broker).ok().map(|endpoint| endpoint.place())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_other_machines_in_every_scheme() {
        for near in [
            "http://127.0.0.1:1",
            "http://localhost",
            "http://[::1]:5",
            "amqp://u:p@127.0.0.1/%2f",
            "amqp://[::1]",
        ] {
            assert!(is_loopback(&near.parse().expect("a URL")), "{near}");
        }
        for far in
            ["http://127.0.0.2.example", "http://10.0.0.1", "amqp://u:p@rabbit:5672/%2f", "amqp://10.1.1.1"]
        {
            assert!(!is_loopback(&far.parse().expect("a URL")), "{far}");
        }
    }
}
