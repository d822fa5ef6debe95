//! Who is measured, and how each is started.

use crate::{tools::Tools, world::KEY};
use std::{ffi::OsString, path::Path};
use tokio::process::Command;

/// Somebody who does the job, or the limit of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Contender {
    /// A bare loop over lapin: no HTTP, no ledger.
    Limit,
    /// The worker with its default ledger, durable.
    Sqlite,
    /// The worker with a ledger in PostgreSQL, durable.
    Postgres,
    /// The worker with a ledger in memory: nothing is written.
    Memory,
    /// Node.js: amqplib and undici.
    Node,
    /// Python: aio-pika and aiohttp on uvloop.
    Python,
    /// Go: amqp091-go and net/http.
    Go,
    /// Java: RabbitMQ's own client and the JDK's HTTP client.
    Java,
}

impl Contender {
    /// The row of the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Limit => "limit (lapin alone)",
            Self::Sqlite => "worker, SQLite ledger",
            Self::Postgres => "worker, PostgreSQL ledger",
            Self::Memory => "worker, no durable ledger",
            Self::Node => "Node.js",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Java => "Java",
        }
    }

    /// Whether it is the worker.
    pub(crate) fn is_worker(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgres | Self::Memory)
    }

    /// Whether it calls imin.
    pub(crate) fn calls(self) -> bool {
        self != Self::Limit
    }

    /// How many of the events it gets: a slow one is not waited for as long as it would take.
    pub(crate) fn share(self, messages: u64) -> u64 {
        if self == Self::Python { (messages / 4).max(1) } else { messages }
    }

    /// Its program and arguments.
    fn program(self, tools: &Tools) -> Command {
        let peers = &tools.peers;
        let with = |program: &Path, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        };
        let text = |path: &str| peers.join(path).display().to_string();
        match self {
            Self::Limit => with(&tools.own, &["limit"]),
            Self::Sqlite | Self::Postgres | Self::Memory => with(&tools.worker, &["run"]),
            Self::Node => with(Path::new("node"), &[&text("node/peer.mjs")]),
            Self::Python => with(&peers.join("python/bin/python"), &[&text("python/peer.py")]),
            Self::Go => with(&peers.join("go/peer"), &[]),
            Self::Java => with(Path::new("java"), &["-cp", &text("java/*"), "Peer"]),
        }
    }

    /// A command that works on a queue until it is told to end.
    pub(crate) fn command(self, tools: &Tools, place: &Place<'_>) -> Command {
        let mut command = self.program(tools);
        command.env_clear().envs(inherited());
        command.env("AMQP_URL", place.amqp_url).env("IMIN_BASE_URL", place.base_url);
        command.env("CONCURRENCY", place.concurrency.to_string()).env("IMIN_API_KEY", KEY);
        if self.is_worker() {
            command.env("LEDGER_URL", place.ledger_url).env("ADMIN_ADDR", "127.0.0.1:0");
        }
        if self == Self::Limit {
            command.args(["--amqp-url", place.amqp_url, "--concurrency", &place.concurrency.to_string()]);
        }
        command
    }
}

/// What programs need to run at all.
#[expect(clippy::disallowed_methods, reason = "no settings, but what is handed on to other programs")]
fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME")
}

/// Where a contender works.
pub(crate) struct Place<'a> {
    /// The broker.
    pub(crate) amqp_url: &'a str,
    /// imin.
    pub(crate) base_url: &'a str,
    /// The ledger.
    pub(crate) ledger_url: &'a str,
    /// How many events at a time.
    pub(crate) concurrency: u16,
}
