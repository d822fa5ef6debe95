//! The bench: what the worker costs and how fast it is, against peers and against the broker's limit.
//!
//! `make bench` and `make bench-growth` run it (benches/README.md says what is measured and how).
//! Built as a test (`cargo test`) it does its short form, which shows that it runs and no more.

mod contender;
mod growth;
mod limit;
mod load;
mod process;
mod report;
mod run;
mod stub;
mod support;
mod tables;
mod tap;
mod tools;
mod world;

use anyhow::Result;
use clap::Parser;
use std::{path::PathBuf, time::Duration};
use tools::Tools;

/// As in the worker, and so that the limit is one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the worker against peers and against the broker's limit.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Where results go instead of target/bench
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The main tables.
    Main(tables::Options),
    /// What grows: rows, messages, workers, time. And how it starts and idles.
    Growth(growth::Options),
    /// A few messages, to see that all of it runs; measures nothing.
    Short,
    /// A contender: lapin alone.
    #[command(hide = true)]
    Limit {
        #[arg(long)]
        amqp_url: String,
        #[arg(long)]
        concurrency: u16,
    },
    /// A lean imin.
    #[command(hide = true)]
    Stub {
        #[arg(long, value_parser = humantime::parse_duration)]
        latency: Duration,
    },
}

fn main() -> Result<()> {
    let arguments = if cfg!(test) && !is_contender() {
        Arguments { out: None, command: Command::Short }
    } else {
        Arguments::parse()
    };
    // The contenders are as frugal as they can be; the driver waits for child processes in places.
    let mut builder = match arguments.command {
        Command::Limit { .. } | Command::Stub { .. } => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(perform(arguments))
}

/// Whether this process was started by the driver. `cargo test` hands its own arguments to it as well.
fn is_contender() -> bool {
    std::env::args().nth(1).is_some_and(|word| word == "limit" || word == "stub")
}

async fn perform(arguments: Arguments) -> Result<()> {
    let tools = || Tools::find(arguments.out.as_deref());
    match &arguments.command {
        Command::Main(options) => tables::main(&tools()?, options).await,
        Command::Growth(options) => growth::measure(&tools()?, options).await,
        Command::Short => tables::short(&tools()?).await,
        Command::Limit { amqp_url, concurrency } => limit::run(amqp_url, *concurrency).await,
        Command::Stub { latency } => stub::serve(*latency).await,
    }
}
