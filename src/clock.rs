//! The wall clock, in one place, so that every other room takes the time as an argument.

use jiff::{Timestamp, civil::Date};

/// The time now, UTC.
#[cfg(not(test))]
pub fn now() -> Timestamp {
    wall()
}

/// The time now: the wall's, or the paused time of a test that asked for it.
#[cfg(test)]
pub fn now() -> Timestamp {
    paused::now().unwrap_or_else(wall)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall() -> Timestamp {
    Timestamp::now()
}

/// The latest date that is today anywhere on earth (UTC+14): a birthday before it is not in the future.
pub fn today(now: Timestamp) -> Date {
    jiff::tz::offset(14).to_datetime(now).date()
}

/// A wall clock that goes with tokio's paused time, so that hours of waiting are tested in no time.
#[cfg(test)]
pub(crate) mod paused {
    use jiff::Timestamp;
    use std::cell::Cell;
    use tokio::time::Instant;

    thread_local! {
        static START: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
    }

    /// While it lives, this thread's clock shows a fixed time and what has passed of tokio's since.
    #[must_use]
    pub(crate) struct Paused;

    impl Paused {
        /// Starts at midnight of the first day of 2026.
        pub(crate) fn start() -> Self {
            let start = Timestamp::from_second(1_767_225_600).expect("in range");
            START.set(Some((start, Instant::now())));
            Self
        }
    }

    impl Drop for Paused {
        fn drop(&mut self) {
            START.set(None);
        }
    }

    pub(super) fn now() -> Option<Timestamp> {
        START.get().map(|(at, since)| at.checked_add(since.elapsed()).expect("in range"))
    }
}
