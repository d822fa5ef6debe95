//! Bad hours on the real binary: imin slow, limiting, broken or gone, the key revoked, the broker
//! killed, cut off, silent, blocked. After each the books must balance, without a restart of the worker.
//!
//! Times to recover are printed (`--nocapture`), never asserted: a test must not depend on the
//! machine's speed. A lower bound on a time is no such thing.

mod breaker;
mod connections;
mod long;
mod misconfigured;
mod node;
mod pace;
mod queues;
mod stage;
mod waits;
