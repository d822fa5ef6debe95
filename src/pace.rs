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
/// The weight of one call in the share of recent failures (about the last 50 calls).
const RECENT: f64 = 1.0 / 50.0;

/// Retries as a bounded share of all calls. While imin fails less often than half that share, retries
/// cannot exceed it and go freely: what an outage left behind must not trickle once it is over.
#[derive(Debug)]
pub struct Budget {
    share: f64,
    tokens: f64,
    filled: Option<Instant>,
    /// The share of recent calls that failed.
    failing: f64,
}

impl Budget {
    /// Retries are at most `share` of the first calls, plus a small reserve.
    pub fn new(share: f64) -> Self {
        Self { share, tokens: RESERVE, filled: None, failing: 0.0 }
    }

    /// A first call goes.
    pub fn deposit(&mut self) {
        self.tokens = (self.tokens + self.share).min(MOST);
    }

    /// A call has ended.
    pub fn learn(&mut self, failed: bool) {
        self.failing += (f64::from(u8::from(failed)) - self.failing) * RECENT;
    }

    /// Asks for a retry: whether it can be afforded.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let since = self.filled.map_or(Duration::ZERO, |filled| now.duration_since(filled));
        self.filled = Some(now);
        self.tokens = (self.tokens + since.as_secs_f64() * RESERVE).min(MOST);
        if self.failing < self.share / 2.0 {
            return true;
        }
        let affordable = self.tokens >= 1.0;
        if affordable {
            self.tokens -= 1.0;
        }
        affordable
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
    fn idle_time_is_not_saved_up_and_haste_adds_up() {
        let (mut pace, now) = (Pace::new(Some(10.0)), Instant::now());
        pace.go(now);
        let later = now + Duration::from_secs(1);
        pace.go(later);
        assert_eq!(pace.wait_until(later), Some(later + Duration::from_millis(100)));
        pace.go(later);
        assert_eq!(pace.wait_until(later), Some(later + Duration::from_millis(200)));
    }

    #[test]
    fn a_hold_is_shared_and_a_shorter_one_does_not_end_it() {
        let (mut pace, now) = (Pace::new(None), Instant::now());
        pace.hold(now, Duration::from_secs(5));
        pace.hold(now, Duration::from_secs(1));
        assert_eq!(pace.wait_until(now), Some(now + Duration::from_secs(5)));
    }

    /// The budget of a worker whose imin fails.
    fn strained() -> Budget {
        let mut budget = Budget::new(0.2);
        (0..50).for_each(|_| budget.learn(true));
        budget
    }

    fn granted(budget: &mut Budget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn retries_are_a_share_of_calls() {
        let (mut budget, now) = (strained(), Instant::now());
        assert_eq!(granted(&mut budget, now), 10, "the reserve");
        (0..100).for_each(|_| budget.deposit());
        let granted = granted(&mut budget, now);
        assert!((19..=20).contains(&granted), "{granted}");
    }

    #[test]
    fn a_quiet_time_saves_up_a_hundred_and_no_more() {
        let (mut budget, now) = (strained(), Instant::now());
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(granted(&mut budget, now), 100);
        assert_eq!(granted(&mut budget, now + Duration::from_millis(9910)), 99);
        assert_eq!(granted(&mut budget, now + Duration::from_secs(3600)), 100);
    }

    #[test]
    fn retries_go_freely_while_failures_are_below_half_their_share() {
        let free = |failing| {
            let now = Instant::now();
            Budget { share: 0.2, tokens: 0.0, filled: Some(now), failing }.withdraw(now)
        };
        assert!(free(0.097));
        assert!(!free(0.1));
        assert!(!free(0.11));
        let now = Instant::now();
        assert_eq!(granted(&mut Budget::new(0.2), now), 10_000, "nothing has failed yet");
    }

    #[test]
    fn the_share_of_failures_is_that_of_the_last_calls() {
        // 1 - (1 - 1/50)^50
        assert!((strained().failing - 0.6358).abs() < 1e-4, "{}", strained().failing);
    }

    #[test]
    fn a_trickle_is_retried_from_the_reserve() {
        let (mut budget, now) = (strained(), Instant::now());
        granted(&mut budget, now);
        assert_eq!(granted(&mut budget, now + Duration::from_secs(1)), 10);
    }

    #[test]
    fn while_imin_works_what_failed_earlier_goes_freely() {
        let (mut budget, now) = (strained(), Instant::now());
        (0..150).for_each(|_| budget.learn(false));
        assert_eq!(granted(&mut budget, now), 10_000);
    }
}
