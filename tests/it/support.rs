//! What the tests stand on: real outside systems, started for them and gone with them.

pub(crate) mod authority;
pub(crate) mod book;
pub(crate) mod broker;
pub(crate) mod collector;
pub(crate) mod door;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod slow;
pub(crate) mod terminator;
pub(crate) mod worker;
pub(crate) mod world;
