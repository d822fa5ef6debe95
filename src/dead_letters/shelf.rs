//! Ports to the queue of the dead letters: looking through it, taking a letter off, watching replays.
//!
//! A look takes every letter into its hands without an acknowledgement and puts them back at its end;
//! whatever ends it, a crash included, the broker has them all again. Owns the ports; RabbitMQ is
//! behind them in `amqp`.

use crate::{letters::replay::Ended, message::Message};
use futures_util::future::BoxFuture;

/// A letter in hand: still in the queue, until it is taken off.
#[derive(Debug, Clone)]
pub struct Held {
    /// The letter.
    pub message: Message,
    /// By which it is taken off.
    pub tag: u64,
}

/// Why the queue could not be looked through, or not to its end. Nothing is lost by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    /// No connection, or no more.
    #[error("no connection to the broker (check AMQP_URL): {0}")]
    Connection(String),
    /// The queue is not there, or its user may not.
    #[error("the dead letters cannot be looked at: {0}")]
    Refused(String),
    /// The broker says that there are letters, and gives none.
    #[error("the broker delivers no dead letters, though it has some; try again")]
    Silent,
    /// The queue stands with a delivery limit, so that looking could use it up.
    #[error(
        "the queue {queue} stands with x-delivery-limit = {limit}: RabbitMQ deletes a message that was looked \
         at more often than that. Delete the queue once it is empty and let the worker declare it again; where \
         you know that this RabbitMQ does not count a look (3.10 to 3.13 with none, 4.x with -1), say \
         --look-anyway"
    )]
    Limit {
        /// The queue.
        queue: String,
        /// Its limit: a number, or `none`, which is 20 on RabbitMQ 4.0 to 4.2.
        limit: String,
    },
}

/// One look through the queue, from its front.
pub trait Shelf: Send {
    /// How many letters there were to see when the look began.
    fn depth(&self) -> u64;
    /// Whether somebody else is looking, too: what they hold cannot be seen.
    fn shared(&self) -> bool;
    /// The next letter; none after the last of those that were there at the beginning. Safe to drop and
    /// call again.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Held>, ShelfError>>;
    /// Takes a letter off for good.
    fn take_off(&mut self, tag: u64) -> BoxFuture<'_, Result<(), ShelfError>>;
    /// Ends the look: what was not taken off is back where it was; in its order, if the look went to the
    /// end.
    fn put_back(self: Box<Self>) -> BoxFuture<'static, Result<(), ShelfError>>;
}

/// What is told of replays.
pub trait Watch: Send {
    /// The name by which the worker finds it.
    fn queue(&self) -> &str;
    /// The next word; waits for ever once the connection is gone. Safe to drop and call again.
    fn next(&mut self) -> BoxFuture<'_, Ended>;
}

/// Where looks begin.
pub trait Shelves: Send + Sync {
    /// Begins a look.
    fn look(&self) -> BoxFuture<'_, Result<Box<dyn Shelf>, ShelfError>>;
    /// Begins to watch.
    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn Watch>, ShelfError>>;
}
