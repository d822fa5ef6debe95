//! The map of the modules, and the rule of their dependencies.
//!
//! ```text
//! pure      json problem event customer outcome retry breaker limit pace message clock failpoint
//! shared    authorities                   (a PEM file, for whoever speaks HTTPS)
//! ports     imin ledger broker spans      (traits and their own types)
//! rooms     letters contracts dead_letters gate pipeline worker health metrics shutdown telemetry admin
//! adapters  imin::http ledger::{memory,sqlite,postgres} amqp spans::otlp
//! edge      config app doctor cli         (`app` and `doctor` alone name concrete adapters)
//! aside     sandbox                       (plays imin; nothing of the product knows it)
//! ```
//!
//! Downwards only: a pure room knows pure rooms; a port knows pure rooms, `imin` also the spans; `pipeline` and `worker`
//! know ports; an adapter knows its own port. `tests/it/rooms.rs` holds the rule.

#![cfg_attr(test, expect(clippy::pedantic, reason = "a test is read once, by whoever it failed"))]

pub mod admin;
pub mod amqp;
pub mod app;
pub mod authorities;
pub mod breaker;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contracts;
pub mod customer;
pub mod dead_letters;
pub mod doctor;
pub mod event;
pub mod failpoint;
pub mod gate;
pub mod health;
pub mod imin;
pub mod json;
pub mod ledger;
pub mod letters;
pub mod limit;
pub mod message;
pub mod metrics;
pub mod outcome;
pub mod pace;
pub mod pipeline;
pub mod problem;
pub mod retry;
pub mod sandbox;
pub mod shutdown;
pub mod spans;
pub mod telemetry;
pub mod worker;

/// The name under which the worker shows itself: to imin, to the broker, in `app_id`.
pub const NAME: &str = env!("CARGO_PKG_NAME");
/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
