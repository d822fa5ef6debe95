//! The stage: a broker, an imin, a ledger, workers, and a proxy on every line between them.

use super::{
    check::Books,
    dice::Dice,
    faults::{Fault, Line, Stranger},
    stream::Sent,
};
use crate::support::{
    authority::Authority,
    broker::{Broker, Vhost},
    postgres::{self, Postgres},
    proxy::{Proxy, Way},
    terminator::{HERE, terminator},
    worker::{Settings, Worker},
    world::{KEY, json, names},
};
use futures_util::StreamExt;
use imin_customer_worker::{
    amqp::topology::Topology,
    broker::Names,
    message::Message,
    sandbox::{Options, Sandbox},
};
use lapin::{
    Channel, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// The queue of the created events.
const EVENTS: &str = "chaos.events";
/// The queue of the dead letters.
const DEAD: &str = "customers.create.dead";
/// After how many attempts an event is given up: more than any needs that imin does not fail for good.
pub(super) const ATTEMPTS: u32 = 20;
/// A name that nobody may have (RFC 2606).
const NOBODY: &str = "imin.invalid";

pub(super) struct Stage {
    broker: Arc<Broker>,
    sandbox: Sandbox,
    /// TLS with a certificate that nobody should trust.
    stranger: SocketAddr,
    _authority: Authority,
    ledger: Ledger,
    to_broker: Proxy,
    to_imin: Proxy,
    to_ledger: Option<Proxy>,
    settings: Settings,
    workers: Vec<Worker>,
    park: bool,
    log: Vec<String>,
    calls: BTreeMap<String, u64>,
    created: Vec<Message>,
    dead: Vec<Message>,
}

enum Ledger {
    Sqlite(TempDir),
    Postgres(Arc<Postgres>, String),
}

impl Stage {
    pub(super) async fn start(seed: u64) -> Self {
        let broker = Arc::new(spawn_blocking(Broker::start).await.expect("a broker"));
        declare(&broker.vhost()).await;
        let options = Options { api_key: Some(KEY.into()), seed, ..Options::default() };
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        let to_broker = Proxy::to(&broker.vhost().url).await;
        let authority = Authority::new();
        let imin = terminator(&authority.server(HERE), sandbox.addr()).await;
        let stranger = terminator(&Authority::new().server(HERE), sandbox.addr()).await;
        let to_imin = Proxy::to(&format!("https://imin@{imin}/api/v2")).await;
        let (ledger, to_ledger) = ledger(seed.is_multiple_of(2)).await;
        let park = seed & 2 != 0;
        let url = match (&ledger, &to_ledger) {
            (_, Some(proxy)) => proxy.url().to_owned(),
            (ledger, None) => format!("sqlite://{}", ledger.file().display()),
        };
        let settings = settings(&to_broker, &to_imin, &url, park)
            .set("IMIN_CA_FILE", authority.file().display().to_string());
        let workers = if to_ledger.is_some() { 2 + (seed >> 2 & 1) } else { 1 };
        let workers: Vec<_> = (0..workers).map(|_| settings.start()).collect();
        for worker in &workers {
            worker.readiness(200).await;
        }
        Self {
            broker,
            sandbox,
            stranger,
            _authority: authority,
            ledger,
            to_broker,
            to_imin,
            to_ledger,
            settings,
            workers,
            park,
            log: Vec::new(),
            calls: BTreeMap::new(),
            created: Vec::new(),
            dead: Vec::new(),
        }
    }

    pub(super) fn vhost(&self) -> Vhost {
        self.broker.vhost()
    }

    pub(super) fn has_a_line_to_its_ledger(&self) -> bool {
        self.to_ledger.is_some()
    }

    /// Breaks something, and mends it.
    pub(super) async fn meet(&mut self, fault: Fault, dice: &mut Dice) {
        let moment = Duration::from_millis(200 + dice.below(2500));
        match fault {
            Fault::KillWorker | Fault::StopWorker => {
                let worker = self.take(dice);
                self.end(worker, fault == Fault::KillWorker).await;
                sleep(moment / 4).await;
                self.workers.push(self.settings.start());
            }
            Fault::Misname => {
                let worker = self.take(dice);
                self.end(worker, false).await;
                let url = self.to_imin.url().replace("imin@127.0.0.1", NOBODY);
                let misled = self.settings.clone().set("IMIN_BASE_URL", url).start();
                // It is to get as far as calling.
                sleep(Duration::from_secs(1) + moment).await;
                self.end(misled, dice.below(2) == 0).await;
                self.workers.push(self.settings.start());
            }
            Fault::FreezeWorker => {
                let worker = self.take(dice);
                worker.signal("STOP");
                sleep(Duration::from_secs(4)).await;
                worker.signal("CONT");
                self.workers.push(worker);
            }
            Fault::KillBroker => {
                let broker = Arc::clone(&self.broker);
                let restarted = spawn_blocking(move || {
                    broker.kill();
                    broker.restart();
                });
                restarted.await.expect("it comes back");
            }
            Fault::Cut(line) => {
                if let Some(proxy) = self.proxy(line) {
                    proxy.cut();
                }
            }
            Fault::Hang(line) => {
                let (up, down) =
                    dice.one(&[(Way::Hang, Way::Hang), (Way::Pass, Way::Hang), (Way::Hang, Way::Pass)]);
                self.for_a(moment, line, |proxy| proxy.ways(up, down)).await;
            }
            Fault::Slow(line) => {
                let slow = Way::Delay(Duration::from_millis(dice.below(200)));
                self.for_a(moment, line, |proxy| proxy.ways(slow, slow)).await;
            }
            Fault::Refuse(line) => {
                self.for_a(moment, line, |proxy| {
                    proxy.refuse(true);
                    proxy.cut();
                })
                .await;
            }
            Fault::Mislead(stranger) => {
                let target = match stranger {
                    Stranger::Plain => self.sandbox.addr(),
                    Stranger::Untrusted => self.stranger,
                };
                self.for_a(moment, Line::Imin, |proxy| {
                    proxy.mislead(target);
                    proxy.cut();
                })
                .await;
            }
            Fault::Imin(word) => {
                self.sandbox.set_faults(vec![word.parse().expect("a fault")], dice.below(1000));
                sleep(moment).await;
                self.sandbox.set_faults(Vec::new(), 0);
            }
            Fault::BreakLedger => self.ledger.break_for(moment).await,
            Fault::FillLedger => {
                for (full, time) in [(true, moment), (false, Duration::ZERO)] {
                    self.ledger.fill(&self.workers, full).await;
                    sleep(time).await;
                }
            }
        }
    }

    /// Nothing is broken any more, and all workers are with the broker. One whose breaker is open and who
    /// finds nothing left to probe with is not ready for as long, and need not be.
    pub(super) async fn heal(&mut self) {
        self.sandbox.set_faults(Vec::new(), 0);
        for line in [Line::Broker, Line::Imin, Line::Ledger] {
            self.mend(line);
        }
        for worker in &self.workers {
            worker.until("broker_connected", |connected| connected == 1.0).await;
        }
    }

    /// Has others take the workers' places for what is left. While that is only what imin fails for good, it
    /// is an outage to a worker: its breaker stays open, it calls once at a time, and it rightly gives nothing
    /// up. So these do neither.
    pub(super) async fn clear(&mut self) {
        let settings =
            self.settings.clone().set("BREAKER_MIN_CALLS", "1000000").set("ADAPTIVE_CONCURRENCY", "false");
        for worker in std::mem::take(&mut self.workers) {
            self.end(worker, false).await;
            self.workers.push(settings.start());
        }
    }

    /// Takes what has come to its end, until every one of these events has.
    pub(super) async fn told_of(&mut self, sent: &Sent) {
        let mut left: BTreeSet<String> = sent.events.keys().cloned().collect();
        let ended = self.created.iter().map(cause).chain(self.dead.iter().map(id));
        for id in ended {
            left.remove(&id);
        }
        let connection = self.broker.vhost().connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        let (mut created, mut dead) = (consume(&channel, EVENTS).await, consume(&channel, DEAD).await);
        while !left.is_empty() {
            let (next, name, to): (_, fn(&Message) -> String, _) = tokio::select! {
                next = created.next() => (next, cause, &mut self.created),
                next = dead.next() => (next, id, &mut self.dead),
            };
            let next = next.expect("nobody cancels").expect("the broker stands");
            next.ack(BasicAckOptions::default()).await.expect("the broker stands");
            let next = Message::from(next);
            left.remove(&name(&next));
            to.push(next);
        }
        // What was acknowledged is gone for good then, and what was not comes again.
        connection.close(200, "done".into()).await.expect("the broker stands");
    }

    /// Whether no message is anywhere but at its end.
    pub(super) async fn is_quiet(&self) -> bool {
        let (ends, queues) = ([EVENTS, DEAD], self.queues().await);
        queues.iter().all(|(name, messages)| ends.contains(&name.as_str()) || *messages == 0)
    }

    /// Ends everything, and reads what there is to read.
    pub(super) async fn close(mut self) -> Books {
        let queues = self.queues().await;
        for worker in std::mem::take(&mut self.workers) {
            let (_, metrics) = worker.get("/metrics").await;
            self.log.extend(metrics.lines().map(str::to_owned));
            self.end(worker, false).await;
        }
        let vhost = self.broker.vhost();
        self.created.extend(drain(&vhost, EVENTS).await);
        self.dead.extend(drain(&vhost, DEAD).await);
        let imin = self.sandbox.accounts();
        Books {
            park: self.park,
            created: self.created,
            dead: self.dead,
            accounts: imin.accounts,
            called: imin.keys.into_iter().map(|(key, tally)| (key, tally.calls)).collect(),
            rows: self.ledger.rows().await,
            queues,
            log: self.log,
            calls: self.calls,
        }
    }

    /// Every queue, and how many messages it holds, those included that are delivered to somebody.
    async fn queues(&self) -> Vec<(String, u64)> {
        let vhost = self.broker.vhost();
        let listed =
            spawn_blocking(move || vhost.ctl(&["list_queues", "--no-table-headers", "name", "messages"]));
        let listed = listed.await.expect("rabbitmqctl runs");
        let lines = listed.lines().filter_map(|line| line.split_once('\t'));
        lines.map(|(name, count)| (name.to_owned(), count.trim().parse().unwrap_or(u64::MAX))).collect()
    }

    fn take(&mut self, dice: &mut Dice) -> Worker {
        let worker = dice.below(self.workers.len() as u64);
        self.workers.swap_remove(usize::try_from(worker).expect("small"))
    }

    /// Ends a worker, and keeps what it has said. Its end is its own, and no earlier one.
    async fn end(&mut self, mut worker: Worker, kill: bool) {
        self.count(&worker).await;
        if kill {
            worker.signal("KILL");
            let status = worker.end().await;
            assert_eq!(status.signal(), Some(9), "it had ended before:\n{:#?}", worker.log.lines());
        } else {
            worker.stop().await;
        }
        self.log.extend(worker.log.lines());
    }

    /// Counts a worker's calls by how they ended, unless it is too young to tell.
    async fn count(&mut self, worker: &Worker) {
        if !worker.log.lines().iter().any(|line| line.contains("admin endpoints")) {
            return;
        }
        let asked = timeout(Duration::from_secs(1), worker.get("/metrics")).await;
        let (_, metrics) = asked.unwrap_or_default();
        let calls = metrics.lines().filter_map(|line| {
            let (status, count) =
                line.strip_prefix("customer_worker_api_requests_total{status=\"")?.split_once("\"} ")?;
            Some((status, count.parse::<u64>().ok()?))
        });
        for (status, count) in calls.filter(|(_, count)| *count > 0) {
            *self.calls.entry(status.to_owned()).or_default() += count;
        }
    }

    /// SQLite has no line.
    fn proxy(&self, line: Line) -> Option<&Proxy> {
        match line {
            Line::Broker => Some(&self.to_broker),
            Line::Imin => Some(&self.to_imin),
            Line::Ledger => self.to_ledger.as_ref(),
        }
    }

    async fn for_a(&self, moment: Duration, line: Line, break_it: impl FnOnce(&Proxy)) {
        if let Some(proxy) = self.proxy(line) {
            break_it(proxy);
            sleep(moment).await;
            self.mend(line);
        }
    }

    fn mend(&self, line: Line) {
        if let Some(proxy) = self.proxy(line) {
            proxy.mend();
        }
    }
}

/// Short waits, and enough attempts that only what imin fails for good is ever given up.
fn settings(broker: &Proxy, imin: &Proxy, ledger: &str, park: bool) -> Settings {
    // A disk that is full is an error to the worker, as it is to others, and no signal that ends it.
    let bounded = r#"trap '' XFSZ; exec "$0" "$@""#;
    Settings::new(&[
        ("AMQP_URL", broker.url()),
        ("AMQP_HEARTBEAT", "2s"),
        ("CONFIRM_TIMEOUT", "3s"),
        ("IMIN_BASE_URL", &imin.url().replace("imin@", "")),
        ("IMIN_API_KEY", KEY),
        ("IMIN_TIMEOUT", "1s"),
        ("IMIN_CONNECT_TIMEOUT", "1s"),
        ("LEDGER_URL", ledger),
        ("LEDGER_LEASE", "3s"),
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
        ("AMBIGUOUS", if park { "park" } else { "retry" }),
        ("CONCURRENCY", "16"),
        ("RETRY_INITIAL", "50ms"),
        ("RETRY_MAX_INTERVAL", "1s"),
        ("RETRY_MAX_ATTEMPTS", &ATTEMPTS.to_string()),
        ("BREAKER_PROBE_INTERVAL", "200ms"),
        ("MISCONFIGURED_PROBE_INTERVAL", "200ms"),
        ("SHUTDOWN_GRACE", "3s"),
    ])
    .through(bounded)
}

async fn ledger(postgres: bool) -> (Ledger, Option<Proxy>) {
    if !postgres {
        return (Ledger::Sqlite(tempfile::tempdir().expect("a directory")), None);
    }
    let server = Arc::new(spawn_blocking(Postgres::start).await.expect("a server"));
    let url = server.database().await;
    let proxy = Proxy::to(&url).await;
    (Ledger::Postgres(server, url), Some(proxy))
}

impl Ledger {
    fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(directory) => directory.path().join("ledger.db"),
            Self::Postgres(_, url) => panic!("{url} is no file"),
        }
    }

    /// A crash of the server, or another program that holds the file's lock.
    async fn break_for(&self, moment: Duration) {
        match self {
            Self::Postgres(server, _) => {
                let server = Arc::clone(server);
                let restarted = spawn_blocking(move || {
                    server.kill();
                    server.resume();
                });
                restarted.await.expect("it comes back");
            }
            Self::Sqlite(_) => {
                let Ok(file) = rusqlite::Connection::open(self.file()) else { return };
                // A worker that has the file to itself lets nobody in: then nothing breaks.
                if file.execute_batch("BEGIN IMMEDIATE").is_ok() {
                    sleep(moment).await;
                }
            }
        }
    }

    /// Takes nothing more, or takes what comes again.
    async fn fill(&self, workers: &[Worker], full: bool) {
        match self {
            Self::Postgres(_, url) => {
                let reads_only = if full { "on" } else { "off" };
                let client = postgres::connect(url).await;
                // One statement at a time: this one cannot be in a transaction.
                let set = format!("ALTER SYSTEM SET default_transaction_read_only = {reads_only}");
                client.batch_execute("SET default_transaction_read_only = off").await.expect("a setting");
                client.batch_execute(&set).await.expect("a setting");
                client.batch_execute("SELECT pg_reload_conf()").await.expect("a word to the server");
            }
            Self::Sqlite(_) => {
                for worker in workers {
                    let size = if full { "--fsize=4096:" } else { "--fsize=unlimited:" };
                    let bounded = Command::new("prlimit").args(["--pid", &worker.id(), size]).status();
                    assert!(bounded.expect("prlimit runs").success());
                }
            }
        }
    }

    /// Every row: key, state, identifier.
    async fn rows(&self) -> Vec<(String, String, Option<String>)> {
        match self {
            Self::Postgres(_, url) => {
                let client = postgres::connect(url).await;
                let sql = "SELECT key::text, state, identifier FROM imin_customer_worker_ledger";
                let rows = client.query(sql, &[]).await.expect("the ledger's table");
                rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
            }
            Self::Sqlite(_) => {
                let file = rusqlite::Connection::open(self.file()).expect("a database");
                let sql = "SELECT lower(hex(key)), state, identifier FROM ledger";
                let mut statement = file.prepare(sql).expect("the ledger's table");
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
                rows.expect("rows").collect::<Result<_, _>>().expect("rows")
            }
        }
    }
}

/// The topology, and a queue for the created events that outlives its node.
async fn declare(vhost: &Vhost) {
    let connection = vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let names: Names = names();
    Topology::new(&names, Some(100)).apply(&channel).await.expect("the topology can be declared");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare(EVENTS.into(), durable, arguments).await.expect("declared");
    let (exchange, key) = (names.events_exchange.as_str().into(), names.events_routing_key.as_str().into());
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(EVENTS.into(), exchange, key, options, none).await.expect("bound");
}

/// The event of a created event.
fn cause(created: &Message) -> String {
    json(created)["causationid"].as_str().expect("a text").to_owned()
}

/// The event of a dead letter.
fn id(letter: &Message) -> String {
    letter.properties.message_id().as_ref().expect("an id").to_string()
}

async fn consume(channel: &Channel, queue: &str) -> Consumer {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.expect("it stands")
}

/// Every message of a queue.
async fn drain(vhost: &Vhost, queue: &str) -> Vec<Message> {
    let connection = vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let mut all = Vec::new();
    while let Some(got) =
        channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.expect("it stands")
    {
        all.push(Message::from(got.delivery));
    }
    all
}
