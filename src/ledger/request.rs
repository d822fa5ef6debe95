//! A request on its way to the one who commits it, and the answer on its way back.
//!
//! Owns who holds a key's claim meanwhile: the request, so that a caller who gives up does not
//! free the key before the request is dealt with. What is committed, and when, is the backend's.

use super::{
    Begun, Finish, Intent, LedgerError, Recorded,
    claims::{Claim, Claims},
    row::Op,
};
use crate::event::EventKey;
use tokio::sync::{mpsc, oneshot};

/// An operation, and where its answer goes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) op: Op,
    reply: Reply,
}

#[derive(Debug)]
enum Reply {
    Begin(Claim, oneshot::Sender<Result<(Begun, Claim), LedgerError>>),
    Finish(Claims, oneshot::Sender<Result<Option<Recorded>, LedgerError>>),
    Nobody,
}

impl Request {
    /// Notes that an event was confirmed; nobody waits for it.
    pub(super) fn published(key: EventKey) -> Self {
        Self { op: Op::Published(key), reply: Reply::Nobody }
    }

    /// Whether nobody waits for it.
    pub(super) fn is_lazy(&self) -> bool {
        matches!(self.reply, Reply::Nobody)
    }

    /// Answers, once the operation is committed or has failed, with what it came to.
    pub(super) fn answer(self, result: Result<Option<Begun>, LedgerError>) {
        match self.reply {
            Reply::Begin(claim, reply) => {
                let result = result.and_then(|begun| begun.ok_or_else(LedgerError::gone));
                // A caller that is gone drops the claim with the answer.
                let _ = reply.send(result.map(|begun| (begun, claim)));
            }
            Reply::Finish(claims, reply) => {
                if result.is_ok() {
                    claims.release(self.op.key());
                }
                let _ = reply.send(result.map(|standing| standing.and_then(Begun::recorded)));
            }
            Reply::Nobody => {}
        }
    }
}

/// A request that is dealt with, and what it came to.
pub(super) type Answered = (Request, Result<Option<Begun>, LedgerError>);

/// Answers what another thread has dealt with, a batch at a time, until that thread is gone. An answer
/// from that thread itself would wake the runtime, by a system call, for every request.
pub(super) async fn answer_all(mut batches: mpsc::UnboundedReceiver<Vec<Answered>>) {
    while let Some(batch) = batches.recv().await {
        for (request, result) in batch {
            request.answer(result);
        }
    }
}

/// Asks for an attempt through `send`, and waits.
pub(super) async fn begin(
    claims: &Claims,
    intent: Intent,
    send: impl FnOnce(Request) -> Result<(), LedgerError>,
) -> Result<Begun, LedgerError> {
    let Some(claim) = claims.take(intent.key) else { return Ok(Begun::Held) };
    let (reply, answer) = oneshot::channel();
    send(Request { op: Op::Begin(intent), reply: Reply::Begin(claim, reply) })?;
    let (begun, claim) = answer.await.map_err(|_| LedgerError::gone())??;
    if let Begun::Go { .. } = begun {
        claim.keep();
    }
    Ok(begun)
}

/// Asks through `send` for an attempt's end to be recorded, and waits.
pub(super) async fn finish(
    claims: &Claims,
    key: EventKey,
    how: Finish,
    send: impl FnOnce(Request) -> Result<(), LedgerError>,
) -> Result<Option<Recorded>, LedgerError> {
    let (reply, answer) = oneshot::channel();
    send(Request { op: Op::Finish(key, how), reply: Reply::Finish(claims.clone(), reply) })?;
    answer.await.map_err(|_| LedgerError::gone())?
}

impl LedgerError {
    /// It was closed, or the one who writes it has died.
    pub(super) fn gone() -> Self {
        Self { what: "is closed", detail: "nobody writes it any more".to_owned() }
    }

    /// The backend could not write.
    pub(super) fn unwritten(detail: impl Into<String>) -> Self {
        Self { what: "cannot be written", detail: detail.into() }
    }
}
