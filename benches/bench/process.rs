//! A process that is measured: started, looked at through `/proc`, ended by its id.
//!
//! Owns what a process costs: processor time and memory. What it is for is the caller's business.

use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux there is.
const TICKS: f64 = 100.0;
/// How long a process may take to end once it was told to.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a process has cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time, its own and the kernel's for it, in seconds.
    pub(crate) cpu: f64,
    /// The most memory it ever had (`VmHWM`), in MiB.
    pub(crate) peak: f64,
    /// The memory that it has now (`VmRSS`), in MiB.
    pub(crate) resident: f64,
}

impl Usage {
    /// Of the process with this id, whoever started it.
    pub(crate) fn of(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        Ok(Self {
            cpu: cpu(&stat).ok_or_else(|| anyhow!("/proc/{id}/stat reads {stat}"))?,
            peak: mebibytes(&status, "VmHWM:")?,
            resident: mebibytes(&status, "VmRSS:")?,
        })
    }
}

/// What all processors of the machine together have done so far, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    all: f64,
    idle: f64,
}

impl Processors {
    /// From `/proc/stat`.
    pub(crate) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
        let line = line.context("no line for all processors in /proc/stat")?;
        // What comes behind these, guests' time, is in the first two already.
        let ticks = line.split_ascii_whitespace().take(8).map(str::parse);
        let ticks: Vec<f64> = ticks.collect::<Result<_, _>>()?;
        ensure!(ticks.len() == 8, "/proc/stat begins with {line}");
        Ok(Self { all: ticks.iter().sum(), idle: ticks[3] + ticks[4] })
    }

    /// Which share of them was busy from that moment to this.
    pub(crate) fn busy_since(self, earlier: Self) -> f64 {
        1.0 - (self.idle - earlier.idle) / (self.all - earlier.all).max(1.0)
    }
}

/// A process that runs; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a command; what it says goes to the end of the file `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// What it has cost so far. An error where it has ended by itself.
    pub(crate) fn usage(&mut self) -> Result<Usage> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself: {status}", self.name);
        }
        Usage::of(self.id()?)
    }

    /// SIGTERM, and its end; a kill and an error where it does not obey.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let id = self.id()?.to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status().await?;
        if sent.success() && timeout(PATIENCE, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        self.child.kill().await?;
        bail!("{} did not end within {PATIENCE:?} of SIGTERM", self.name)
    }

    /// Its end, which must be a success.
    pub(crate) async fn wait(mut self) -> Result<()> {
        let status = self.child.wait().await?;
        ensure!(status.success(), "{} failed: {status}, see its log", self.name);
        Ok(())
    }

    fn id(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| anyhow!("{} has ended", self.name))
    }
}

/// The 14th and 15th fields; the second is a name in parentheses, which may hold blanks.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

fn mebibytes(status: &str, field: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next());
    let kibibytes = kibibytes.ok_or_else(|| anyhow!("no {field} in /proc/PID/status"))?;
    Ok(kibibytes.parse::<f64>()? / 1024.0)
}
