//! The real binary as a process of its own: its settings, its log, its endpoints, its end.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

/// How long anything may take that is expected to happen: for a stuck test, not for a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a worker is to be started.
#[derive(Clone)]
pub(crate) struct Settings {
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    binary: String,
}

impl Settings {
    /// With these and no other settings.
    pub(crate) fn new(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let binary = env!("CARGO_BIN_EXE_imin-customer-worker").into();
        Self { environment, arguments: vec!["run".into()], binary }
    }

    /// Sets one more, or another way.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Leaves one to its default.
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Another binary, such as one with fail points.
    pub(crate) fn binary(mut self, path: impl Into<String>) -> Self {
        self.binary = path.into();
        self
    }

    /// Through a shell first, which is to end in `exec "$0" "$@"`.
    pub(crate) fn through(mut self, script: &str) -> Self {
        let binary = std::mem::replace(&mut self.binary, "bash".into());
        self.arguments = ["-c", script, &binary, "run"].map(str::to_owned).to_vec();
        self
    }

    /// A command with these settings and no other environment than what programs need to run at all, and
    /// what `make coverage` needs to see them run.
    pub(crate) fn command(&self) -> Command {
        const KEPT: [&str; 3] = ["PATH", "HOME", "LLVM_PROFILE_FILE"];
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(std::env::vars().filter(|(name, _)| KEPT.contains(&name.as_str())));
        command.envs(&self.environment).kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Runs another command of the binary to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> std::process::Output {
        let running = self.command().args(arguments).output();
        timeout(PATIENCE, running).await.expect("the command ends").expect("the binary runs")
    }

    /// Starts the worker, without waiting for anything.
    pub(crate) fn start(&self) -> Worker {
        let mut command = self.command();
        command.args(&self.arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let log = Log::default();
        log.follow(child.stdout.take().expect("piped"));
        log.follow(child.stderr.take().expect("piped"));
        Worker { child, log, client: client() }
    }
}

/// Everything a process has said.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Sender<usize>,
}

impl Default for Log {
    fn default() -> Self {
        Self { lines: Arc::default(), count: watch::Sender::new(0) }
    }
}

impl Log {
    fn follow(&self, stream: impl AsyncRead + Unpin + Send + 'static) {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.lines.lock().expect("no panic under it").push(line);
                log.count.send_modify(|count| *count += 1);
            }
        });
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic under it").clone()
    }

    /// Waits for a line that has this in it.
    pub(crate) async fn line(&self, part: &str) -> String {
        let mut count = self.count.subscribe();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(line) = self.lines().into_iter().find(|line| line.contains(part)) {
                    return line;
                }
                count.changed().await.expect("the log outlives this");
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(line) => line,
            Err(_) => panic!("no line with {part:?} in:\n{}", self.lines().join("\n")),
        }
    }
}

/// A worker that runs.
pub(crate) struct Worker {
    child: Child,
    pub(crate) log: Log,
    client: reqwest::Client,
}

impl Worker {
    /// Waits until it says that it is ready.
    pub(crate) async fn ready(self) -> Self {
        self.log.line("\"ready\"").await;
        self
    }

    /// The address of its endpoints.
    pub(crate) async fn admin(&self) -> String {
        let line: Value = serde_json::from_str(&self.log.line("admin endpoints").await).expect("a JSON line");
        line["addr"].as_str().expect("an address").to_owned()
    }

    /// What an endpoint answers: status and body. The status is 0 where nobody answers.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.admin().await);
        match self.client.get(url).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// A metric's value: `outcomes_total{outcome="created"}`, without the prefix.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let start = format!("customer_worker_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no metric {name} in:\n{text}")).parse().expect("a number")
    }

    /// Waits until a metric satisfies a condition.
    pub(crate) async fn until(&self, name: &str, condition: impl Fn(f64) -> bool) {
        let reached = async {
            while !condition(self.metric(name).await) {
                poll().await;
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            panic!("{name} is {} still; the log:\n{}", self.metric(name).await, self.log.lines().join("\n"));
        }
    }

    /// Waits until `/readyz` answers with this status, and returns its body.
    pub(crate) async fn readiness(&self, status: u16) -> String {
        let reached = async {
            loop {
                match self.get("/readyz").await {
                    (now, body) if now == status => return body,
                    _ => poll().await,
                }
            }
        };
        match timeout(PATIENCE, reached).await {
            Ok(body) => body,
            Err(_) => panic!("/readyz is not {status}; the log:\n{}", self.log.lines().join("\n")),
        }
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> String {
        self.child.id().expect("it runs").to_string()
    }

    /// The most memory that it ever had, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends a signal by its name: `TERM`, `KILL`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            std::process::Command::new("kill").args(["-s", name, &self.id()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.expect("our child"),
            Err(_) => panic!("it does not end; the log:\n{}", self.log.lines().join("\n")),
        }
    }

    /// Waits until the count of an outcome is this.
    pub(crate) async fn outcome(&self, outcome: &str, count: u32) {
        self.until(&format!("outcomes_total{{outcome=\"{outcome}\"}}"), |n| n >= f64::from(count)).await;
    }

    /// SIGTERM, and the end that must follow.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        let status = self.end().await;
        assert!(status.success(), "{status}; the log:\n{}", self.log.lines().join("\n"));
    }

    /// SIGKILL, and the end that must follow.
    pub(crate) async fn kill(&mut self) {
        self.signal("KILL");
        self.end().await;
    }
}

/// The pause between two looks at something that sends no event of its own.
pub(crate) async fn poll() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// An HTTP client that asks the process itself, whatever proxy the machine has.
pub(crate) fn client() -> reqwest::Client {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
