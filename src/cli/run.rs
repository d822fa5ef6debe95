//! `run`: the worker itself.

use super::Told;
use crate::{app, config::Config, shutdown::Shutdown};

/// Works until a signal says otherwise. What goes wrong goes to the log, where its readers look.
pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    app::run(config, shutdown).await.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "the worker ends");
        Told.into()
    })
}
