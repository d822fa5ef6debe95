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

    #[test]
    fn switched_off_it_stays() {
        let mut limit = Limit::new(32, false);
        limit.overloaded();
        limit.answered(USUAL * 100, 32);
        assert_eq!(limit.get(), 32);
    }
}
