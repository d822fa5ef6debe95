//! One connection to RabbitMQ: address, TLS, heartbeat, name; and how long to wait before the next try.
//!
//! Owns what all connections share. What is done on one is `source`'s and `publisher`'s.

use crate::{NAME, VERSION};
use lapin::{
    Connection, ConnectionProperties,
    tcp::{OwnedIdentity, OwnedTLSConfig},
    uri::AMQPUri,
};
use std::{path::Path, time::Duration};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The frame size that RabbitMQ proposes, asked for in advance: lapin makes its buffers of 32 frames at
/// once then, and only the part that is used costs memory. Made larger later they cost all of it, 8 MiB
/// a connection. Not less: all headers of a message must fit one frame.
const FRAME_MAX: u32 = 128 * 1024;
/// The first wait after a loss.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const RECONNECT_MOST: Duration = Duration::from_secs(5);

/// Where the broker is, and how to reach it.
#[derive(Clone)]
pub struct Endpoint {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
}

/// Why an endpoint cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is not an AMQP URI.
    #[error("AMQP_URL is not an AMQP address such as amqp://user:password@host:5672/vhost")]
    Address,
    /// A certificate or key file cannot be read.
    #[error("{file} cannot be read: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing came back in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// What lapin says: the network, TLS, or the broker's refusal.
    #[error(transparent)]
    Failed(#[from] lapin::Error),
}

impl Endpoint {
    /// The endpoint at `url` (`amqp://…` or `amqps://…`).
    pub fn new(url: &str, heartbeat: Duration) -> Result<Self, EndpointError> {
        // The parser's own error may repeat the address, password included.
        let mut uri: AMQPUri = url.parse().map_err(|_| EndpointError::Address)?;
        let seconds = u16::try_from(heartbeat.as_secs().max(1)).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(seconds);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let millis = u64::try_from(CONNECT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        uri.query.connection_timeout.get_or_insert(millis);
        Ok(Self { uri, tls: OwnedTLSConfig::default() })
    }

    /// Trusts the authorities in this PEM file as well.
    pub fn trust(mut self, ca_file: &Path) -> Result<Self, EndpointError> {
        self.tls.cert_chain = Some(read(ca_file)?);
        Ok(self)
    }

    /// Shows this certificate (PEM) to the broker.
    pub fn identify(mut self, certificate: &Path, key: &Path) -> Result<Self, EndpointError> {
        let pem = read(certificate)?.into_bytes();
        let key = read(key)?.into_bytes();
        self.tls.identity = Some(OwnedIdentity::PKCS8 { pem, key });
        Ok(self)
    }

    /// The host, and the port.
    pub fn address(&self) -> (&str, u16) {
        (&self.uri.authority.host, self.uri.authority.port)
    }

    /// Both in one.
    pub fn place(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// The time between heartbeats, which bounds how long a silent connection goes unnoticed.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.uri.query.heartbeat.unwrap_or(10).into())
    }

    /// Connects once; `purpose` is shown in the broker's list of connections.
    pub async fn connect(&self, purpose: &str) -> Result<Connection, String> {
        self.open(purpose).await.map_err(|error| error.to_string())
    }

    /// The same, for a caller who wants to know what kind of trouble it is.
    pub async fn open(&self, purpose: &str) -> Result<Connection, ConnectError> {
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("{NAME} {VERSION} {purpose}").into());
        let runtime = lapin::runtime::default_runtime()?;
        let connecting =
            Connection::connect_uri_with_config(self.uri.clone(), properties, self.tls.clone(), runtime);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        Ok(connected.map_err(|_| ConnectError::Silent(CONNECT_TIMEOUT))??)
    }
}

fn read(file: &Path) -> Result<String, EndpointError> {
    std::fs::read_to_string(file)
        .map_err(|source| EndpointError::File { file: file.display().to_string(), source })
}

/// The waits between tries to connect: they double up to a bound and never end.
#[derive(Debug)]
pub struct Reconnect {
    wait: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { wait: RECONNECT_FIRST }
    }
}

impl Reconnect {
    /// Waits before the next try.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(RECONNECT_MOST);
    }

    /// Starts again from the first wait.
    pub fn reset(&mut self) {
        self.wait = RECONNECT_FIRST;
    }
}
