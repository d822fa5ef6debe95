//! Which machine the figures are of: as far as they depend on it, and no name of anything.

use serde::Serialize;
use std::{fs, process::Command};

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's model.
    pub(crate) cpu: String,
    /// How many processors there are.
    pub(crate) cores: usize,
    /// Its memory, in GiB.
    pub(crate) memory_gib: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The broker's version.
    pub(crate) rabbitmq: String,
    /// The versions of the peers' languages, where they are there.
    pub(crate) runtimes: Vec<String>,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kibibytes: u64 = field(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let runtimes: [&[&str]; 4] =
            [&["node", "--version"], &["python3", "--version"], &["go", "version"], &["java", "--version"]];
        Self {
            cpu: field(&cpus, "model name"),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: kibibytes.div_ceil(1024 * 1024),
            kernel: kernel.trim().to_owned(),
            rabbitmq: first_line(&["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"]),
            runtimes: runtimes.iter().map(|command| first_line(command)).filter(|v| !v.is_empty()).collect(),
        }
    }
}

/// The value of the first `name : value`.
fn field(text: &str, name: &str) -> String {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let value = values.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    value.unwrap_or_default().to_owned()
}

/// What a program says of itself; nothing where it is not there.
fn first_line(command: &[&str]) -> String {
    let [program, arguments @ ..] = command else { return String::new() };
    let said = Command::new(program).args(arguments).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    said.lines().next().unwrap_or_default().to_owned()
}
