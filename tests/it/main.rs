//! Integration tests: the real binary, a real broker, the sandbox. One binary, so that all tests
//! share one broker.

mod ledger;
mod main_job;
mod private_broker;
mod support;
