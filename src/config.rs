//! From texts to typed settings, with every error at once.
//!
//! Owns the types that settings have once they are known to be right, and the way there: `sources`
//! finds the texts, `table` lists what there is, `parse` knows the kinds of values, `check` what
//! settings say about each other, `assemble` puts them together, `show` shows what is in force. Nothing else reads the environment.

mod assemble;
mod check;
mod parse;
mod secret;
pub mod show;
mod sources;
mod table;

pub use secret::{Secret, mask_url};
pub use sources::{Process, Surroundings};

use crate::telemetry::Format;
use sources::{Gathered, gather};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use table::{Fallback, Setting, TABLE};
use url::Url;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The broker, and what stands in it.
    pub broker: Broker,
    /// imin.
    pub imin: Imin,
    /// How many calls to imin may be under way at the same time; at least 1.
    pub concurrency: usize,
    /// Whether that number follows imin's latency and overload.
    pub adaptive_concurrency: bool,
    /// Calls to imin a second, at most.
    pub rate_limit: Option<f64>,
    /// When an attempt is followed by another.
    pub retry: Retry,
    /// When the worker stops calling altogether.
    pub breaker: Breaker,
    /// What follows an attempt that nobody knows the end of.
    pub ambiguous: Ambiguous,
    /// The ledger.
    pub ledger: Ledger,
    /// Where the admin endpoints are served.
    pub admin_addr: SocketAddr,
    /// How long work under way may take to end after a SIGTERM.
    pub shutdown_grace: Duration,
    /// Where spans go, if anywhere.
    pub tracing: Option<Tracing>,
    /// The log.
    pub log: Log,
}

/// The broker, and what stands in it.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Its URL, with user and password.
    pub url: Secret,
    /// PEM file of further authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the worker's own certificate; set together with its key.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key.
    pub client_key_file: Option<PathBuf>,
    /// AMQP's heartbeat, in whole seconds.
    pub heartbeat: Duration,
    /// How long a publication may wait for its confirm.
    pub confirm_timeout: Duration,
    /// What the broker's own limit is set to.
    pub consumer_timeout: Duration,
    /// How the worker treats the topology.
    pub topology: TopologyMode,
    /// The names of queues, exchanges and routing keys.
    pub names: Names,
    /// The work queue's delivery limit, where there is to be one.
    pub delivery_limit: Option<u32>,
    /// Whether the worker listens to events that nobody subscribes to.
    pub unrouted_tap: bool,
}

/// How the worker treats the broker's topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopologyMode {
    /// Declares it at start.
    Apply,
    /// Only checks that it stands.
    Verify,
}

/// The names of queues, exchanges and routing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The work queue.
    pub queue: String,
    /// The exchange of *create customer* events.
    pub exchange: String,
    /// Their routing key.
    pub routing_key: String,
    /// The exchange of `CustomerAccountCreated` events.
    pub events_exchange: String,
    /// Their routing key.
    pub events_routing_key: String,
    /// The exchange of events that nobody subscribes to.
    pub unrouted_exchange: String,
    /// Their queue.
    pub unrouted_queue: String,
    /// The exchange of dead letters.
    pub dead_exchange: String,
    /// Their queue.
    pub dead_queue: String,
}

/// imin.
#[derive(Debug, Clone)]
pub struct Imin {
    /// The API, without a slash at the end.
    pub base_url: Url,
    /// The key; empty where it is not set and the command does not call imin.
    pub api_key: Secret,
    /// The file that the key came from, to be read again when it changes.
    pub api_key_file: Option<PathBuf>,
    /// How long one call may take, in all.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// PEM file of further authorities to trust.
    pub ca_file: Option<PathBuf>,
}

/// When an attempt is followed by another.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The wait before the first retry.
    pub initial: Duration,
    /// What the wait is multiplied with from retry to retry; at least 1.
    pub multiplier: f64,
    /// The share of a wait that chance adds or takes away, 0 to 1.
    pub jitter: f64,
    /// The longest wait.
    pub max_interval: Duration,
    /// How long after its first attempt an event is given up.
    pub max_elapsed: Duration,
    /// After how many attempts an event is given up; at least 1.
    pub max_attempts: u32,
    /// A longer wait leaves the process.
    pub in_process_max: Duration,
    /// A longer `Retry-After` is cut to this.
    pub retry_after_max: Duration,
    /// The share of all calls that retries may be, above 0 and up to 1.
    pub budget: f64,
}

/// When the worker stops calling altogether.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// The share of failures that opens it, above 0 and up to 1.
    pub failure_rate: f64,
    /// The time over which that share is counted.
    pub window: Duration,
    /// It stays closed while the window holds fewer calls; at least 1.
    pub min_calls: u32,
    /// How often one message is tried while it is open.
    pub probe_interval: Duration,
    /// How often one message is tried while imin refuses the key or the URL.
    pub misconfigured_probe_interval: Duration,
}

/// What follows an attempt that nobody knows the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguous {
    /// Another call, and a flag on the event.
    Retry,
    /// A dead letter.
    Park,
}

/// The ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Its URL, perhaps with user and password.
    pub url: Secret,
    /// How long an event is recognised.
    pub retention: Duration,
    /// After what time without a sign of life a worker's events are free.
    pub lease: Duration,
    /// PEM file of further authorities to trust.
    pub ca_file: Option<PathBuf>,
}

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub struct Tracing {
    /// The collector, up to what stands before `/v1/traces`.
    pub endpoint: Url,
    /// Headers of every request to it.
    pub headers: Vec<(String, Secret)>,
    /// PEM file of further authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// The service's name, where it is not the program's.
    pub service: Option<String>,
    /// More about the service.
    pub resource: Vec<(String, String)>,
    /// Which traces are taken.
    pub sampler: Sampler,
    /// The share that `Root::Ratio` takes, 0 to 1.
    pub ratio: f64,
}

/// Which traces are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// Whether a sender's own choice goes first.
    pub parent_based: bool,
    /// What else decides.
    pub root: Root,
}

/// Which traces are taken where no sender has chosen, or is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// All.
    All,
    /// None.
    None,
    /// A share of them.
    Ratio,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How its lines look.
    pub format: Format,
    /// Which lines there are, in `RUST_LOG`'s language.
    pub filter: String,
}

/// What a command needs beyond what has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it never calls imin.
    Nothing,
    /// imin's key.
    ApiKey,
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The setting's name, or the settings file's path.
    pub name: String,
    /// What is wrong with it; never a secret.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Wrong {
    fn new(name: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}. {}", self.name, self.what, self.remedy)
    }
}

/// Everything that is wrong with the settings, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub Vec<Wrong>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The settings are wrong:")?;
        self.0.iter().try_for_each(|wrong| write!(f, "\n  {wrong}"))
    }
}

impl std::error::Error for SettingsError {}

impl Config {
    /// The settings in force, from the environment, then `file`, then the defaults.
    pub fn load(
        outside: &impl Surroundings,
        file: Option<&Path>,
        needs: Needs,
    ) -> Result<Self, SettingsError> {
        let gathered = check_all(outside, file, needs);
        if !gathered.wrong.is_empty() {
            return Err(gathered.into());
        }
        // Every text has been parsed once by now, so that this cannot fail; if it did, it must not panic.
        assemble::config(&gathered, outside.terminal()).ok_or_else(|| {
            SettingsError(vec![Wrong::new("a setting", "has no default", "Report this as a bug.")])
        })
    }
}

impl Gathered {
    /// A setting's value, where it has a text and that is right.
    fn find<T>(&self, setting: &Setting<T>) -> Option<T> {
        (setting.parse)(&self.texts.get(setting.about.name)?.text).ok()
    }
}

/// Gathers and checks everything, and stops at nothing.
fn check_all(outside: &impl Surroundings, file: Option<&Path>, needs: Needs) -> Gathered {
    let mut gathered = gather(outside, file);
    let mut wrong = Vec::new();
    for setting in TABLE {
        let about = setting.about();
        match gathered.texts.get(about.name) {
            Some(raw) => wrong.extend(setting.check(&raw.text).err().map(|fault| {
                let value = about.visible.in_error(&raw.text);
                Wrong::new(about.name, format!("({}){value} {}", raw.origin, fault.what), fault.remedy)
            })),
            // A text that was found and could not be read is reported already.
            None if about.default == Fallback::Required
                && needs == Needs::ApiKey
                && !gathered.wrong.iter().any(|wrong| wrong.name.starts_with(about.name)) =>
            {
                let remedy = format!("Set {0}, or {0}_FILE to the path of a file that holds it.", about.name);
                wrong.push(Wrong::new(about.name, "is not set", remedy));
            }
            None => {}
        }
    }
    wrong.extend(check::cross(&gathered));
    gathered.wrong.append(&mut wrong);
    let files = [
        "AMQP_CA_FILE",
        "AMQP_CLIENT_CERT_FILE",
        "AMQP_CLIENT_KEY_FILE",
        "IMIN_CA_FILE",
        "LEDGER_CA_FILE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    ];
    sources::check_readable(outside, &mut gathered, &files);
    gathered
}

#[cfg(test)]
mod tests;
