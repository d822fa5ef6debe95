//! `imin-sandbox`: the command line around `imin_customer_worker::sandbox`.

use clap::Parser;
use imin_customer_worker::sandbox::{Options, Sandbox, fault::Fault};
use std::{
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// The exit code for a command line that is wrong (`sysexits.h`).
const USAGE: u8 = 64;

/// The table of faults, for people who have no source at hand.
const FAULTS: &str = "\
Faults (--fault, PUT /sandbox/faults, or geoff+fault-503x2@example.com as a customer's e-mail address):
  503, any status from 300     that status, no account
  500-after                    the account is made, then 500
  200, any 2xx                 the account is made, that status
  429-retry-after-2            with Retry-After: 2; -retry-after-date-2 with a date
  422-echo                     repeats the customer's name and address
  502-html                     a proxy's page
  redirect                     307 to the same endpoint
  timeout-before|-after        no answer, before or after the account is made
  reset-before|-after          a TCP reset
  close-before|-after          an orderly close
  garbage, no-identifier       201 with a body that is broken or lacks the identifier
  huge, endless, drip, cut, gzip
                               201 with a body of 1 MiB, without end, a byte every 100 ms,
                               broken off, compressed
  delay-5s, delay-250ms-503    waits first
Behind any of them: x2 for two calls, @10% for one call in ten.

Look: GET /sandbox/accounts, /sandbox/stats, /sandbox/faults, /sandbox/last-request.
Tell: PUT /sandbox/faults {\"faults\": [\"503x2\"], \"seed\": 0}; DELETE /sandbox/faults, /sandbox/accounts.
      With \"addresses\": false in it, no address gets the faults that it asks for.";

/// Plays imin's customer accounts API by its documentation, with faults on request.
#[derive(Parser)]
#[command(name = "imin-sandbox", version, after_help = FAULTS)]
struct Arguments {
    /// Where to listen; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:8081")]
    addr: SocketAddr,
    /// The one key to accept; every key without it
    #[arg(long)]
    api_key: Option<String>,
    /// How long every create takes, like 50ms
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// How many creates are worked on at a time; the others wait their turn
    #[arg(long)]
    capacity: Option<NonZeroUsize>,
    /// A fault, see below; can be given more than once
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// Where the dice of @10% start
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A file that keeps the accounts over a restart
    #[arg(long)]
    journal: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell where this cannot be written.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "imin-sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> io::Result<()> {
    // One thread: the worker's bench needs the other cores for the worker.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let Arguments { addr, api_key, latency, capacity, faults, seed, journal } = arguments;
    let capacity = capacity.map(NonZeroUsize::get);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sandbox = Sandbox::start(Options { addr, api_key, latency, capacity, faults, seed, journal }).await?;
    writeln!(io::stdout(), "listening on http://{}", sandbox.addr())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}
