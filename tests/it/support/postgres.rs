//! A private PostgreSQL: made by `initdb` in a directory of its own, on a free port of the loopback,
//! and gone with the test process, however that ends.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, PoisonError},
};
use tempfile::TempDir;
use uuid::Uuid;

/// A server of one's own. Dropped, it is stopped and its directory removed.
pub(crate) struct Postgres {
    port: u16,
    /// Ends the server and removes the directory when its standard input closes.
    watchdog: Child,
    root: PathBuf,
}

/// Who ends a server whose test process is killed: `$0` is `pg_ctl`, `$1` the directory. It outlives
/// a Ctrl-C, which reaches the whole process group.
const WATCHDOG: &str = r#"trap '' INT TERM
echo ready
cat >/dev/null
"$0" -D "$1/data" -m immediate -s -w stop 2>/dev/null
rm -rf "$1""#;

impl Postgres {
    /// Makes and starts a server.
    pub(crate) fn start() -> Self {
        Self::start_with("", &[])
    }

    /// The same, speaking TLS with this key and certificate (PEM).
    pub(crate) fn start_with_tls(key: &[u8], certificate: &[u8]) -> Self {
        Self::start_with("ssl = on", &[("server.key", key), ("server.crt", certificate)])
    }

    /// `settings` are lines of its postgresql.conf, `files` beside it in the data directory.
    pub(crate) fn start_with(settings: &str, files: &[(&str, &[u8])]) -> Self {
        let root = TempDir::with_prefix("ledger-postgres-").expect("a directory").keep();
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(&root));
        }
        let watchdog = watchdog(&root);
        let server = Self { port: free_port(), watchdog, root };
        let data = server.data();
        run(as_server(&tool("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(&data));
        let root = server.root.display();
        let own = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{root}'\n\
             fsync = off\nmax_connections = 300\nlog_min_messages = fatal\n{settings}\n",
            server.port
        );
        fs::write(data.join("postgresql.auto.conf"), own).expect("the settings");
        for (name, content) in files {
            let path = data.join(name);
            fs::write(&path, content).expect(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect(name);
            if is_root() {
                run(Command::new("chown").arg("postgres:").arg(&path));
            }
        }
        server.resume();
        server
    }

    /// Starts a server that was killed.
    pub(crate) fn resume(&self) {
        let log = self.root.join("log");
        run(as_server(&tool("pg_ctl"))
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(log)
            .args(["-s", "-w", "start"]));
    }

    /// Ends all of its processes at once, without a word to their clients, as a crash does.
    pub(crate) fn kill(&self) {
        run(as_server(&tool("pg_ctl")).arg("-D").arg(self.data()).args([
            "-m",
            "immediate",
            "-s",
            "-w",
            "stop",
        ]));
    }

    /// Makes a database; its URL.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", Uuid::new_v4().simple());
        self.client("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.expect(&name);
        self.url(&name)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    async fn client(&self, database: &str) -> tokio_postgres::Client {
        connect(&self.url(database)).await
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// A database on the server that all tests of this process share.
pub(crate) async fn database() -> String {
    static SHARED: Mutex<Option<&'static Postgres>> = Mutex::new(None);
    let start = || -> &'static Postgres {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        // Never dropped: its watchdog ends it when this process is gone.
        shared.get_or_insert_with(|| Box::leak(Box::new(Postgres::start())))
    };
    let server = tokio::task::spawn_blocking(start).await.expect("a server");
    server.database().await
}

/// A connection to a database without TLS.
pub(crate) async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

fn watchdog(root: &Path) -> Child {
    let mut watchdog = as_server(Path::new("sh"));
    watchdog
        .arg("-c")
        .arg(WATCHDOG)
        .arg(tool("pg_ctl"))
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut watchdog = watchdog.spawn().expect("a watchdog");
    let mut ready = [0; 5];
    watchdog.stdout.take().expect("its output").read_exact(&mut ready).expect("a word from it");
    watchdog
}

/// PostgreSQL refuses to run as root.
fn as_server(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // The caller's directory may be closed to the user `postgres`.
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// One of PostgreSQL's programs: in the path, or where Debian keeps them.
fn tool(name: &str) -> PathBuf {
    let path = Command::new("sh").arg("-c").arg(format!("command -v {name}")).output().expect("a shell");
    if path.status.success() {
        return PathBuf::from(String::from_utf8_lossy(&path.stdout).trim());
    }
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = debian.map(|version| version.path().join("bin").join(name)).collect();
    found.push(Path::new("/usr/local/bin").join(name));
    found
        .into_iter()
        .find(|program| program.exists())
        .unwrap_or_else(|| panic!("no {name}: install PostgreSQL (apt-get install postgresql)"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn run(command: &mut Command) {
    let Output { status, stderr, .. } = command
        // A server that is left running must not keep a pipe of ours open.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}: {}", String::from_utf8_lossy(&stderr));
}
