//! The wall clock, in one place, so that every other room takes the time as an argument.

use jiff::{Timestamp, civil::Date};

/// The time now, UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The latest date that is today anywhere on earth (UTC+14): a birthday before it is not in the future.
pub fn today(now: Timestamp) -> Date {
    jiff::tz::offset(14).to_datetime(now).date()
}
