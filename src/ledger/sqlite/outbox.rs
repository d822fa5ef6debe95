//! What is on its way to the thread that writes: collected, and handed over a batch at a time.
//!
//! Owns when the thread is told. Events come and go in bursts; told of each request at once it would
//! wake for the first one, commit that alone, and be woken again for the next. So a task hands over what
//! there is when everything that could run has run.

use super::writer::Message;
use crate::ledger::LedgerError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};
use tokio::sync::Notify;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    rung: Notify,
}

#[derive(Debug)]
struct Waiting {
    messages: Vec<Message>,
    /// None once nothing may be sent any more.
    writer: Option<Sender<Vec<Message>>>,
}

impl Outbox {
    /// One that hands over to `writer`, from a task of its own on the runtime that this is called on.
    pub(super) fn start(writer: Sender<Vec<Message>>) -> Arc<Self> {
        let waiting = Mutex::new(Waiting { messages: Vec::new(), writer: Some(writer) });
        let outbox = Arc::new(Self { waiting, rung: Notify::new() });
        tokio::spawn(Arc::clone(&outbox).hand_over());
        outbox
    }

    /// Sends, soon; an error where nobody takes it. What is not taken in the end is dropped, which its
    /// sender notices.
    pub(super) fn send(&self, message: Message) -> Result<(), LedgerError> {
        let mut waiting = self.waiting();
        if waiting.writer.is_none() {
            return Err(LedgerError::gone());
        }
        waiting.messages.push(message);
        if waiting.messages.len() == 1 {
            self.rung.notify_one();
        }
        Ok(())
    }

    /// Hands over what is left, and lets go of the thread.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.hand_over();
        waiting.writer = None;
        self.rung.notify_one();
    }

    async fn hand_over(self: Arc<Self>) {
        loop {
            self.rung.notified().await;
            let mut waiting = self.waiting();
            waiting.hand_over();
            if waiting.writer.is_none() {
                return;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing below panics between two changes that belong together.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn hand_over(&mut self) {
        let messages = std::mem::take(&mut self.messages);
        if !messages.is_empty()
            && let Some(writer) = &self.writer
            && writer.send(messages).is_err()
        {
            self.writer = None;
        }
    }
}
