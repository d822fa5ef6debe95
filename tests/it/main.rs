//! Integration tests: the real binary, a real broker, the sandbox. One binary, so that all tests
//! share one broker.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::disallowed_methods, reason = "the environment of the tests is no setting of the worker")]
#![expect(clippy::pedantic, reason = "a test is read once, by whoever it failed")]
#![expect(clippy::float_cmp, reason = "metrics are counts: whole numbers that fit a double")]

mod alerts;
mod chaos;
mod contracts;
mod corpus;
mod dashboard;
mod dead_letters;
mod doctor;
mod doubles;
mod flow;
mod hostile;
mod image;
mod imin_classes;
mod imin_sandbox;
mod kill_points;
mod least_rights;
mod ledger;
mod ledger_faults;
mod main_job;
mod outages;
mod private_broker;
mod readme;
mod rooms;
mod secrets;
mod spans;
mod start_stop;
mod support;
mod tls_everywhere;
mod topology;
