//! The connections to PostgreSQL: a pool, TLS, and a bound in time on whatever is done with one.
//!
//! Owns the words for what went wrong with a server. What is done with a connection is the others'.

use crate::{
    NAME,
    ledger::{
        LedgerError,
        open::{OpenError, Options},
    },
};
use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use std::{error::Error as _, path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_postgres::{NoTls, config::SslMode, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Batches in flight, the lease and the sweep.
const POOL: usize = super::batcher::IN_FLIGHT + 2;

/// What each session is told. Where a server's commits are not durable by its own settings, ours are.
///
/// Every row is found by its key. Left to itself the planner reads the whole table for a batch as long as it
/// takes it for small: a new one is that until autovacuum first comes, while it grows to many thousand rows.
/// And to compile such statements (`jit`) costs many times what they do.
const SESSION: &str = "
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET plan_cache_mode = force_generic_plan; SET jit = off";

/// A pool of connections to one database.
pub(super) struct Connections {
    pool: Pool,
    /// The server and database, without secrets.
    place: String,
    timeout: Duration,
}

impl Connections {
    /// A pool that has not connected yet.
    pub(super) fn new(
        config: &tokio_postgres::Config,
        place: String,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let timeout = options.timeout;
        let unusable = |detail: String| OpenError::Unusable { place: place.clone(), detail };
        let config = bounded(config, timeout);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if config.get_ssl_mode() == SslMode::Disable {
            Manager::from_config(config, NoTls, recycling)
        } else {
            let tls = tls(options.ca_file.as_deref()).map_err(unusable)?;
            Manager::from_config(config, MakeRustlsConnect::new(tls), recycling)
        };
        let told = Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(POOL)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(timeout))
            .wait_timeout(Some(timeout))
            .post_create(told)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { pool, place, timeout })
    }

    /// Does something with a connection, within the bound. The connection goes back only if that
    /// went well: one that was left in the middle of a transaction must not be used again.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>,
    ) -> Result<T, LedgerError> {
        self.bounded(work).await.map_err(|failure| self.unwritten(&failure))
    }

    /// The same, while the ledger is opened.
    pub(super) async fn open<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>,
    ) -> Result<T, OpenError> {
        self.bounded(work).await.map_err(|failure| {
            let (place, detail) = (self.place.clone(), failure.to_string());
            match failure {
                Failure::Newer { found, known } => OpenError::Newer { place, found, known },
                failure if failure.lasts() => OpenError::Unusable { place, detail },
                _ => OpenError::Unreachable { place, detail },
            }
        })
    }

    /// The longest that one step may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What a failure is to those who use the ledger.
    pub(super) fn unwritten(&self, failure: &Failure) -> LedgerError {
        LedgerError::unwritten(format!("{}: {failure}", self.place))
    }

    /// Closes what is idle, and lends nothing any more.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    async fn bounded<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let lent = async {
            let mut lent = Lent(Some(self.pool.get().await?));
            let done = work(lent.0.as_mut().ok_or(Failure::Closed)?).await?;
            lent.give_back();
            Ok(done)
        };
        timeout(self.timeout, lent).await.unwrap_or(Err(Failure::Slow(self.timeout)))
    }
}

/// A connection that is closed rather than given back, unless all went well.
struct Lent(Option<Client>);

impl Lent {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// What went wrong with a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}", told(.0))]
    Server(#[from] tokio_postgres::Error),
    #[error("a row cannot be read: {0}")]
    Damaged(#[from] crate::ledger::row::Damaged),
    #[error("nothing came back within {0:?}")]
    Slow(Duration),
    #[error("no connection could be had in time")]
    NoConnection,
    #[error("the schema has version {found}, this worker knows {known}")]
    Newer { found: i64, known: i64 },
    #[error("the pool is closed")]
    Closed,
    #[error("the lease ran out while the attempt was written")]
    LeaseLost,
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::Server(error)
            }
            PoolError::Timeout(_) => Self::NoConnection,
            _ => Self::Closed,
        }
    }
}

impl Failure {
    /// Whether somebody has to put something right before another try can do better.
    fn lasts(&self) -> bool {
        const LASTING: [&SqlState; 7] = [
            &SqlState::INVALID_PASSWORD,
            &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            &SqlState::INVALID_CATALOG_NAME,
            &SqlState::INVALID_SCHEMA_NAME,
            &SqlState::INSUFFICIENT_PRIVILEGE,
            &SqlState::UNDEFINED_COLUMN,
            &SqlState::PROTOCOL_VIOLATION,
        ];
        let Self::Server(error) = self else { return matches!(self, Self::Damaged(_)) };
        match error.code() {
            Some(code) => LASTING.contains(&code),
            // A certificate, a password that is missing, a parameter: what stands in the settings.
            None => certificate(error) || matches!(error.to_string().as_str(), WRONG_SETTING | WRONG_LOGIN),
        }
    }
}

/// tokio-postgres tells the kind of its errors by their text alone.
const WRONG_SETTING: &str = "invalid configuration";
const WRONG_LOGIN: &str = "authentication error";

/// Whether TLS failed for what the two sides are, not for the network between them.
fn certificate(error: &tokio_postgres::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    io.and_then(std::io::Error::get_ref)
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// An error in full; a server's own is its message and code, without the row that it may name.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", db.message(), db.code().code());
    }
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    if certificate(error) {
        told.push_str(
            "; name the certificate's issuer with LEDGER_CA_FILE, or leave TLS out with ?sslmode=disable",
        );
    }
    told
}

/// The settings with a bound on everything that the server or the network could drag out.
fn bounded(config: &tokio_postgres::Config, timeout: Duration) -> tokio_postgres::Config {
    let mut config = config.clone();
    if config.get_application_name().is_none() {
        config.application_name(NAME);
    }
    let millis = timeout.as_millis();
    // A worker that stands still in a transaction must not keep its rows from the others.
    config.options(format!(
        "{} -c statement_timeout={millis} -c idle_in_transaction_session_timeout={millis}",
        config.get_options().unwrap_or_default()
    ));
    config.connect_timeout(timeout).tcp_user_timeout(timeout);
    config
}

/// TLS that verifies the server's certificate and name, by the system's issuers and `ca_file`'s.
fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unread = |error: String| format!("cannot read certificates from {}: {error}", path.display());
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unread(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unread("it holds none".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| unread(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
