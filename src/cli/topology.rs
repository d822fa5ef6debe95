//! `topology apply` and `topology print`.

use super::print;
use crate::{app, config::Config};

/// What can be done with the topology.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Declare it in the broker.
    Apply,
    /// Print it as JSON that `rabbitmqctl import_definitions` takes.
    Print,
}

/// Does it.
pub(super) async fn run(command: &Command, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::Apply => Ok(app::apply_topology(config).await?),
        Command::Print => print(&(app::print_topology(config)? + "\n")),
    }
}
