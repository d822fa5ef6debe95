//! The command line: which commands there are, what they share, how they end.
//!
//! Owns parsing, exit codes and the last word on standard error. Each command has a file; what it
//! does beyond words is `app`'s.

mod config;
mod contracts;
mod dead_letters;
mod doctor;
mod healthcheck;
mod run;
mod send;
mod topology;

use crate::{
    config::{Config, Needs, Process, SettingsError, Surroundings},
    telemetry,
};
use clap::{Parser, Subcommand};
use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

const EXAMPLES: &str = "\
Examples:
  IMIN_API_KEY_FILE=/run/secrets/imin imin-customer-worker run
  imin-customer-worker --config worker.toml config show
  imin-customer-worker doctor --json
  imin-customer-worker topology print > definitions.json
  imin-customer-worker send --id-from /customer/identifier signups.jsonl

Settings come from the environment, then from --config, then from their defaults;
`config reference` lists them.

Exit codes: 0 done, 1 failed, 64 wrong usage, 78 wrong settings.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = crate::NAME, version, about = "Turns create-customer events from RabbitMQ into imin customer accounts")]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    /// A TOML file of settings; the environment goes before it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is read once")]
enum Command {
    /// Work: take events, make accounts, publish events and dead letters.
    Run,
    /// Look at everything the worker needs, change nothing, and say what to do: one line each.
    Doctor(doctor::Args),
    /// Look at the settings.
    #[command(subcommand)]
    Config(config::Command),
    /// The exchanges, queues and bindings that the worker needs.
    #[command(subcommand)]
    Topology(topology::Command),
    /// Publish create-customer events from JSON, JSON lines or standard input.
    #[command(long_about = send::ABOUT)]
    Send(send::Args),
    /// Look at the dead letters, and deal with them.
    #[command(long_about = dead_letters::ABOUT)]
    DeadLetters(dead_letters::Args),
    /// Print a contract of the messages, with the names that the settings give: a JSON Schema or `AsyncAPI`.
    #[command(hide = true)]
    Contracts(contracts::Args),
    /// Ask the worker that serves at `ADMIN_ADDR` whether it lives; for Docker's HEALTHCHECK.
    Healthcheck,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything is done.
    Done,
    /// Something could not be done.
    Failed,
    /// The command line is wrong (`EX_USAGE`).
    Usage,
    /// The settings are wrong (`EX_CONFIG`).
    Settings,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 64,
            Exit::Settings => 78,
        })
    }
}

/// A failure that has been told already, line by line or in the log.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct Told;

/// Does what the command line says.
pub async fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Where not even help can be written, nobody reads why.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match cli.execute().await {
        Ok(()) => Exit::Done,
        Err(error) if error.is::<Told>() => Exit::Failed,
        Err(error) => {
            eprintln!("{}: {error:#}", crate::NAME);
            if error.is::<SettingsError>() { Exit::Settings } else { Exit::Failed }
        }
    }
}

impl Cli {
    async fn execute(self) -> anyhow::Result<()> {
        match &self.command {
            Command::Run => run::run(self.settings(Needs::ApiKey)?).await,
            Command::Doctor(arguments) => doctor::run(arguments, &Process, self.config.as_deref()).await,
            Command::Config(command) => config::run(command, &Process, self.config.as_deref()),
            Command::Topology(command) => topology::run(command, &self.settings(Needs::Nothing)?).await,
            Command::Send(arguments) => send::run(arguments, &self.settings(Needs::Nothing)?).await,
            Command::DeadLetters(arguments) => dead_letters::run(arguments, &self.quiet_settings()?).await,
            Command::Contracts(arguments) => contracts::run(arguments, &self.settings_only(Needs::Nothing)?),
            Command::Healthcheck => healthcheck::run(&self.settings_only(Needs::Nothing)?).await,
        }
    }

    /// The settings, and a log as they say.
    fn settings(&self, needs: Needs) -> anyhow::Result<Config> {
        let config = self.settings_only(needs)?;
        telemetry::init(config.log.format, &config.log.filter)?;
        Ok(config)
    }

    /// The settings, and a log that leaves the terminal to the command unless it is asked for.
    fn quiet_settings(&self) -> anyhow::Result<Config> {
        let config = self.settings_only(Needs::Nothing)?;
        let asked = Process.env("RUST_LOG").is_some();
        telemetry::init(config.log.format, if asked { &config.log.filter } else { "warn" })?;
        Ok(config)
    }

    fn settings_only(&self, needs: Needs) -> Result<Config, SettingsError> {
        Config::load(&Process, self.config.as_deref(), needs)
    }
}

/// Writes a command's result to standard output. A reader that has heard enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Exit, main};
    use clap::{CommandFactory, Parser};
    use std::ffi::OsString;

    async fn exit(line: &str) -> Exit {
        main(line.split(' ').map(OsString::from)).await
    }

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[tokio::test]
    async fn wrong_usage_and_asking_for_help_end_differently() {
        for wrong in [
            "w fly",
            "w send",
            "w config",
            "w run --fast",
            "w send --plain --source /x f",
            "w send --id-from x f",
        ] {
            assert_eq!(exit(wrong).await, Exit::Usage, "{wrong}");
        }
        for asked in ["w --help", "w --version", "w send --help"] {
            assert_eq!(exit(asked).await, Exit::Done, "{asked}");
        }
    }

    #[tokio::test]
    async fn wrong_settings_have_their_own_code() {
        for line in ["w --config /nowhere.toml run", "w config show --config /nowhere.toml"] {
            assert_eq!(exit(line).await, Exit::Settings, "{line}");
        }
    }

    #[test]
    fn every_command_has_words_and_every_shown_example_parses() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
        }
        for example in super::EXAMPLES.lines().filter_map(|line| line.split_once("imin-customer-worker ")) {
            let words = example.1.split(" > ").next().expect("words").split(' ');
            let parsed = Cli::try_parse_from(std::iter::once("w").chain(words));
            assert!(parsed.is_ok(), "{}: {parsed:?}", example.1);
        }
    }
}
