//! The surroundings of one run: a virtual host of its own, a subscriber's queue, an imin, a directory.
//!
//! Everything is new for every run, so that none finds what an earlier one left.

use crate::{
    load::{self, Destination},
    process::{Process, Usage},
    support::Vhost,
    tools::Tools,
};
use anyhow::{Context, Result, bail, ensure};
use lapin::{
    Channel, Connection,
    options::{QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions},
    types::{AMQPValue, FieldTable},
};
use serde::Deserialize;
use std::{ops::Range, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::OnceCell,
    time::{sleep, timeout},
};

/// The queue that the work comes from.
pub(crate) const WORK: &str = "customers.create";
/// Where failed events go.
pub(crate) const DEAD: &str = "customers.create.dead";
/// The queue that the created events go to.
pub(crate) const SUBSCRIBER: &str = "bench.subscriber";
/// A key that any imin here accepts.
pub(crate) const KEY: &str = "bench";
/// How long the broker is left alone after the queue is loaded.
const SETTLE: Duration = Duration::from_millis(1_500);
/// The pause between two looks at something.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// How long anything small may take: for what is stuck, not for a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The process of the broker, which all runs share.
static BROKER: OnceCell<u32> = OnceCell::const_new();

/// Which imin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Api {
    /// The lean one of this program.
    Stub,
    /// `imin-sandbox`.
    Sandbox,
}

/// The surroundings.
pub(crate) struct World {
    pub(crate) vhost: Vhost,
    pub(crate) directory: TempDir,
    pub(crate) base_url: String,
    api: Process,
    broker: u32,
    _connection: Connection,
    channel: Channel,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Books {
    accounts: u64,
}

impl World {
    /// On a new virtual host, with an imin that takes `latency` for an answer.
    pub(crate) async fn start(tools: &Tools, api: Api, latency: Duration) -> Result<Self> {
        // Beside the results and not in /tmp, which may be memory: a ledger is to be durable.
        let directory = TempDir::with_prefix_in("run-", &tools.out)?;
        let vhost = Vhost::fresh();
        let (api, base_url) = start_api(tools, api, latency, directory.path()).await?;
        declare(tools, &vhost.url).await?;
        let connection = vhost.connect().await;
        let channel = connection.create_channel().await?;
        subscribe(&channel).await?;
        let http = crate::support::client();
        let broker = *BROKER.get_or_try_init(async || broker(&vhost)).await?;
        Ok(Self { vhost, directory, base_url, api, broker, _connection: connection, channel, http })
    }

    /// Puts the events with these numbers into the work queue and lets the broker come to rest.
    pub(crate) async fn load(&self, numbers: Range<u64>) -> Result<()> {
        self.load_into(numbers, Destination::Work).await
    }

    /// The same with the queue of dead letters.
    pub(crate) async fn load_into(&self, numbers: Range<u64>, to: Destination) -> Result<()> {
        let messages = numbers.end - numbers.start;
        load::publish(&self.vhost.url, numbers, to).await?;
        self.filled(if to == Destination::Work { WORK } else { DEAD }, messages).await?;
        sleep(SETTLE).await;
        Ok(())
    }

    /// Waits until a queue has this many messages.
    pub(crate) async fn filled(&self, queue: &str, messages: u64) -> Result<()> {
        let filled = async {
            while self.depth(queue).await? < messages {
                sleep(POLL).await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, filled).await.with_context(|| format!("{queue} does not fill"))?
    }

    /// How many messages of a queue are ready for delivery.
    pub(crate) async fn depth(&self, queue: &str) -> Result<u64> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
        Ok(declared.message_count().into())
    }

    /// Empties the subscriber's queue; how many events were in it.
    pub(crate) async fn collect(&self) -> Result<u64> {
        let purged = self.channel.queue_purge(SUBSCRIBER.into(), QueuePurgeOptions::default()).await?;
        Ok(purged.into())
    }

    /// How many accounts imin has made.
    pub(crate) async fn accounts(&self) -> Result<u64> {
        let host = self.base_url.trim_end_matches("/api/v2");
        let books: Books = self.http.get(format!("{host}/sandbox/stats")).send().await?.json().await?;
        Ok(books.accounts)
    }

    /// What imin has cost so far.
    pub(crate) fn api_usage(&mut self) -> Result<Usage> {
        self.api.usage()
    }

    /// What the broker has cost so far.
    pub(crate) fn broker_usage(&self) -> Result<Usage> {
        Usage::of(self.broker)
    }

    /// Every event went out once, none died, none is left, and imin was called for each.
    pub(crate) async fn verify(&self, messages: u64, calls: u64) -> Result<()> {
        // What a contender had in hand at its end comes back a moment later.
        sleep(SETTLE / 3).await;
        let found = [
            ("created events", self.depth(SUBSCRIBER).await?, messages),
            ("events left over", self.depth(WORK).await?, 0),
            ("dead letters", self.depth(DEAD).await?, 0),
            ("accounts", self.accounts().await?, calls),
        ];
        for (what, is, should) in found {
            ensure!(is == should, "{is} {what} instead of {should}");
        }
        Ok(())
    }

    /// Removes all of it.
    pub(crate) async fn end(self) -> Result<()> {
        self.api.stop().await?;
        self.vhost.ctl(&["delete_vhost", &self.vhost.name]);
        Ok(())
    }
}

/// The broker's process.
fn broker(vhost: &Vhost) -> Result<u32> {
    let id = vhost.ctl(&["eval", "io:put_chars(os:getpid())."]);
    let digits: String = id.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("the broker gave {id:?} for its process id"))
}

async fn start_api(tools: &Tools, api: Api, latency: Duration, dir: &Path) -> Result<(Process, String)> {
    let latency = format!("{}ms", latency.as_millis());
    let mut command;
    match api {
        Api::Stub => {
            command = Command::new(&tools.own);
            command.args(["stub", "--latency", &latency]);
        }
        Api::Sandbox => {
            command = Command::new(&tools.sandbox);
            command.args(["--addr", "127.0.0.1:0", "--latency", &latency]);
        }
    }
    let log = dir.join("api.log");
    let process = Process::start("imin", command, &log)?;
    let said = async {
        loop {
            let text = std::fs::read_to_string(&log)?;
            if let Some((address, _)) =
                text.split_once("listening on ").and_then(|(_, rest)| rest.split_once('\n'))
            {
                return anyhow::Ok(format!("{address}/api/v2"));
            }
            sleep(POLL).await;
        }
    };
    let base_url = timeout(PATIENCE, said).await.context("imin does not come up")??;
    Ok((process, base_url))
}

async fn declare(tools: &Tools, url: &str) -> Result<()> {
    let mut command = Command::new(&tools.worker);
    command.args(["topology", "apply"]).env("AMQP_URL", url).env("IMIN_API_KEY", KEY);
    let done = command.output().await?;
    if !done.status.success() {
        bail!("topology apply: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// A durable subscriber that takes its events later: its queue is of the same type as the others.
async fn subscribe(channel: &Channel) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(SUBSCRIBER.into(), durable, arguments).await?;
    let (exchange, key) = ("customers.events".into(), "customer.account.created".into());
    let options = QueueBindOptions::default();
    Ok(channel.queue_bind(SUBSCRIBER.into(), exchange, key, options, FieldTable::default()).await?)
}
