//! Points at which a test may kill the real binary. Compiled in with the feature `failpoints` only,
//! which the tests' own builds turn on.

#[cfg(feature = "failpoints")]
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Kills the process without a word, as SIGKILL does, when the environment names this point:
/// `KILL_POINT=called`, or `KILL_POINT=called:50` for the fiftieth event that comes by.
#[cfg(feature = "failpoints")]
pub fn kill_point(name: &str) {
    static CHOSEN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Some((chosen, nth)) = CHOSEN.get_or_init(chosen) else { return };
    if chosen == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth {
        // abort() runs no destructor and flushes nothing, like the signal.
        std::process::abort();
    }
}

#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "not a setting: only the tests' build has it")]
fn chosen() -> Option<(String, u64)> {
    let text = std::env::var("KILL_POINT").ok()?;
    Some(match text.split_once(':') {
        Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
        None => (text, 1),
    })
}

/// Nothing, in a real build.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn kill_point(_name: &str) {}
