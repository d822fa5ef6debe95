//! How many calls at a time imin takes well: the gradient limit of Netflix's concurrency-limits.
//!
//! The lowest latency seen is what imin takes without a load. Where even the quickest of a round of
//! calls is slower than that by more than a tolerance, calls queue somewhere, and the limit shrinks by
//! the ratio of the two; otherwise it grows by the square root of itself. A round is as many calls as
//! the limit allows, none of which went out before the limit last shrank. Overload answers shrink it
//! by half their share of a round.
//!
//! After <https://github.com/Netflix/concurrency-limits>, class `GradientLimit`. Its successor compares
//! with a long-term average instead; under a lasting overload that average comes to call the overload
//! usual (simulated: within 500 calls). Instead the lowest latency is measured anew now and then, at a
//! quarter of the limit, as `ProbeRTT` of BBR does (Cardwell and others, ACM Queue 14, 2016).

use std::time::Duration;

/// How much slower than unloaded is still well.
const TOLERANCE: f64 = 1.5;
/// Differences below this are the machine's noise, not imin's load.
const NOISE: f64 = 0.020;
/// A round has at least so many calls.
const ROUND: usize = 5;
/// So many calls, or so many rounds where that is more, lie between two measurements of the latency without load.
const MEASURE_CALLS: f64 = 1000.0;
const MEASURE_ROUNDS: f64 = 50.0;
/// At so few calls at a time, what imin takes is not the worker's doing.
const FEW: usize = 2;

/// The limit on calls at a time.
#[derive(Debug)]
pub struct Limit {
    most: f64,
    now: f64,
    adapts: bool,
    /// The latency without load, in seconds.
    unloaded: Option<f64>,
    /// Set while that is measured: the limit meanwhile.
    measuring: Option<f64>,
    round: Round,
    /// Answers still to come of calls that went out under a higher limit.
    stale: usize,
    /// Since the last measurement.
    period: Period,
}

/// What a round of calls says.
#[derive(Debug, Default)]
struct Round {
    calls: usize,
    failed: usize,
    quickest: Option<f64>,
    busiest: usize,
}

#[derive(Debug, Default)]
struct Period {
    calls: f64,
    quickest: Option<f64>,
    slowed: bool,
}

impl Limit {
    /// A limit between 1 and `most`, starting at `most`; fixed there unless it `adapts`.
    pub fn new(most: usize, adapts: bool) -> Self {
        let most = f64::from(u32::try_from(most.max(1)).unwrap_or(u32::MAX));
        Self {
            most,
            now: most,
            adapts,
            unloaded: None,
            measuring: None,
            round: Round::default(),
            stale: 0,
            period: Period::default(),
        }
    }

    /// The limit now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a u32")]
    pub fn get(&self) -> usize {
        self.measuring.unwrap_or(self.now).max(1.0) as usize
    }

    /// A call was answered after `latency` while `under_way` calls were out, this one included.
    pub fn answered(&mut self, latency: Duration, under_way: usize) {
        self.ended(Some(latency.as_secs_f64()), under_way);
    }

    /// imin said that it is overloaded, or did not answer.
    pub fn overloaded(&mut self, under_way: usize) {
        self.ended(None, under_way);
    }

    fn ended(&mut self, latency: Option<f64>, under_way: usize) {
        if !self.adapts {
            return;
        }
        if self.stale > 0 {
            self.stale -= 1;
            return;
        }
        self.round.calls += 1;
        self.round.busiest = self.round.busiest.max(under_way);
        match latency {
            Some(latency) => self.round.quickest = Some(lower(self.round.quickest, latency)),
            None => self.round.failed += 1,
        }
        if self.round.calls >= self.get().max(ROUND) {
            let (round, before) = (std::mem::take(&mut self.round), self.get());
            self.learn(&round);
            if self.get() < before {
                self.stale = under_way.saturating_sub(1);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
    fn learn(&mut self, round: &Round) {
        self.period.calls += round.calls as f64;
        if round.failed > 0 {
            self.set(self.now * (1.0 - round.failed as f64 / round.calls as f64 / 2.0));
        }
        let Some(quickest) = round.quickest else { return };
        if self.measuring.take().is_some() {
            self.unloaded = Some(quickest);
            self.period = Period::default();
            return;
        }
        let unloaded = lower(self.unloaded, quickest);
        let slowed = quickest > unloaded * TOLERANCE && quickest - unloaded > NOISE;
        self.unloaded = Some(if slowed && self.get() <= FEW { quickest } else { unloaded });
        self.period.slowed |= slowed;
        self.period.quickest = Some(lower(self.period.quickest, quickest));
        // A limit that is not used says nothing about a higher one.
        if round.failed == 0 && round.busiest * 2 >= self.get() {
            let gradient = if slowed { (unloaded * TOLERANCE / quickest).max(0.5) } else { 1.0 };
            self.set(self.now * gradient + self.now.sqrt());
        }
        if self.period.calls >= MEASURE_CALLS.max(MEASURE_ROUNDS * self.now) {
            self.measure();
        }
    }

    /// Finds out anew what imin takes without a load: it may have become slower for good.
    fn measure(&mut self) {
        let period = std::mem::take(&mut self.period);
        if period.slowed {
            self.measuring = Some(self.now / 4.0);
        } else {
            self.unloaded = period.quickest;
        }
    }

    fn set(&mut self, limit: f64) {
        self.now = limit.clamp(1.0, self.most);
    }
}

fn lower(one: Option<f64>, other: f64) -> f64 {
    one.map_or(other, |one| one.min(other))
}

#[cfg(test)]
mod tests;
