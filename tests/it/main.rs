//! Integration tests of the real binary.
mod ledger;
mod support;
