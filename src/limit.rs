//! How many calls at a time imin takes well: Netflix's Gradient2 limit.
//!
//! The long-term average latency is what imin usually takes; where the recent one exceeds it by more
//! than a tolerance, calls queue somewhere and the limit shrinks by the ratio of the two; otherwise it
//! grows by the square root of itself. Overload answers shrink it at once. After
//! <https://github.com/Netflix/concurrency-limits>, class `Gradient2Limit`.

use std::time::Duration;

/// How much slower than usual is still usual.
const TOLERANCE: f64 = 1.5;
/// Differences below this are the machine's noise, not imin's load.
const NOISE: Duration = Duration::from_millis(20);
/// The weight of a new estimate.
const SMOOTHING: f64 = 0.2;
/// The weight of one call in the long-term average (600 calls).
const LONG_TERM: f64 = 2.0 / 601.0;
/// What an overload answer leaves of the limit.
const BACKOFF: f64 = 0.9;

/// The limit on calls at a time.
#[derive(Debug)]
pub struct Limit {
    most: f64,
    now: f64,
    usual: Option<f64>,
    adapts: bool,
}

impl Limit {
    /// A limit between 1 and `most`, starting at `most`; fixed there unless it `adapts`.
    pub fn new(most: usize, adapts: bool) -> Self {
        let most = f64::from(u32::try_from(most.max(1)).unwrap_or(u32::MAX));
        Self { most, now: most, usual: None, adapts }
    }

    /// The limit now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a u32")]
    pub fn get(&self) -> usize {
        self.now as usize
    }

    /// A call was answered after `latency` while `under_way` calls were out.
    pub fn answered(&mut self, latency: Duration, under_way: usize) {
        if !self.adapts {
            return;
        }
        let recent = latency.as_secs_f64();
        let usual = match self.usual {
            None => recent,
            // Coming down from an overload, forget it faster than one call at a time.
            Some(usual) if usual > recent * 2.0 => usual * 0.95,
            Some(usual) => usual + (recent - usual) * LONG_TERM,
        };
        self.usual = Some(usual);
        // A limit that is not used says nothing about a higher one.
        if under_way * 2 < self.get() {
            return;
        }
        let slower = recent > usual * TOLERANCE && recent - usual > NOISE.as_secs_f64();
        let gradient = if slower { (usual * TOLERANCE / recent).max(0.5) } else { 1.0 };
        let target = self.now * gradient + self.now.sqrt();
        self.set(self.now + (target - self.now) * SMOOTHING);
    }

    /// imin said that it is overloaded, or did not answer.
    pub fn overloaded(&mut self) {
        if self.adapts {
            self.set(self.now * BACKOFF);
        }
    }

    fn set(&mut self, limit: f64) {
        self.now = limit.clamp(1.0, self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(50);

    fn settled() -> Limit {
        let mut limit = Limit::new(256, true);
        (0..1000).for_each(|_| limit.answered(USUAL, 256));
        limit
    }

    #[test]
    fn steady_latency_leaves_the_limit_at_its_most() {
        assert_eq!(settled().get(), 256);
    }

    #[test]
    fn growing_latency_shrinks_it_and_recovery_brings_it_back() {
        let mut limit = settled();
        (0..200).for_each(|_| limit.answered(USUAL * 10, 256));
        let shrunk = limit.get();
        assert!(shrunk < 128, "{shrunk}");
        (0..2000).for_each(|_| limit.answered(USUAL, 256));
        assert_eq!(limit.get(), 256);
    }

    #[test]
    fn overload_answers_shrink_it_never_below_one() {
        let mut limit = Limit::new(256, true);
        (0..10).for_each(|_| limit.overloaded());
        assert!(limit.get() < 100, "{}", limit.get());
        (0..1000).for_each(|_| limit.overloaded());
        assert_eq!(limit.get(), 1);
    }

    #[test]
    fn noise_of_a_fast_imin_is_not_load() {
        let mut limit = Limit::new(64, true);
        for n in 0..1000u64 {
            limit.answered(Duration::from_micros(200 + (n % 7) * 2000), 64);
        }
        assert_eq!(limit.get(), 64);
    }

    /// A limit of `now` out of 400 that knows 100 ms for usual, after one more answer.
    fn step(now: f64, latency: u64, under_way: usize) -> f64 {
        let mut limit = Limit { most: 400.0, now, usual: Some(0.1), adapts: true };
        limit.answered(Duration::from_millis(latency), under_way);
        limit.now
    }

    fn near(now: f64, expected: f64) -> bool {
        (now - expected).abs() < 0.1
    }

    #[test]
    fn it_grows_by_the_square_root_of_itself_and_shrinks_by_the_ratio_smoothed() {
        assert!(near(step(100.0, 100, 100), 102.0), "100 + 0.2 · √100");
        assert!(near(step(100.0, 145, 100), 102.0), "slower within the tolerance");
        // Usual is 100.33 ms by then: the ratio is 1.5 · 100.33 / 200.
        assert!(near(step(100.0, 200, 100), 97.05), "{}", step(100.0, 200, 100));
        assert!(near(step(100.0, 10_000, 100), 92.0), "never by more than half: 100 + 0.2 · (50 + 10 - 100)");
    }

    #[test]
    fn it_grows_only_where_at_least_half_of_it_is_used() {
        assert!(near(step(100.0, 100, 50), 102.0));
        assert!(near(step(100.0, 100, 49), 100.0));
    }

    #[test]
    fn a_small_difference_is_noise_however_large_its_share() {
        let fast = |millis| {
            let mut limit = Limit { most: 400.0, now: 100.0, usual: Some(0.001), adapts: true };
            limit.answered(Duration::from_millis(millis), 100);
            limit.now
        };
        assert!(fast(20) > 100.0);
        assert!(fast(25) < 100.0);
    }

    #[test]
    fn what_is_usual_follows_slowly_up_and_faster_down() {
        let usual = |latency| {
            let mut limit = Limit { most: 400.0, now: 100.0, usual: Some(1.0), adapts: true };
            limit.answered(Duration::from_millis(latency), 0);
            limit.usual.expect("it knows")
        };
        assert!((usual(4005) - 1.01).abs() < 1e-6, "{}", usual(4005));
        assert!((usual(490) - 0.95).abs() < 1e-9, "{}", usual(490));
        assert!((usual(601) - (1.0 - 0.399 * LONG_TERM)).abs() < 1e-9, "not even twice as fast");
    }

    #[test]
    fn the_smallest_limit_is_one() {
        let mut limit = Limit::new(0, true);
        assert_eq!(limit.get(), 1);
        limit.overloaded();
        assert_eq!(limit.get(), 1);
    }

    #[test]
    fn switched_off_it_stays() {
        let mut limit = Limit::new(32, false);
        limit.overloaded();
        limit.answered(USUAL * 100, 32);
        assert_eq!(limit.get(), 32);
    }
}
