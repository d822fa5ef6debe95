//! When the next attempt comes: exponential intervals with jitter, from the `backoff` crate.
//!
//! Owns the schedule. Whether there is a next attempt at all is `outcome`'s decision.

use backoff::{ExponentialBackoff, backoff::Backoff};
use std::time::Duration;

/// The numbers of the schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    initial: Duration,
    multiplier: f64,
    jitter: f64,
    max_interval: Duration,
}

/// Why a schedule is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The first interval must be longer than nothing.
    #[error("the first interval must be longer than 0")]
    Initial,
    /// The intervals must not shrink.
    #[error("the multiplier must be at least 1")]
    Multiplier,
    /// Jitter is a share.
    #[error("the jitter must lie between 0 and 1")]
    Jitter,
    /// The bound must not lie below the start.
    #[error("the longest interval must not be shorter than the first")]
    MaxInterval,
}

impl Schedule {
    /// A schedule from `initial`, growing by `multiplier` up to `max_interval`; each interval is
    /// drawn at random from ±`jitter` of it, so that messages that failed together do not return together.
    pub fn new(
        initial: Duration,
        multiplier: f64,
        jitter: f64,
        max_interval: Duration,
    ) -> Result<Self, ScheduleError> {
        if initial.is_zero() {
            return Err(ScheduleError::Initial);
        }
        // Written so that NaN fails.
        if !(1.0..=f64::MAX).contains(&multiplier) {
            return Err(ScheduleError::Multiplier);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(ScheduleError::Jitter);
        }
        if max_interval < initial {
            return Err(ScheduleError::MaxInterval);
        }
        Ok(Self { initial, multiplier, jitter, max_interval })
    }

    /// The wait after the `failures`th failure in a row, from 1.
    pub fn interval(&self, failures: u32) -> Duration {
        let mut backoff = ExponentialBackoff {
            current_interval: self.nominal(failures),
            randomization_factor: self.jitter,
            // The time since the first attempt outlives the process, so it is `outcome`'s to judge.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        backoff.next_backoff().unwrap_or(self.max_interval)
    }

    /// The interval before jitter.
    pub fn nominal(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        Duration::try_from_secs_f64(seconds).map_or(self.max_interval, |wait| wait.min(self.max_interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule() -> Schedule {
        Schedule::new(Duration::from_millis(500), 2.0, 0.5, Duration::from_secs(300)).expect("valid")
    }

    #[test]
    fn intervals_double_and_are_bounded() {
        let nominal: Vec<u64> =
            (1..=4).map(|n| u64::try_from(schedule().nominal(n).as_millis()).expect("small")).collect();
        assert_eq!(nominal, [500, 1000, 2000, 4000]);
        assert_eq!(schedule().nominal(u32::MAX), Duration::from_secs(300));
    }

    #[test]
    fn numbers_that_make_no_schedule_are_refused() {
        let second = Duration::from_secs(1);
        let refused = [
            (Schedule::new(Duration::ZERO, 2.0, 0.5, second), ScheduleError::Initial),
            (Schedule::new(second, 0.5, 0.5, second), ScheduleError::Multiplier),
            (Schedule::new(second, f64::NAN, 0.5, second), ScheduleError::Multiplier),
            (Schedule::new(second, 2.0, 1.5, second), ScheduleError::Jitter),
            (Schedule::new(second, 2.0, 0.5, Duration::from_millis(1)), ScheduleError::MaxInterval),
        ];
        for (result, error) in refused {
            assert_eq!(result, Err(error));
        }
    }

    #[test]
    fn the_bounds_themselves_are_allowed_and_nothing_beyond() {
        let second = Duration::from_secs(1);
        let even =
            Schedule::new(second, 1.0, 1.0, second).expect("the smallest multiplier, the largest jitter");
        assert_eq!(even.nominal(u32::MAX), second);
        assert_eq!(Schedule::new(second, 1.0, 1.01, second), Err(ScheduleError::Jitter));
        assert_eq!(Schedule::new(second, 0.99, 1.0, second), Err(ScheduleError::Multiplier));
    }

    #[test]
    fn without_jitter_every_interval_is_the_nominal_one_however_long() {
        let day = Duration::from_hours(24);
        let schedule = Schedule::new(Duration::from_secs(1), 2.0, 0.0, day).expect("valid");
        for failures in 1..20 {
            assert_eq!(schedule.interval(failures), schedule.nominal(failures));
        }
    }

    proptest! {
        #[test]
        fn every_interval_lies_within_the_jitter(failures in 1u32..100) {
            let (wait, nominal) = (schedule().interval(failures), schedule().nominal(failures));
            prop_assert!(wait >= nominal.mul_f64(0.499) && wait <= nominal.mul_f64(1.501), "{wait:?} {nominal:?}");
        }
    }
}
