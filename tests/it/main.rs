//! Integration tests: one binary, so that the linker works once.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod imin_classes;
mod imin_sandbox;
