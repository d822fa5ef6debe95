//! `doctor`: is everything there that the worker needs, and what to do where it is not.

use super::{Told, print};
use crate::{config::Surroundings, doctor};
use std::path::Path;

/// How to tell.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON: whether the worker can do its work, and a list of checks.
    #[arg(long)]
    json: bool,
}

/// Looks and tells; failed where any check has failed, wrong settings included.
pub(super) async fn run(
    arguments: &Args,
    outside: &impl Surroundings,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let report = doctor::examine(outside, file).await;
    let text =
        if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
    print(&text)?;
    if report.healthy() { Ok(()) } else { Err(Told.into()) }
}
