//! The worker's binary: a runtime, the command, its exit code. Decides nothing.

use std::process::ExitCode;

/// Worth a fifth of the throughput where every message allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One thread: an event is microseconds of work between waits, and handing its tasks from thread to
    // thread costs a quarter more than it. The ledger and lapin have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{}: no runtime: {error}", imin_customer_worker::NAME);
            return ExitCode::FAILURE;
        }
    };
    let exit = runtime.block_on(imin_customer_worker::cli::main(std::env::args_os()));
    // A read of standard input that is still under way must not hold the process up.
    runtime.shutdown_background();
    exit.into()
}
