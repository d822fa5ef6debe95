//! Integration tests: the real binary, a real broker, the sandbox. One binary, so that all tests
//! share one broker.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod contracts;
mod doctor;
mod imin_classes;
mod imin_sandbox;
mod ledger;
mod main_job;
mod private_broker;
mod support;
mod tls_everywhere;
