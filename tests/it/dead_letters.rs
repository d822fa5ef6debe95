//! Dead letters on the real binary and a real broker: looked at, replayed, edited, resolved, given up.

mod deeds;
mod looks;
mod pty;
mod support;
