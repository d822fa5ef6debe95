//! Integration tests: the real binary, a real broker, the sandbox. One binary, so that all tests
//! share one broker.

mod ledger;
mod private_broker;
mod support;
