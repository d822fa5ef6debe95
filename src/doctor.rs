//! The doctor: looks at everything the worker stands on, changes none of it, and says what to do.
//!
//! Owns the findings and their words. How one looks without changing anything is each adapter's own
//! (`amqp::inspect`, `imin::look`, `ledger::inspect`).

mod broker;
mod imin;
mod ledger;
mod letters;
mod rights;
mod settings;

use crate::config::{Config, Needs, Surroundings};
use serde::Serialize;
use std::{fmt, path::Path};

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// The worker works, but somebody should look.
    Warn,
    /// The worker cannot do its work, or would do it wrongly.
    Fail,
    /// It could not be looked at.
    Skip,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: one of a small set of names.
    pub check: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found; never a secret and never a customer.
    pub what: String,
    /// What to do; none where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, what: what.into(), remedy: None }
    }

    fn warn(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, status: Status::Warn, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, status: Status::Fail, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn skip(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, status: Status::Skip, what: what.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warn => "WARN",
            Status::Fail => "FAIL",
            Status::Skip => "skip",
        };
        // One line each: what others say may have several.
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{status:4}  {:<12}  {}", self.check, line(&self.what))?;
        match &self.remedy {
            Some(remedy) => write!(f, ". {}", line(remedy)),
            None => Ok(()),
        }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing has failed.
    pub healthy: bool,
    /// This build.
    pub version: &'static str,
    /// What was looked at, in order.
    pub checks: Vec<Finding>,
}

impl Report {
    fn new(checks: Vec<Finding>) -> Self {
        let healthy = checks.iter().all(|finding| finding.status != Status::Fail);
        Self { healthy, version: crate::VERSION, checks }
    }

    /// Whether nothing has failed; warnings do not count.
    pub fn healthy(&self) -> bool {
        self.healthy
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

/// Looks at everything. Bounded in time: each question is.
pub async fn examine(outside: &impl Surroundings, file: Option<&Path>) -> Report {
    let (mut checks, config) = settings::read(outside, file);
    if let Some(config) = &config {
        checks.extend(settings::judge(config));
        let (broker, imin, ledger) =
            tokio::join!(broker::examine(config), imin::examine(config), ledger::examine(config));
        checks.extend(broker);
        checks.extend(imin);
        checks.extend(ledger);
    }
    Report::new(checks)
}

/// The settings without the key: enough to look at everything else.
fn without_key(outside: &impl Surroundings, file: Option<&Path>) -> Option<Config> {
    Config::load(outside, file, Needs::Nothing).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_only_a_failure_is_unhealthy() {
        let warning = Finding::warn("imin", "two\nlines", "Do this.\nAnd that");
        assert_eq!(warning.to_string(), "WARN  imin          two lines. Do this. And that");
        let ok = Finding::ok("broker", "there");
        assert_eq!(ok.to_string(), "ok    broker        there");
        assert!(Report::new(vec![warning.clone(), ok]).healthy());
        assert!(!Report::new(vec![warning, Finding::fail("x", "y", "z")]).healthy());
    }

    #[test]
    fn json_leaves_an_absent_remedy_out() {
        let report = Report::new(vec![Finding::ok("broker", "there")]);
        let json = serde_json::to_value(report).expect("JSON");
        assert_eq!(
            json["checks"][0],
            serde_json::json!({"check": "broker", "status": "ok", "what": "there"})
        );
        assert_eq!(json["healthy"], true);
    }
}
