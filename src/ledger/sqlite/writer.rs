//! The one thread that writes the SQLite file: everything that is pending goes in one transaction.
//!
//! An answer goes out only after the commit, which is the moment at which SQLite has synced it.

use super::{file::LedgerFile, generations::Generations, rows, written::Written};
use crate::{
    clock,
    ledger::{
        Begun, LedgerError,
        open::{Observer, Options},
        request::{Answered, Request},
        row::{Change, Scene, horizon},
    },
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc::UnboundedSender, oneshot};
use uuid::Uuid;

/// From how many requests on no more are gathered for one transaction.
const BATCH: usize = 1024;
/// How long a note that nobody waits for may wait for company.
const LAZY: Duration = Duration::from_millis(50);
/// After how long without work old rows are looked for all the same.
const IDLE: Duration = Duration::from_secs(1);

/// A transaction of so many requests shows that there are more to come.
const COMPANY: usize = 8;
/// How long those are waited for, as PostgreSQL waits by `commit_delay` and `commit_siblings`: a sync for
/// a few costs as much as one for all.
const COMMIT_DELAY: Duration = Duration::from_millis(1);

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
    messages: Receiver<Vec<Message>>,
    answered: UnboundedSender<Vec<Answered>>,
    instance: Uuid,
    retention: Duration,
    on_commit: Observer,
    /// How many requests the last transaction had.
    company: usize,
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
    /// One that takes `messages`, and hands on to `answered` what is committed or has failed.
    pub(super) fn new(
        file: LedgerFile,
        messages: Receiver<Vec<Message>>,
        answered: UnboundedSender<Vec<Answered>>,
        options: Options,
    ) -> Self {
        let Options { instance, retention, on_commit, .. } = options;
        Self { file, messages, answered, instance, retention, on_commit, company: 0 }
    }

    /// Works until it is told to close or nobody is left to tell it.
    pub(super) fn run(mut self) {
        loop {
            let mut batch = self.gather();
            let (last, close) = (batch.last, batch.close.take());
            if !batch.is_empty() {
                self.commit(batch);
            }
            self.tidy();
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
                Ok(messages) => batch.extend(messages),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    batch.last = true;
                    break;
                }
            }
            patience = LAZY;
        }
        let until = Instant::now() + if self.company < COMPANY { Duration::ZERO } else { COMMIT_DELAY };
        while batch.has_room() && !batch.last {
            match self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(messages) => batch.extend(messages),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => batch.last = true,
            }
        }
        self.company = batch.requests.len();
        batch
    }

    fn commit(&mut self, batch: Batch) {
        let started = Instant::now();
        let result = self.transact(&batch);
        if result.is_ok() {
            self.file.written.commit();
            (self.on_commit)(started.elapsed());
        } else {
            self.file.written.rollback();
        }
        let result = result.map_err(|error| self.failed(&error));
        let done = result.as_ref().map(drop).map_err(LedgerError::clone);
        let answered = match result {
            Ok(answers) => batch.requests.into_iter().zip(answers.into_iter().map(Ok)).collect(),
            Err(error) => batch.requests.into_iter().map(|request| (request, Err(error.clone()))).collect(),
        };
        // Where nobody answers any more, nobody asks: the runtime is gone.
        let _ = self.answered.send(answered);
        for check in batch.checks {
            let _ = check.send(done.clone());
        }
    }

    /// All of the batch or nothing of it; the answers in its order.
    fn transact(&mut self, batch: &Batch) -> rusqlite::Result<Vec<Option<Begun>>> {
        if !self.file.stands() {
            return Err(moved());
        }
        let LedgerFile { connection, written, generations, .. } = &mut self.file;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let at = clock::now().as_millisecond();
        // The file's lock says that no other worker lives.
        let scene = Scene { instance: self.instance, at, living: &|_| false };
        let mut answers = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            answers.push(apply(&transaction, written, generations, request, &scene)?);
        }
        if !batch.checks.is_empty() {
            rows::probe(&transaction)?;
        }
        transaction.commit()?;
        generations.wrote(at);
        Ok(answers)
    }

    /// Closes the table that is written and removes an old generation, where it is time; put off,
    /// should that fail: the next begin or check tells of whatever stands in the way.
    fn tidy(&mut self) {
        let LedgerFile { connection, written, generations, .. } = &mut self.file;
        let at = clock::now().as_millisecond();
        let retention = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        let _ = generations
            .roll(connection, written, at, retention)
            .and_then(|()| generations.remove(connection, horizon(at, self.retention)));
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

/// Carries out one request; a begin's answer.
fn apply(
    connection: &Connection,
    written: &mut Written,
    generations: &Generations,
    request: &Request,
    scene: &Scene<'_>,
) -> rusqlite::Result<Option<Begun>> {
    let key = request.op.key();
    let mut row = written.load(connection, key)?;
    if row.is_none() {
        row = generations.find(connection, key)?;
    }
    let (begun, change) = request.op.apply(row.as_ref(), scene);
    match change {
        Change::Keep => {}
        Change::Put(row) => written.put(connection, key, row)?,
        // Only an open attempt is ever deleted: it is in this table, and hides no elder.
        Change::Delete => written.delete(connection, key)?,
    }
    Ok(begun)
}

/// Whoever moved the file can put it back; a new one would not recognise the events that come again.
fn moved() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    let words = "the file was moved, removed or replaced: put it back, or start the worker again";
    rusqlite::Error::SqliteFailure(code, Some(words.to_owned()))
}

impl Batch {
    /// What came together goes together. What comes behind the close finds nobody, which it notices.
    fn extend(&mut self, messages: Vec<Message>) {
        for message in messages {
            match message {
                _ if self.close.is_some() => {}
                Message::Request(request) => self.requests.push(request),
                Message::Check(reply) => self.checks.push(reply),
                Message::Close(reply) => self.close = Some(reply),
            }
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
