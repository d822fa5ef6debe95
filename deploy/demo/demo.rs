//! What a person sees of `make demo`: signups sent, a bar that moves, and the books at the end.
//!
//! Owns the story's order. `run.sh` has started the broker, the sandbox and the worker, and ends
//! them. Exits 1 where the sums do not add up, or nothing moves any more.

mod books;
mod night;
mod signups;
mod watch;

use anyhow::{Context, Result, bail};
use books::{Books, Seen};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use signups::{Fate, Signup};
use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::{Instant, interval, timeout},
};
use watch::{End, Watch};

/// After this long without any news the demo has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the worker is asked how far it is.
const GLANCE: Duration = Duration::from_millis(250);
/// How long it must be quiet after the last end: nothing may come out twice.
const QUIET: Duration = Duration::from_secs(1);

/// The demo's acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Act {
    /// Sends the signups and keeps the books.
    Signups,
    /// Handles some of the dead letters that they left, by a worker that parks what nobody knows.
    Night,
}

/// Plays one act of the demo.
#[derive(Parser)]
struct Arguments {
    /// Which
    act: Act,
    /// The worker's binary, for `send`; it takes its settings from the environment
    #[arg(long)]
    worker: PathBuf,
    /// Where the worker's admin endpoints are
    #[arg(long)]
    admin: SocketAddr,
    /// Where the sandbox is
    #[arg(long)]
    sandbox: SocketAddr,
    /// The private broker
    #[arg(long)]
    amqp_url: String,
    /// Where the signups may be written
    #[arg(long)]
    directory: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    until_ready(arguments.admin).await?;
    let complaints = match arguments.act {
        Act::Signups => signups(&arguments).await?,
        Act::Night => night::tell(&arguments).await?,
    };
    for complaint in &complaints {
        say(&format!("DOES NOT ADD UP: {complaint}"));
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first act; what does not add up.
async fn signups(arguments: &Arguments) -> Result<Vec<String>> {
    let mut watch = Watch::begin(&arguments.amqp_url).await?;
    let signups = signups::all();
    let repeats: Vec<&Signup> =
        signups.iter().filter(|signup| signup.story.fate == Fate::AtOnce).take(signups::REPEATED).collect();
    let repeated = repeats.len();
    let file = arguments.directory.join("signups.jsonl");
    write(&file, signups.iter().chain(repeats))?;
    say(&format!("{} signups, and {repeated} of them once more", signups.len()));

    let settled = settle(&mut watch, arguments.admin, &signups, repeated);
    let ((), ends) = tokio::try_join!(send(&arguments.worker, &file), settled)?;
    let recognised = recognised(arguments.admin).await?;
    let books = Books { signups, repeated, ends, imin: seen(arguments.sandbox).await?, recognised };
    say(&format!("\n{}", books.table()));
    Ok(books.complaints())
}

/// A closed standard output is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn write<'a>(file: &Path, signups: impl Iterator<Item = &'a Signup>) -> Result<()> {
    let lines: Vec<String> = signups.map(|signup| signup.event.to_string()).collect();
    std::fs::write(file, lines.join("\n")).with_context(|| format!("{} cannot be written", file.display()))
}

async fn send(worker: &Path, file: &Path) -> Result<()> {
    let done = Command::new(worker).arg("send").arg(file).stdin(Stdio::null()).output().await?;
    if !done.status.success() {
        bail!("`imin-customer-worker send` failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// Watches until every signup has come to an end and every repeat has been recognised.
async fn settle(
    watch: &mut Watch,
    admin: SocketAddr,
    signups: &[Signup],
    repeated: usize,
) -> Result<Vec<End>> {
    let bar = bar(signups.len());
    let mut ends: Vec<End> = Vec::new();
    let mut glance = interval(GLANCE);
    let mut news = Instant::now();
    loop {
        tokio::select! {
            end = watch.next() => {
                ends.push(end?);
                news = Instant::now();
                advance(&bar, ends.len(), signups.len());
            }
            _ = glance.tick() => {
                if ends.len() >= signups.len() && news.elapsed() > QUIET && recognised(admin).await? >= repeated as u64 {
                    bar.finish();
                    return Ok(ends);
                }
                if news.elapsed() > PATIENCE {
                    bar.abandon();
                    bail!("no news for {PATIENCE:?}; {} of {} signups have come to an end", ends.len(), signups.len());
                }
            }
        }
    }
}

fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} signups settled, {elapsed}");
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Moves the bar; without a terminal, a line at every fifth of the way.
fn advance(bar: &ProgressBar, settled: usize, of: usize) {
    bar.set_position(settled as u64);
    if !std::io::stderr().is_terminal() && settled.is_multiple_of((of / 5).max(1)) {
        say(&format!("  {settled} of {of} signups settled"));
    }
}

async fn until_ready(admin: SocketAddr) -> Result<()> {
    let mut glance = interval(GLANCE);
    let ready = async {
        loop {
            glance.tick().await;
            if let Ok((200, _)) = get(admin, "/readyz").await {
                return;
            }
        }
    };
    timeout(PATIENCE, ready).await.context("the worker did not become ready")
}

/// How many repeats the worker recognised.
async fn recognised(admin: SocketAddr) -> Result<u64> {
    let (_, metrics) = get(admin, "/metrics").await?;
    let name = "customer_worker_outcomes_total{outcome=\"duplicate\"} ";
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .context("the worker counts no duplicates")?;
    Ok(value.trim().parse()?)
}

/// What imin saw of each event.
async fn seen(sandbox: SocketAddr) -> Result<HashMap<String, Seen>> {
    let (_, body) = get(sandbox, "/sandbox/accounts").await?;
    let body: Value = serde_json::from_str(&body)?;
    let keys = body["keys"].as_object().context("the sandbox lists no keys")?;
    let count = |tally: &Value, name: &str| tally[name].as_u64().unwrap_or_default();
    let seen = |tally: &Value| Seen { calls: count(tally, "calls"), accounts: count(tally, "accounts") };
    Ok(keys.iter().map(|(key, tally)| (key.clone(), seen(tally))).collect())
}

async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ask(address, "GET", path, "").await
}

/// A request by hand: HTTP/1.0 ends a body with the connection, so that there is nothing to parse.
async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is no HTTP")?;
    let status = head.split(' ').nth(1).context("the answer has no status")?.parse()?;
    Ok((status, body.to_owned()))
}
