//! `contracts`: what others may rely on, as documents.

use super::print;
use crate::{app, config::Config, contracts};

/// Which document.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name.
    name: contracts::Name,
}

/// Prints it.
pub(super) fn run(arguments: &Args, config: &Config) -> anyhow::Result<()> {
    let document = contracts::document(arguments.name, &app::names(&config.broker.names));
    print(&(serde_json::to_string_pretty(&document)? + "\n"))
}
