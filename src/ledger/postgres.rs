//! The ledger in PostgreSQL, for several workers on one queue.
//!
//! Owns the handle that tasks hold and the tasks behind it. Rows are claimed and written by `batch`,
//! gathered by `batcher`; that a worker lives is `lease`'s, the connections are `connect`'s, the
//! tables `schema`'s, their retention `sweep`'s.

use super::{
    Begun, Finish, Intent, Ledger, LedgerError, Recorded,
    claims::Claims,
    open::{Observer, OpenError, Options, place},
    request::{self, Request},
};
use crate::event::EventKey;
use batcher::Message;
use connect::Connections;
use futures_util::future::BoxFuture;
pub(in crate::ledger) use inspect::inspect;
use lease::Lease;
use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use uuid::Uuid;

mod batch;
mod batcher;
mod columns;
mod connect;
mod inspect;
mod lease;
mod schema;
mod sweep;

/// A ledger in a PostgreSQL database that other workers may share. Dropped without `close`, its
/// attempts stay its own until its lease ends.
#[derive(Debug)]
pub struct PostgresLedger {
    shared: Arc<Shared>,
    messages: mpsc::UnboundedSender<Message>,
    claims: Claims,
    /// Aborted when this is dropped.
    _tasks: JoinSet<()>,
}

/// What the tasks share.
struct Shared {
    connections: Connections,
    lease: Lease,
    instance: Uuid,
    retention: Duration,
    on_commit: Observer,
    /// Attempts begun since the sweep last looked.
    begun: AtomicU32,
}

impl PostgresLedger {
    /// Connects, migrates the schema where need be, and takes a lease.
    pub async fn open(config: &tokio_postgres::Config, options: Options) -> Result<Self, OpenError> {
        let place = place(config);
        let connections = Connections::new(config, place, &options)?;
        connections.open(schema::migrate).await?;
        let lease = Lease::new(options.instance, options.lease);
        connections.open(async |client| Ok(lease.renew(client).await?)).await?;
        let Options { instance, retention, on_commit, .. } = options;
        let begun = AtomicU32::new(0);
        let shared = Arc::new(Shared { connections, lease, instance, retention, on_commit, begun });
        let (messages, receiver) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(batcher::run(Arc::clone(&shared), receiver));
        tasks.spawn(lease::keep(Arc::clone(&shared)));
        tasks.spawn(sweep::run(Arc::clone(&shared)));
        Ok(Self { shared, messages, claims: Claims::default(), _tasks: tasks })
    }

    fn send(&self, message: Message) -> Result<(), LedgerError> {
        self.messages.send(message).map_err(|_| LedgerError::gone())
    }

    async fn stop(&self) -> Result<(), LedgerError> {
        let (reply, done) = oneshot::channel();
        self.send(Message::Close(reply))?;
        done.await.map_err(|_| LedgerError::gone())?;
        let released = self.shared.connections.run(async |client| self.shared.lease.end(client).await).await;
        self.shared.connections.close();
        released
    }
}

impl Ledger for PostgresLedger {
    fn begin(&self, intent: Intent) -> BoxFuture<'_, Result<Begun, LedgerError>> {
        Box::pin(request::begin(&self.claims, intent, |request| self.send(Message::Request(request))))
    }

    fn finish(&self, key: EventKey, how: Finish) -> BoxFuture<'_, Result<Option<Recorded>, LedgerError>> {
        Box::pin(request::finish(&self.claims, key, how, |request| self.send(Message::Request(request))))
    }

    fn published(&self, key: EventKey) {
        // Nobody waits to hear that a closed ledger does not take it.
        let _ = self.send(Message::Request(Request::published(key)));
    }

    /// Renews the lease, which is a write like any other.
    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        let Shared { connections, lease, .. } = &*self.shared;
        Box::pin(connections.run(async |client| lease.renew(client).await))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.stop())
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("instance", &self.instance).finish_non_exhaustive()
    }
}
