//! What tests stand on: servers of their own.

pub(crate) mod postgres;
