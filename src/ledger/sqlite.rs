//! The ledger in one SQLite file, for one worker: nothing to install.
//!
//! Owns the handle that tasks hold. The file's opening is `file`'s, its one writer `writer`'s, the way
//! there `outbox`'s, its new rows `written`'s, its old ones `generations`'.

use super::{
    Begun, Finish, Intent, Ledger, LedgerError, Recorded,
    claims::Claims,
    open::{OpenError, Options},
    request::{self, Request},
};
use crate::event::EventKey;
use futures_util::future::BoxFuture;
pub(in crate::ledger) use inspect::inspect;
use outbox::Outbox;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};
use tokio::sync::oneshot;
use writer::{Message, Writer};

mod file;
mod filter;
mod generations;
mod inspect;
mod outbox;
mod rows;
mod writer;
mod written;

/// The table that is written.
const WRITTEN: &str = "ledger";

/// A ledger in a SQLite file that no other worker writes. Dropping it stops its thread.
#[derive(Debug)]
pub struct SqliteLedger {
    outbox: Arc<Outbox>,
    /// None only while it is dropped.
    thread: Option<JoinHandle<()>>,
    claims: Claims,
}

impl SqliteLedger {
    /// Opens the file at `path`, creating it (mode 0600) and migrating it where need be, and takes
    /// it for this worker alone.
    pub async fn open(path: PathBuf, options: Options) -> Result<Self, OpenError> {
        let place = path.display().to_string();
        let failed = |detail: String| OpenError::Unusable { place: place.clone(), detail };
        tokio::task::spawn_blocking(move || Self::start(&path, options))
            .await
            .map_err(|error| failed(error.to_string()))?
    }

    fn start(path: &Path, options: Options) -> Result<Self, OpenError> {
        let file = file::open(path, options.max_pages)?;
        let (sender, receiver) = mpsc::channel();
        let (answered, batches) = tokio::sync::mpsc::unbounded_channel();
        let writer = Writer::new(file, receiver, answered, options);
        tokio::spawn(request::answer_all(batches));
        let thread =
            thread::Builder::new().name("ledger".to_owned()).spawn(|| writer.run()).map_err(|error| {
                OpenError::Unusable { place: path.display().to_string(), detail: error.to_string() }
            })?;
        Ok(Self { outbox: Outbox::start(sender), thread: Some(thread), claims: Claims::default() })
    }

    async fn ask(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<(), LedgerError>>) -> Message,
    ) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.outbox.send(message(reply))?;
        answer.await.map_err(|_| LedgerError::gone())?
    }
}

impl Ledger for SqliteLedger {
    fn begin(&self, intent: Intent) -> BoxFuture<'_, Result<Begun, LedgerError>> {
        Box::pin(request::begin(&self.claims, intent, |request| self.outbox.send(Message::Request(request))))
    }

    fn finish(&self, key: EventKey, how: Finish) -> BoxFuture<'_, Result<Option<Recorded>, LedgerError>> {
        Box::pin(request::finish(&self.claims, key, how, |request| {
            self.outbox.send(Message::Request(request))
        }))
    }

    fn published(&self, key: EventKey) {
        // Nobody waits to hear that a closed ledger does not take it.
        let _ = self.outbox.send(Message::Request(Request::published(key)));
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.ask(Message::Check))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.ask(Message::Close))
    }
}

impl Drop for SqliteLedger {
    fn drop(&mut self) {
        self.outbox.close();
        if let Some(thread) = self.thread.take() {
            // The file is free for the next worker when this returns; a panic was the thread's own.
            let _ = thread.join();
        }
    }
}
