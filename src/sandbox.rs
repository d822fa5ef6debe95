//! imin by its documentation, for tests, demos and benches: `imin-sandbox`, also inside a process.
//!
//! Owns the whole of the sandbox; nothing of the product depends on it. What it plays:
//!
//! | endpoint | answers |
//! |---|---|
//! | `POST /api/v2/customer-accounts` | 201, the request mirrored with `@id` and `identifier`; 403 without and 401 with a wrong `X-API-KEY`; 400 where a required field is missing |
//! | `GET /api/v2/customer-accounts/{identifier}` | 200 or 404 |
//! | anything else below it | 405; elsewhere 404 |
//!
//! Errors are `OpenBookingError`s. A create is not idempotent, as imin documents nothing of the
//! sort: a second one makes a second account. The sandbox counts them by `Idempotency-Key`:
//!
//! | endpoint | does |
//! |---|---|
//! | `GET /sandbox/accounts` | every account and the fault of its call, and calls and accounts of each `Idempotency-Key` |
//! | `DELETE /sandbox/accounts` | forgets them, and the statistics |
//! | `GET /sandbox/stats` | calls by how they ended, accounts, doubles, calls in flight |
//! | `GET`, `PUT`, `DELETE /sandbox/faults` | `{"faults": ["503x2", "reset-after@10%"], "seed": 7}`; with `"addresses": false` no address gets the faults that it asks for |
//! | `GET /sandbox/last-request` | the headers of the last create |
//!
//! # Faults
//!
//! One word, three ways: `--fault 503x2`, the admin call above, or in the local part of a
//! customer's e-mail address, `geoff+fault-503x2@example.com`. Such an address comes before the
//! faults in force; several tags take their turns. A wrong key is refused before any fault.
//!
//! | fault | the call |
//! |---|---|
//! | `503`, any status from 300 | answers that and makes no account |
//! | `500-after` | makes the account, then answers 500 |
//! | `200`, any 2xx | makes the account and answers that |
//! | `429-retry-after-2`, `…-retry-after-date-2` | adds `Retry-After`, two seconds from now |
//! | `422-echo` | repeats the customer's name and address in the description |
//! | `502-html` | answers as a proxy would |
//! | `redirect` | 307, to the same endpoint |
//! | `timeout-before`, `timeout-after` | never answers; before or after the account is made |
//! | `reset-before`, `reset-after` | ends in a TCP reset |
//! | `close-before`, `close-after` | ends in an orderly close without an answer |
//! | `garbage`, `no-identifier` | 201, the account is made, the body is broken or lacks the identifier |
//! | `huge`, `endless`, `drip`, `cut`, `gzip` | 201, the account is made, the body is 1 MiB, endless, a byte every 100 ms, broken off, compressed |
//! | `delay-5s`, `delay-250ms-503` | waits first |
//!
//! `x2` behind a fault: for two calls. `@10%` behind it: for one call in ten, by a seeded die.

mod accounts;
mod admin;
mod api;
pub mod fault;
mod reply;
mod serve;
mod state;

use accounts::Accounts;
pub use accounts::{Listed, Tally};
use axum::http::HeaderMap;
use fault::Fault;
use state::State;
pub use state::{Accounted, Faults, Stats};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// How to play imin.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 is any free one.
    pub addr: SocketAddr,
    /// The one key that is accepted; none accepts every key.
    pub api_key: Option<String>,
    /// How long every create takes.
    pub latency: Duration,
    /// How many creates are worked on at a time; the others wait their turn, and take longer for it.
    pub capacity: Option<usize>,
    /// Faults in force from the start.
    pub faults: Vec<Fault>,
    /// Where the dice of `@10%` start.
    pub seed: u64,
    /// A file that keeps the accounts (identifier and `Idempotency-Key`) over a restart.
    pub journal: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            api_key: None,
            latency: Duration::ZERO,
            capacity: None,
            faults: Vec::new(),
            seed: 0,
            journal: None,
        }
    }
}

/// What every connection shares.
struct Shared {
    state: Arc<State>,
    base: String,
    api_key: Option<String>,
    latency: Duration,
    /// Places to be worked on at; none where there is room for all.
    places: Option<Semaphore>,
}

/// A running sandbox; dropped, it stops.
pub struct Sandbox {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<()>,
    serving: JoinHandle<()>,
}

impl Sandbox {
    /// Listens and serves. Fails where the address is taken or the journal cannot be read.
    pub async fn start(options: Options) -> io::Result<Self> {
        let accounts = match &options.journal {
            Some(path) => Accounts::from_journal(path)?,
            None => Accounts::default(),
        };
        let listener = TcpListener::bind(options.addr).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: State::new(accounts, options.faults, options.seed),
            base: format!("http://{addr}/api/v2"),
            api_key: options.api_key,
            latency: options.latency,
            places: options.capacity.map(Semaphore::new),
        });
        let (stop, stopped) = watch::channel(());
        let serving = tokio::spawn(serve::run(listener, Arc::clone(&shared), stopped));
        Ok(Self { addr, shared, stop, serving })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The API's root, for `IMIN_BASE_URL`.
    pub fn base_url(&self) -> &str {
        &self.shared.base
    }

    /// Every account, and the count for each `Idempotency-Key`.
    pub fn accounts(&self) -> Accounted {
        self.shared.state.accounts()
    }

    /// What was seen so far.
    pub fn stats(&self) -> Stats {
        self.shared.state.stats()
    }

    /// The headers of the last create.
    pub fn last_headers(&self) -> HeaderMap {
        self.shared.state.last_headers()
    }

    /// Replaces the faults in force.
    pub fn set_faults(&self, faults: Vec<Fault>, seed: u64) {
        self.shared.state.set_faults(faults, seed);
    }

    /// Forgets accounts and statistics. Fails where the journal cannot be emptied.
    pub fn forget(&self) -> io::Result<()> {
        self.shared.state.forget()
    }

    /// Stops: takes no more connections, lets calls under way finish for a second, then cuts them.
    pub async fn stop(self) {
        drop(self.stop);
        // It ends by a panic only, which has been reported where it happened.
        let _ = self.serving.await;
    }
}
