//! To be written.
use imin_customer_worker::{
    app,
    config::{Config, Needs, Process},
};
fn main() -> anyhow::Result<()> {
    let config = Config::load(&Process, None, Needs::ApiKey)?;
    imin_customer_worker::telemetry::init(config.log.format, &config.log.filter)?;
    tokio::runtime::Runtime::new()?.block_on(app::run(config))
}
