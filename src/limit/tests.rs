//! The limit, in a closed loop with an imin of so many places.

use super::*;
use std::{cmp::Reverse, collections::BinaryHeap};

/// A closed loop: as many calls as the limit allows, at an imin with so many places. Microseconds.
struct Imin {
    now: u64,
    /// When each place is free.
    places: BinaryHeap<Reverse<u64>>,
    /// When each call ends, and when it began.
    calls: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Imin {
    fn with(places: usize) -> Self {
        let places = std::iter::repeat_n(Reverse(0), places).collect();
        Self { now: 0, places, calls: BinaryHeap::new() }
    }

    /// So many answers; the limit at each.
    fn answers(&mut self, limit: &mut Limit, count: usize, takes: impl Fn(u64) -> u64) -> Vec<usize> {
        let mut limits = Vec::new();
        while limits.len() < count {
            while self.calls.len() < limit.get() {
                let Reverse(free) = self.places.pop().expect("a place");
                let end = free.max(self.now) + takes(self.now + limits.len() as u64);
                self.places.push(Reverse(end));
                self.calls.push(Reverse((end, self.now)));
            }
            let under_way = self.calls.len();
            let Reverse((end, began)) = self.calls.pop().expect("a call");
            self.now = end;
            limit.answered(Duration::from_micros(end - began), under_way);
            limits.push(limit.get());
        }
        limits
    }
}

#[test]
fn an_imin_with_room_gets_all_that_is_allowed() {
    let mut limit = Limit::new(256, true);
    // From 20 to 120 ms, at random.
    let uneven = |n: u64| 20_000 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100_000;
    let limits = Imin::with(1000).answers(&mut limit, 60_000, uneven);
    assert_eq!(limits.iter().min(), Some(&256));
}

#[test]
fn noise_of_a_fast_imin_is_not_load() {
    let mut limit = Limit::new(64, true);
    let limits = Imin::with(1000).answers(&mut limit, 60_000, |n| 200 + n * 7919 % 12_000);
    assert_eq!(limits.iter().min(), Some(&64));
}

#[test]
fn an_imin_with_eight_places_gets_about_sixteen_calls_however_long_it_lasts() {
    let mut limit = Limit::new(64, true);
    let limits = Imin::with(8).answers(&mut limit, 20_000, |_| 50_000);
    let settled = &limits[1000..];
    let mean = settled.iter().sum::<usize>() / settled.len();
    assert!((12..=20).contains(&mean), "{mean}");
    let idle = settled.iter().filter(|limit| **limit < 8).count();
    assert!(idle < settled.len() / 20, "below its eight places for {idle} of {} answers", settled.len());
}

#[test]
fn an_imin_that_becomes_slower_for_good_gets_all_that_is_allowed_again() {
    let mut limit = Limit::new(256, true);
    let mut imin = Imin::with(1000);
    imin.answers(&mut limit, 5000, |_| 50_000);
    let limits = imin.answers(&mut limit, 30_000, |_| 200_000);
    assert!(limits.iter().min() < Some(&128));
    assert!(limits[20_000..].iter().all(|limit| *limit == 256), "{:?}", &limits[20_000..]);
}

#[test]
fn overload_answers_shrink_it_by_their_share_and_never_below_one() {
    let mut limit = Limit::new(256, true);
    (0..256).for_each(|n| match n % 2 {
        0 => limit.overloaded(256),
        _ => limit.answered(Duration::from_millis(50), 256),
    });
    assert_eq!(limit.get(), 192);
    (0..5000).for_each(|_| limit.overloaded(1));
    assert_eq!(limit.get(), 1);
    Imin::with(1000).answers(&mut limit, 5000, |_| 50_000);
    assert_eq!(limit.get(), 256);
}

#[test]
fn the_smallest_limit_is_one() {
    let mut limit = Limit::new(0, true);
    assert_eq!(limit.get(), 1);
    (0..100).for_each(|_| limit.overloaded(1));
    assert_eq!(limit.get(), 1);
}

#[test]
fn switched_off_it_stays() {
    let mut limit = Limit::new(32, false);
    (0..1000).for_each(|_| limit.overloaded(32));
    Imin::with(2).answers(&mut limit, 1000, |_| 50_000);
    assert_eq!(limit.get(), 32);
}
