//! `config show` and `config reference`.

use super::print;
use crate::config::{Surroundings, show};
use std::path::Path;

/// What one can look at.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every setting that is in force and where it came from, secrets masked.
    Show {
        /// As JSON: a list of objects with name, value and source.
        #[arg(long)]
        json: bool,
    },
    /// Every setting that there is, as a Markdown table.
    Reference,
}

/// Shows; settings that are wrong are shown too, and then named.
pub(super) fn run(command: &Command, outside: &impl Surroundings, file: Option<&Path>) -> anyhow::Result<()> {
    match command {
        Command::Reference => print(&show::reference()),
        Command::Show { json } => {
            let (settings, verdict) = show::in_force(outside, file);
            let text = if *json {
                serde_json::to_string_pretty(&settings)? + "\n"
            } else {
                show::columns(&settings)
            };
            print(&text)?;
            Ok(verdict?)
        }
    }
}
