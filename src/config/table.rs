//! The one table of settings: name, type, default, parser, meaning.
//!
//! Everything that enumerates settings (reading, checking, showing, the README) walks `TABLE`.

use super::{
    Ambiguous, Sampler, Secret, TopologyMode,
    parse::{self, Fault, Parsed},
    secret::{MASK, mask_url},
};
use crate::telemetry::Format;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use url::Url;

/// What holds of every setting, whatever its type.
#[derive(Debug)]
pub(super) struct About {
    /// Its name in the environment; in a settings file it is the same in lower case.
    pub name: &'static str,
    /// What it is where nobody sets it.
    pub default: Fallback,
    /// How much of it may be seen.
    pub visible: Visible,
    /// What it means, for the reference.
    pub doc: &'static str,
}

/// What a setting is where nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// This text.
    Text(&'static str),
    /// Nothing, which means this.
    Nothing(&'static str),
    /// Nothing, and a command that calls imin does not start without it.
    Required,
}

/// How much of a setting may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visible {
    /// All of it.
    Open,
    /// All but the password inside a URL.
    MaskedUrl,
    /// Nothing.
    Hidden,
}

impl About {
    /// Whether it may also be read from the file that `NAME_FILE` names.
    pub(super) fn secret(&self) -> bool {
        self.visible != Visible::Open
    }
}

impl Visible {
    /// What may be seen of a text.
    pub(super) fn of(self, text: &str) -> String {
        match self {
            // A password may stand where none belongs.
            Self::Open if text.contains("://") => mask_url(text),
            Self::Open => text.to_owned(),
            Self::MaskedUrl => mask_url(text),
            Self::Hidden => MASK.to_owned(),
        }
    }

    /// What an error may say of a text: nothing of a secret's, since a wrong one may be secret in any part.
    pub(super) fn in_error(self, text: &str) -> String {
        if self == Self::Open { format!(" {:?}", self.of(text)) } else { String::new() }
    }
}

/// A setting and the parser of its type.
pub(super) struct Setting<T> {
    /// What holds of it.
    pub about: About,
    /// From its text to its value.
    pub parse: fn(&str) -> Parsed<T>,
}

/// A setting whose type does not matter.
pub(super) trait AnySetting: Sync {
    /// What holds of it.
    fn about(&self) -> &About;
    /// What is wrong with a text for it.
    fn check(&self, text: &str) -> Result<(), Fault>;
}

impl<T> AnySetting for Setting<T> {
    fn about(&self) -> &About {
        &self.about
    }

    fn check(&self, text: &str) -> Result<(), Fault> {
        (self.parse)(text).map(drop)
    }
}

macro_rules! settings {
    ($(#[doc = $doc:literal] $name:ident: $type:ty = $default:expr, $visible:ident, $parse:expr;)*) => {
        $(
            #[doc = $doc]
            pub(super) static $name: Setting<$type> = Setting {
                about: About { name: stringify!($name), default: $default, visible: Visible::$visible, doc: $doc },
                parse: $parse,
            };
        )*
        /// Every setting, in the order of the reference.
        pub(super) static TABLE: &[&'static dyn AnySetting] = &[$(&$name),*];
    };
}

use Fallback::{Nothing, Required, Text};

settings! {
    /// The broker: `amqp://` or `amqps://`, user, password, host, port and vhost (`/` is `%2f`).
    AMQP_URL: Secret = Text("amqp://guest:guest@127.0.0.1:5672/%2f"), MaskedUrl, parse::amqp_url;
    /// PEM file of the authorities that the broker's certificate is trusted by, besides the system's.
    AMQP_CA_FILE: PathBuf = Nothing("the system's authorities"), Open, parse::path;
    /// PEM file of the certificate that the worker shows to the broker.
    AMQP_CLIENT_CERT_FILE: PathBuf = Nothing("none"), Open, parse::path;
    /// PEM file of the key of `AMQP_CLIENT_CERT_FILE`.
    AMQP_CLIENT_KEY_FILE: PathBuf = Nothing("none"), Open, parse::path;
    /// How often the broker and the worker tell each other that they live, in whole seconds.
    AMQP_HEARTBEAT: Duration = Text("10s"), Open, parse::heartbeat;
    /// How long a publication may wait for the broker's confirm before it counts as failed.
    CONFIRM_TIMEOUT: Duration = Text("10s"), Open, parse::duration;
    /// What the broker's `consumer_timeout` is set to: no message is held for longer.
    CONSUMER_TIMEOUT: Duration = Text("30m"), Open, parse::duration;
    /// `apply` declares exchanges, queues and bindings at start; `verify` only checks that they stand.
    TOPOLOGY: TopologyMode = Text("apply"), Open, parse::topology;
    /// After so many failed deliveries the broker dead-letters a message itself; 0: never.
    DELIVERY_LIMIT: Option<u32> = Text("100"), Open, parse::limit;
    /// Whether the worker listens where unrouted events go, to count the events that nobody subscribes to.
    UNROUTED_TAP: bool = Text("true"), Open, parse::switch;
    /// The queue that *create customer* events are taken from.
    QUEUE: String = Text("customers.create"), Open, parse::queue;
    /// The topic exchange that *create customer* events are published to.
    EXCHANGE: String = Text("customers"), Open, parse::word;
    /// The routing key of *create customer* events, which binds `QUEUE` to `EXCHANGE`.
    ROUTING_KEY: String = Text("customer.create"), Open, parse::word;
    /// The topic exchange that `CustomerAccountCreated` events are published to.
    EVENTS_EXCHANGE: String = Text("customers.events"), Open, parse::word;
    /// The routing key of `CustomerAccountCreated` events.
    EVENTS_ROUTING_KEY: String = Text("customer.account.created"), Open, parse::word;
    /// The exchange for events that nobody subscribes to.
    UNROUTED_EXCHANGE: String = Text("customers.unrouted"), Open, parse::word;
    /// The queue that keeps the events that nobody subscribes to.
    UNROUTED_QUEUE: String = Text("customers.unrouted"), Open, parse::word;
    /// The exchange for dead letters.
    DEAD_EXCHANGE: String = Text("customers.dead"), Open, parse::word;
    /// The queue that keeps dead letters.
    DEAD_QUEUE: String = Text("customers.create.dead"), Open, parse::word;
    /// The URL of imin's Booking API, up to what stands before `/customer-accounts`.
    IMIN_BASE_URL: Url = Text("https://book.imin.co/api/v2"), Open, parse::base_url;
    /// The key that imin knows the caller by, sent as `X-API-KEY`.
    IMIN_API_KEY: Secret = Required, Hidden, parse::key;
    /// How long one call may take, from connecting to the last byte of the answer; 2m at most. The body of an answer that comes at the last moment has 1s more.
    IMIN_TIMEOUT: Duration = Text("30s"), Open, parse::call_timeout;
    /// How long connecting may take.
    IMIN_CONNECT_TIMEOUT: Duration = Text("5s"), Open, parse::duration;
    /// PEM file of the authorities that imin's certificate is trusted by, besides the system's.
    IMIN_CA_FILE: PathBuf = Nothing("the system's authorities"), Open, parse::path;
    /// How many calls to imin may be under way at the same time, 1 to 4096; a quarter more events are in hand, and as many again, 16 at the least, may wait for their turn or their ack.
    CONCURRENCY: usize = Text("256"), Open, parse::whole::<usize, 1, 4096>;
    /// Whether `CONCURRENCY` is lowered while imin is slow or overloaded, and raised again.
    ADAPTIVE_CONCURRENCY: bool = Text("true"), Open, parse::switch;
    /// Calls to imin a second, at most.
    RATE_LIMIT: f64 = Nothing("no limit"), Open, parse::rate;
    /// The wait before the first retry.
    RETRY_INITIAL: Duration = Text("500ms"), Open, parse::duration;
    /// What the wait is multiplied with from retry to retry.
    RETRY_MULTIPLIER: f64 = Text("2"), Open, parse::multiplier;
    /// The share of a wait that chance adds or takes away, 0 to 1.
    RETRY_JITTER: f64 = Text("0.5"), Open, parse::share;
    /// The longest wait between two attempts.
    RETRY_MAX_INTERVAL: Duration = Text("5m"), Open, parse::duration;
    /// How long after its first attempt an event is given up.
    RETRY_MAX_ELAPSED: Duration = Text("24h"), Open, parse::duration;
    /// After how many attempts an event is given up.
    RETRY_MAX_ATTEMPTS: u32 = Text("50"), Open, parse::whole::<u32, 1, 1_000_000>;
    /// A longer wait is spent in a delay queue of the broker; 0s: every wait.
    RETRY_IN_PROCESS_MAX: Duration = Text("10s"), Open, parse::duration_or_zero;
    /// A longer `Retry-After` of imin's is cut to this.
    RETRY_AFTER_MAX: Duration = Text("15m"), Open, parse::duration;
    /// The share of all calls that retries may be, above 0 and up to 1.
    RETRY_BUDGET: f64 = Text("0.2"), Open, parse::some_share;
    /// The share of calls that must fail for the circuit breaker to open, above 0 and up to 1.
    BREAKER_FAILURE_RATE: f64 = Text("0.5"), Open, parse::some_share;
    /// The time over which the breaker counts calls and failures.
    BREAKER_WINDOW: Duration = Text("10s"), Open, parse::duration;
    /// The breaker stays closed while its window holds fewer calls.
    BREAKER_MIN_CALLS: u32 = Text("20"), Open, parse::whole::<u32, 1, 1_000_000>;
    /// How often an open breaker tries one message.
    BREAKER_PROBE_INTERVAL: Duration = Text("5s"), Open, parse::duration;
    /// How often one message is tried while imin refuses the key or the URL.
    MISCONFIGURED_PROBE_INTERVAL: Duration = Text("10s"), Open, parse::duration;
    /// When nobody knows whether a call made the account: `retry` calls again and flags the event, `park` dead-letters.
    AMBIGUOUS: Ambiguous = Text("retry"), Open, parse::ambiguous;
    /// The ledger: `sqlite://FILE.db`, `sqlite:///ABSOLUTE/FILE.db`, or for several replicas `postgres://…`.
    LEDGER_URL: Secret = Text("sqlite://imin-customer-worker.db"), MaskedUrl, parse::ledger_url;
    /// How long an event is recognised when it comes again.
    LEDGER_RETENTION: Duration = Text("30d"), Open, parse::duration;
    /// After what time without a sign of life another replica takes over a worker's events (PostgreSQL).
    LEDGER_LEASE: Duration = Text("60s"), Open, parse::duration;
    /// PEM file of the authorities that PostgreSQL's certificate is trusted by, besides the system's.
    LEDGER_CA_FILE: PathBuf = Nothing("the system's authorities"), Open, parse::path;
    /// Where `/livez`, `/readyz` and `/metrics` are served: an IP address and a port.
    ADMIN_ADDR: SocketAddr = Text("127.0.0.1:8080"), Open, parse::address;
    /// How long work under way may take to end after a SIGTERM.
    SHUTDOWN_GRACE: Duration = Text("25s"), Open, parse::duration;
    /// Where spans go by OTLP over HTTP (`https://collector:4318`), `/v1/traces` being added; not set: no spans are made.
    OTEL_EXPORTER_OTLP_ENDPOINT: Url = Nothing("no spans"), Open, parse::otlp_endpoint;
    /// Headers for the collector, as `name=value,name=value`, the values percent-encoded.
    OTEL_EXPORTER_OTLP_HEADERS: Vec<(String, Secret)> = Nothing("none"), Hidden, parse::headers;
    /// PEM file of the authorities that the collector's certificate is trusted by, besides the system's.
    OTEL_EXPORTER_OTLP_CERTIFICATE: PathBuf = Nothing("the system's authorities"), Open, parse::path;
    /// How spans go to the collector; there is one way.
    OTEL_EXPORTER_OTLP_PROTOCOL: () = Text("http/protobuf"), Open, parse::otlp_protocol;
    /// The service's name in its spans.
    OTEL_SERVICE_NAME: String = Nothing("imin-customer-worker"), Open, parse::plain;
    /// More about the service in its spans, as `name=value,name=value`, the values percent-encoded.
    OTEL_RESOURCE_ATTRIBUTES: Vec<(String, String)> = Nothing("none"), Open, parse::attributes;
    /// Which traces are taken: `always_on`, `always_off` or `traceidratio`; with `parentbased_` before it, a sender's own choice goes first.
    OTEL_TRACES_SAMPLER: Sampler = Text("parentbased_always_on"), Open, parse::sampler;
    /// The share of traces that `traceidratio` takes, 0 to 1.
    OTEL_TRACES_SAMPLER_ARG: f64 = Text("1"), Open, parse::share;
    /// How log lines look: `pretty` or `json`.
    LOG_FORMAT: Format = Nothing("pretty on a terminal, json otherwise"), Open, parse::format;
    /// Which log lines are written: a level, or `target=level` with commas between. Libraries never say more than warnings.
    RUST_LOG: String = Text("info"), Open, parse::filter;
}
