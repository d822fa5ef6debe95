//! Integration tests: the real binary, a real broker, the sandbox. One binary, so that all tests
//! share one broker.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod alerts;
mod contracts;
mod dashboard;
mod doctor;
mod doubles;
mod flow;
mod imin_classes;
mod imin_sandbox;
mod kill_points;
mod ledger;
mod ledger_faults;
mod main_job;
mod private_broker;
mod readme;
mod rooms;
mod secrets;
mod start_stop;
mod support;
mod tls_everywhere;
mod topology;
