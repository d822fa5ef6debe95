//! Gathers requests into batches, a few of them under way at a time, and sends the answers back.

use super::{
    Shared,
    batch::{self, Outcome},
    connect::Failure,
};
use crate::ledger::{Begun, LedgerError, request::Request};
use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc::UnboundedReceiver, oneshot},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

/// The most batches under way.
pub(super) const IN_FLIGHT: usize = 4;
/// The most requests in one batch.
const BATCH: usize = 512;
/// How long a note that nobody waits for may wait for company.
const LAZY: Duration = Duration::from_millis(50);
/// How long a batch waits for company where another is under way already: each costs two round trips and a
/// sync however little is in it. PostgreSQL's own `commit_delay` only shares the sync.
const COMMIT_DELAY: Duration = Duration::from_millis(2);

/// What the batcher is told.
#[derive(Debug)]
pub(super) enum Message {
    Request(Request),
    /// Nothing comes after this; answered when everything before it is.
    Close(oneshot::Sender<()>),
}

/// What is gathered.
#[derive(Default)]
struct Batch {
    requests: Vec<Request>,
    close: Option<oneshot::Sender<()>>,
    /// Whether nobody is left who could ask.
    last: bool,
}

/// Works until it is told to close or nobody is left to tell it.
pub(super) async fn run(shared: Arc<Shared>, mut messages: UnboundedReceiver<Message>) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut under_way = JoinSet::new();
    loop {
        let mut batch = Batch::default();
        batch.gather(&mut messages).await;
        if room.available_permits() < IN_FLIGHT {
            batch.wait_for_company(&mut messages).await;
        }
        let permit = timeout(shared.connections.timeout(), Arc::clone(&room).acquire_owned()).await;
        // What came while all others were under way goes along.
        batch.top_up(&mut messages);
        let requests = mem::take(&mut batch.requests);
        match permit {
            Ok(Ok(permit)) => drop(under_way.spawn(settle(Arc::clone(&shared), requests, permit))),
            _ => refuse(&shared, requests),
        }
        while under_way.try_join_next().is_some() {}
        if let Some(close) = batch.close {
            while under_way.join_next().await.is_some() {}
            let _ = close.send(());
            return;
        }
        if batch.last {
            return;
        }
    }
}

/// Commits the requests and answers them.
async fn settle(shared: Arc<Shared>, mut requests: Vec<Request>, _permit: OwnedSemaphorePermit) {
    while !requests.is_empty() {
        let started = Instant::now();
        let asked = &requests;
        let commit = shared.connections.run(async |client| batch::commit(&shared, client, asked).await).await;
        match commit {
            Ok(outcomes) => {
                (shared.on_commit)(started.elapsed());
                requests = answer(&shared, requests, outcomes);
            }
            Err(error) => {
                for request in requests {
                    request.answer(Err(error.clone()));
                }
                return;
            }
        }
    }
}

/// Answers what is done; the requests that are to be asked again.
fn answer(shared: &Shared, requests: Vec<Request>, outcomes: Vec<Outcome>) -> Vec<Request> {
    let mut again = Vec::new();
    for (request, outcome) in requests.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Raced => again.push(request),
            Outcome::Done(begun @ Some(Begun::Go { .. })) => {
                shared.begun.fetch_add(1, Ordering::Relaxed);
                // Others may have taken this worker for dead before the row was there.
                let lost = || shared.connections.unwritten(&Failure::LeaseLost);
                request.answer(if shared.lease.stands() { Ok(begun) } else { Err(lost()) });
            }
            Outcome::Done(begun) => request.answer(Ok(begun)),
        }
    }
    again
}

fn refuse(shared: &Shared, requests: Vec<Request>) {
    let error: LedgerError = shared.connections.unwritten(&Failure::Slow(shared.connections.timeout()));
    for request in requests {
        request.answer(Err(error.clone()));
    }
}

impl Batch {
    /// Waits for the first request that somebody waits for, and a little for the others.
    async fn gather(&mut self, messages: &mut UnboundedReceiver<Message>) {
        self.push(messages.recv().await);
        while self.is_lazy() {
            match timeout(LAZY, messages.recv()).await {
                Ok(message) => self.push(message),
                Err(_) => break,
            }
        }
    }

    /// Waits for what comes within the commit delay.
    async fn wait_for_company(&mut self, messages: &mut UnboundedReceiver<Message>) {
        let until = Instant::now() + COMMIT_DELAY;
        while self.has_room()
            && let Ok(message) = timeout_at(until, messages.recv()).await
        {
            self.push(message);
        }
    }

    fn top_up(&mut self, messages: &mut UnboundedReceiver<Message>) {
        while self.has_room()
            && let Ok(message) = messages.try_recv()
        {
            self.push(Some(message));
        }
    }

    fn push(&mut self, message: Option<Message>) {
        match message {
            Some(Message::Request(request)) => self.requests.push(request),
            Some(Message::Close(reply)) => self.close = Some(reply),
            None => self.last = true,
        }
    }

    fn is_lazy(&self) -> bool {
        self.has_room() && self.requests.iter().all(Request::is_lazy)
    }

    fn has_room(&self) -> bool {
        self.requests.len() < BATCH && self.close.is_none() && !self.last
    }
}
