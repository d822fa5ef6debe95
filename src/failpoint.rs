//! Points at which a test may kill the real binary. Compiled in with the feature `failpoints` only.

/// Kills the process without a word, as SIGKILL does, when the environment names this point.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "not a setting: only the tests' build has it")]
pub fn kill_point(name: &str) {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("KILL_POINT").ok());
    if chosen.as_deref() == Some(name) {
        // abort() runs no destructor and flushes nothing, like the signal.
        std::process::abort();
    }
}

/// Nothing, in a real build.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn kill_point(_name: &str) {}
