//! `dead-letters`: look at what could not be done, and deal with it.
//!
//! Owns the commands' arguments and their help. Which letters are meant and what may be done with them
//! is `dead_letters`' to say.

mod audit;
mod choice;
mod desk;
mod discard;
mod edit;
mod export;
mod list;
mod replay;
mod resolve;
mod show;
mod terminal;
mod words;

use crate::config::Config;
use desk::Desk;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters list --group
  imin-customer-worker dead-letters list --reason rejected_by_api --newer-than 1h
  imin-customer-worker dead-letters show 15855196-ff0d
  imin-customer-worker dead-letters edit 15855196-ff0d --set /customer/email=a@example.com
  imin-customer-worker dead-letters replay --reason rejected_by_api --canary 3
  imin-customer-worker dead-letters resolve 15855196-ff0d --identifier abc
  imin-customer-worker dead-letters discard --older-than 90d --why 'never signed up again'
  imin-customer-worker dead-letters export --all --output dead-letters.jsonl

Looking takes nothing off the queue and may be interrupted at any moment. Whatever does take
something off asks before (--yes answers), and writes an audit line to standard error.";

/// What `dead-letters --help` says first.
pub(super) const ABOUT: &str = "\
Look at the dead letters, and deal with them.

A dead letter is an event that made no customer: it breaks the rules, imin refuses it, or nobody \
knows what came of it. The event's key is its name here; its beginning is enough, from six \
characters on.";

/// What all of them take.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Append the audit lines to this file, too.
    #[arg(long, global = true, value_name = "FILE")]
    audit_file: Option<PathBuf>,
    /// Look although the queue stands with a delivery limit that looking may use up.
    #[arg(long, global = true)]
    look_anyway: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// One line each, or counts.
    List(list::Args),
    /// Everything that one says of itself, the customer masked.
    Show(show::Args),
    /// Have the worker try again.
    Replay(replay::Args),
    /// Change one's body, and have the worker try again.
    Edit(edit::Args),
    /// Say what came of a call that nobody knows the end of.
    Resolve(resolve::Args),
    /// Give them up, for a reason and with a copy.
    Discard(discard::Args),
    /// Write them to a file that `send` takes back.
    Export(export::Args),
}

/// What a deed takes.
#[derive(Debug, clap::Args)]
struct Deed {
    /// Say yes to what is asked.
    #[arg(long)]
    yes: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Tell the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) async fn run(arguments: &Args, config: &Config) -> anyhow::Result<()> {
    let Args { common, command } = arguments;
    let desk = Desk::open(config, common)?;
    match command {
        Command::List(arguments) => list::run(&desk, arguments).await,
        Command::Show(arguments) => show::run(&desk, arguments).await,
        Command::Replay(arguments) => replay::run(&desk, arguments).await,
        Command::Edit(arguments) => edit::run(&desk, arguments).await,
        Command::Resolve(arguments) => resolve::run(&desk, arguments).await,
        Command::Discard(arguments) => discard::run(&desk, arguments).await,
        Command::Export(arguments) => export::run(&desk, arguments).await,
    }
}
