//! The one thread that writes the SQLite file: everything that is pending goes in one transaction.
//!
//! An answer goes out only after the commit, which is the moment at which SQLite has synced it.

use super::{file::LedgerFile, rows, sweep::Sweep};
use crate::{
    clock,
    ledger::{
        Begun, LedgerError,
        open::{Observer, Options},
        request::Request,
        row::{Change, SWEPT_PER_BEGIN, Scene, horizon},
    },
};
use rusqlite::TransactionBehavior;
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// The most requests in one transaction.
const BATCH: usize = 1024;
/// How long a note that nobody waits for may wait for company.
const LAZY: Duration = Duration::from_millis(50);
/// After how long without work the sweep for old rows goes on by itself.
const IDLE: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<(), LedgerError>>;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Request(Request),
    Check(Reply),
    Close(Reply),
}

/// The thread's state.
pub(super) struct Writer {
    file: LedgerFile,
    messages: Receiver<Message>,
    instance: Uuid,
    retention: Duration,
    on_commit: Observer,
    sweep: Sweep,
}

/// What is committed together.
#[derive(Default)]
struct Batch {
    requests: Vec<Request>,
    checks: Vec<Reply>,
    close: Option<Reply>,
    /// Whether nobody is left who could ask.
    last: bool,
}

impl Writer {
    pub(super) fn new(file: LedgerFile, messages: Receiver<Message>, options: Options) -> Self {
        let Options { instance, retention, on_commit, .. } = options;
        Self { file, messages, instance, retention, on_commit, sweep: Sweep::new(instance) }
    }

    /// Works until it is told to close or nobody is left to tell it.
    pub(super) fn run(mut self) {
        loop {
            let mut batch = self.gather();
            let (last, close) = (batch.last, batch.close.take());
            self.commit(batch);
            if let Some(reply) = close {
                let _ = reply.send(self.close());
                return;
            }
            if last {
                return;
            }
        }
    }

    /// Waits for the first request that somebody waits for, and takes what else is there.
    fn gather(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut patience = IDLE;
        while batch.is_lazy() {
            match self.messages.recv_timeout(patience) {
                Ok(message) => batch.push(message),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    batch.last = true;
                    break;
                }
            }
            patience = LAZY;
        }
        while batch.has_room()
            && let Ok(message) = self.messages.try_recv()
        {
            batch.push(message);
        }
        batch
    }

    fn commit(&mut self, batch: Batch) {
        if batch.is_empty() {
            self.sweep.allow_step();
        }
        let started = Instant::now();
        let result = self.transact(&batch);
        if result.is_ok() && !batch.is_empty() {
            (self.on_commit)(started.elapsed());
        }
        let result = result.map_err(|error| self.failed(&error));
        let done = result.as_ref().map(drop).map_err(LedgerError::clone);
        match result {
            Ok(answers) => {
                batch
                    .requests
                    .into_iter()
                    .zip(answers)
                    .for_each(|(request, begun)| request.answer(Ok(begun)));
            }
            Err(error) => batch.requests.into_iter().for_each(|request| request.answer(Err(error.clone()))),
        }
        for check in batch.checks {
            let _ = check.send(done.clone());
        }
    }

    /// All of the batch or nothing of it; the answers in its order.
    fn transact(&mut self, batch: &Batch) -> rusqlite::Result<Vec<Option<Begun>>> {
        if !self.file.stands() {
            return Err(moved());
        }
        let transaction = self.file.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let at = clock::now().as_millisecond();
        // The file's lock says that no other worker lives.
        let scene = Scene { instance: self.instance, at, living: &|_| false };
        let mut answers = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            let key = request.op.key();
            let (begun, change) = request.op.apply(rows::load(&transaction, key)?.as_ref(), &scene);
            match change {
                Change::Keep => {}
                Change::Put(row) => rows::put(&transaction, key, row)?,
                Change::Delete => rows::delete(&transaction, key)?,
            }
            answers.push(begun);
        }
        if !batch.checks.is_empty() {
            rows::probe(&transaction)?;
        }
        let begins =
            batch.requests.iter().filter(|request| request.op.is_begin()).map(|_| SWEPT_PER_BEGIN).sum();
        let mut sweep = self.sweep.clone();
        sweep.allow(begins);
        let sweep = sweep.step(&transaction, horizon(at, self.retention))?;
        transaction.commit()?;
        self.sweep = sweep;
        Ok(answers)
    }

    /// Writes the log back into the file and lets go of it.
    fn close(self) -> Result<(), LedgerError> {
        let Self { file, .. } = self;
        file.close().map_err(|(path, error)| LedgerError::unwritten(format!("{path}: {error}")))
    }

    fn failed(&self, error: &rusqlite::Error) -> LedgerError {
        LedgerError::unwritten(format!("{}: {error}", self.file.path.display()))
    }
}

/// Whoever moved the file can put it back; a new one would not recognise the events that come again.
fn moved() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    let words = "the file was moved, removed or replaced: put it back, or start the worker again";
    rusqlite::Error::SqliteFailure(code, Some(words.to_owned()))
}

impl Batch {
    fn push(&mut self, message: Message) {
        match message {
            Message::Request(request) => self.requests.push(request),
            Message::Check(reply) => self.checks.push(reply),
            Message::Close(reply) => self.close = Some(reply),
        }
    }

    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.checks.is_empty()
    }

    /// Whether nobody waits for it yet.
    fn is_lazy(&self) -> bool {
        self.has_room() && self.checks.is_empty() && self.requests.iter().all(Request::is_lazy)
    }

    fn has_room(&self) -> bool {
        self.requests.len() < BATCH && self.close.is_none()
    }
}
