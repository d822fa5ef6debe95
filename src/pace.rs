//! How fast calls may follow each other: the rate limit, imin's own `Retry-After`, and the retry budget.
//!
//! Pure bookkeeping of instants and tokens. A budget rather than a maximum, for the reason that tower
//! gives in `tower/src/retry/budget/mod.rs`: a maximum per message still multiplies the load of a
//! brown-out, a share of all calls does not.

use std::time::Duration;
use tokio::time::Instant;

/// Calls a second over the whole worker, evenly: the generic cell rate algorithm (ITU-T I.371) without
/// a burst.
#[derive(Debug)]
pub struct Pace {
    interval: Option<Duration>,
    next: Option<Instant>,
    not_before: Option<Instant>,
}

impl Pace {
    /// At most `per_second` calls, or as many as can be.
    pub fn new(per_second: Option<f64>) -> Self {
        Self {
            interval: per_second.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            next: None,
            not_before: None,
        }
    }

    /// Until when a call must wait; `None`: it may go.
    pub fn wait_until(&self, now: Instant) -> Option<Instant> {
        self.next.max(self.not_before).filter(|until| *until > now)
    }

    /// A call goes.
    pub fn go(&mut self, now: Instant) {
        if let Some(interval) = self.interval {
            self.next = Some(self.next.map_or(now, |next| next.max(now)) + interval);
        }
    }

    /// Nobody calls for that long.
    pub fn hold(&mut self, now: Instant, wait: Duration) {
        self.not_before = self.not_before.max(Some(now + wait));
    }
}

/// How many tokens may gather: retries that a quiet time saves up for.
const MOST: f64 = 100.0;
/// Retries a second that are always affordable, so that a trickle is retried at all.
const RESERVE: f64 = 10.0;

/// Retries as a bounded share of all calls.
#[derive(Debug)]
pub struct Budget {
    share: f64,
    tokens: f64,
    filled: Option<Instant>,
}

impl Budget {
    /// Retries are at most `share` of the first calls, plus a small reserve.
    pub fn new(share: f64) -> Self {
        Self { share, tokens: RESERVE, filled: None }
    }

    /// A first call goes.
    pub fn deposit(&mut self) {
        self.tokens = (self.tokens + self.share).min(MOST);
    }

    /// Asks for a retry; an error says when to ask again.
    pub fn withdraw(&mut self, now: Instant) -> Result<(), Instant> {
        let since = self.filled.map_or(Duration::ZERO, |filled| now.duration_since(filled));
        self.filled = Some(now);
        self.tokens = (self.tokens + since.as_secs_f64() * RESERVE).min(MOST);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // Rounded up, so that asking again then is not asking too early.
        Err(now + Duration::from_secs_f64((1.0 - self.tokens) / RESERVE) + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_follow_each_other_evenly() {
        let (mut pace, now) = (Pace::new(Some(10.0)), Instant::now());
        assert_eq!(pace.wait_until(now), None);
        pace.go(now);
        assert_eq!(pace.wait_until(now), Some(now + Duration::from_millis(100)));
        assert_eq!(pace.wait_until(now + Duration::from_millis(100)), None);
    }

    #[test]
    fn a_hold_is_shared_and_a_shorter_one_does_not_end_it() {
        let (mut pace, now) = (Pace::new(None), Instant::now());
        pace.hold(now, Duration::from_secs(5));
        pace.hold(now, Duration::from_secs(1));
        assert_eq!(pace.wait_until(now), Some(now + Duration::from_secs(5)));
    }

    #[test]
    fn retries_are_a_share_of_calls() {
        let (mut budget, now) = (Budget::new(0.2), Instant::now());
        while budget.withdraw(now).is_ok() {}
        (0..100).for_each(|_| budget.deposit());
        let granted = std::iter::from_fn(|| budget.withdraw(now).ok()).count();
        assert!((19..=20).contains(&granted), "{granted}");
    }

    #[test]
    fn a_refusal_says_when_to_ask_again_and_keeps_its_word() {
        let (mut budget, now) = (Budget::new(0.2), Instant::now());
        let again = loop {
            if let Err(again) = budget.withdraw(now) {
                break again;
            }
        };
        assert_eq!(budget.withdraw(again), Ok(()));
    }
}
