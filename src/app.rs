//! The only place that names concrete adapters.

use crate::{broker::Publisher, config::Config, shutdown::Shutdown};

/// Runs the worker until `shutdown` says otherwise.
pub async fn run(_config: Config, _shutdown: Shutdown) -> anyhow::Result<()> {
    anyhow::bail!("the worker is joined on the main branch")
}

/// Declares exchanges, queues and bindings.
pub async fn apply_topology(_config: &Config) -> anyhow::Result<()> {
    anyhow::bail!("the topology is joined on the main branch")
}

/// The topology as JSON that `rabbitmqctl import_definitions` takes.
pub fn print_topology(_config: &Config) -> anyhow::Result<String> {
    anyhow::bail!("the topology is joined on the main branch")
}

/// A publisher with a connection of its own.
pub async fn publisher(_config: &Config) -> anyhow::Result<Box<dyn Publisher>> {
    anyhow::bail!("the publisher is joined on the main branch")
}
