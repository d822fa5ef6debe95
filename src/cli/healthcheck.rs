//! `healthcheck`: whether the worker of this container lives.

use crate::{admin, config::Config};

/// Asks it.
pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    Ok(admin::check_alive(config.admin_addr).await?)
}
