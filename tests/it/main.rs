//! Integration tests of the real binary.
fn main() {}
