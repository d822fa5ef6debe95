//! Real RabbitMQ nodes for tests: one that all tests share, and nodes of a test's own to kill.
//!
//! Owns the talk with `deploy/scripts/broker.sh`, which keeps a node for as long as this process
//! holds its standard input: a test run that panics or is killed leaves no broker behind. Tests
//! never use a broker that they did not start. What is done with a node is the tests' business.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use lapin::{Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};
use serde_json::json;
use tempfile::TempDir;

/// How many virtual hosts the shared node boots with. Each costs 35 ms there, and fifty times as
/// much through `rabbitmqctl`.
const VHOSTS: usize = 64;

/// A virtual host: as good as a broker of one's own, at a fraction of the price.
#[derive(Clone)]
pub(crate) struct Vhost {
    /// What to put into `AMQP_URL`.
    pub(crate) url: String,
    /// Its name, for `rabbitmqctl -p`.
    pub(crate) name: String,
    node: Arc<Node>,
}

impl Vhost {
    /// An empty one on the node that all tests share, never handed out before.
    pub(crate) fn fresh() -> Self {
        static SHARED: OnceLock<(Broker, TempDir)> = OnceLock::new();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let (broker, _) = SHARED.get_or_init(start_shared);
        let index = NEXT.fetch_add(1, Ordering::Relaxed);
        let vhost = broker.node.vhost(&name(index));
        if index >= VHOSTS {
            vhost.node.ctl(&["add_vhost", &vhost.name]);
            vhost.node.ctl(&["set_permissions", "-p", &vhost.name, "guest", ".*", ".*", ".*"]);
        }
        vhost
    }

    /// A connection; a new one at each call.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::connect(&self.url, ConnectionProperties::default()).await.expect("the broker is up")
    }

    /// How many messages of a queue are ready for delivery. A quorum queue that has just come back
    /// with its node says 0 until it has a leader: await a delivery instead.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        declared.expect("the queue stands").message_count()
    }

    /// What `rabbitmqctl -q ARGUMENTS` prints; about half a second. Panics where it fails.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        self.node.ctl(arguments)
    }
}

/// A node of a test's own, to kill. Ends, data and all, when it is dropped.
pub(crate) struct Broker {
    node: Arc<Node>,
    keeper: Mutex<Keeper>,
}

impl Broker {
    /// Starts a node; about six seconds.
    pub(crate) fn start() -> Self {
        Self::launch(Command::new(script()))
    }

    /// Starts a node with lines of one's own at the end of `rabbitmq.conf`.
    pub(crate) fn start_with(conf: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), conf).expect("the temporary file is writable");
        let mut command = Command::new(script());
        command.arg(file.path());
        Self::launch(command)
    }

    fn launch(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("broker.sh runs");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut keeper = Keeper { child, input, output };
        let url = keeper.value("AMQP_URL=");
        let environment = fs::read_to_string(keeper.value("BROKER_ENV=")).expect("broker.sh wrote it");
        keeper.expect("ready");
        Self { node: Arc::new(Node::new(&url, &environment)), keeper: Mutex::new(keeper) }
    }

    /// Its default virtual host. The URL stays the same over `kill`, `stop` and `start`.
    pub(crate) fn vhost(&self) -> Vhost {
        self.node.vhost("/")
    }

    /// Kills it at once, as a crash would.
    pub(crate) fn kill(&self) {
        self.obey("kill", "down");
    }

    /// Lets it shut down in order.
    pub(crate) fn stop(&self) {
        self.obey("stop", "down");
    }

    /// Starts it again on the same data and port, and waits until it takes connections.
    pub(crate) fn restart(&self) {
        self.obey("start", "ready");
    }

    fn obey(&self, word: &str, answer: &str) {
        let mut keeper = self.keeper.lock().expect("no other test panicked here");
        let mut input = keeper.input.as_ref().expect("open until the drop");
        writeln!(input, "{word}").expect("broker.sh listens");
        keeper.expect(answer);
    }
}

/// The other end of `broker.sh`.
struct Keeper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Keeper {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("broker.sh speaks UTF-8");
        line.trim_end().to_owned()
    }

    fn value(&mut self, name: &str) -> String {
        let line = self.line();
        line.strip_prefix(name).unwrap_or_else(|| panic!("broker.sh said {line:?} for {name}")).to_owned()
    }

    fn expect(&mut self, word: &str) {
        assert_eq!(self.line(), word, "what broker.sh answers; its standard error says more");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.input = None;
        self.child.wait().expect("broker.sh is our child");
    }
}

/// How a node is reached.
struct Node {
    /// `amqp://user:password@host:port`, without a path.
    authority: String,
    environment: Vec<(String, String)>,
}

impl Node {
    fn new(url: &str, environment: &str) -> Self {
        let authority = url.strip_suffix("/%2f").expect("the default virtual host").to_owned();
        let pairs = environment.lines().filter_map(|line| line.split_once('='));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { authority, environment }
    }

    fn vhost(self: &Arc<Self>, name: &str) -> Vhost {
        let url = format!("{}/{}", self.authority, name.replace('/', "%2f"));
        Vhost { url, name: name.to_owned(), node: Arc::clone(self) }
    }

    fn ctl(&self, arguments: &[&str]) -> String {
        let (_, bin) = self.environment.iter().find(|(name, _)| name == "RABBITMQ_BIN").expect("written");
        let mut command = Command::new(Path::new(bin).join("rabbitmqctl"));
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        let done = command.arg("-q").args(arguments).envs(environment).output().expect("rabbitmqctl runs");
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "rabbitmqctl {arguments:?}: {error}");
        String::from_utf8(done.stdout).expect("rabbitmqctl speaks UTF-8")
    }
}

fn script() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/scripts/broker.sh")
}

fn name(index: usize) -> String {
    format!("t{index}")
}

/// Lives in a `static`, which is never dropped: its end comes with this process's end of the pipe.
fn start_shared() -> (Broker, TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("definitions.json");
    fs::write(&file, definitions()).expect("the temporary directory is writable");
    let broker = Broker::start_with(&format!("load_definitions = {}\n", file.display()));
    (broker, directory)
}

/// The virtual hosts, and `guest` with every right in each.
fn definitions() -> String {
    let names: Vec<String> = std::iter::once("/".to_owned()).chain((0..VHOSTS).map(name)).collect();
    let permission =
        |vhost| json!({"user": "guest", "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"});
    json!({
        "users": [{"name": "guest", "password": "guest", "tags": ["administrator"], "limits": {}}],
        "vhosts": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "permissions": names.iter().map(permission).collect::<Vec<_>>(),
    })
    .to_string()
}
