//! Which acknowledgements to send when: pure bookkeeping of one channel's delivery tags.
//!
//! Tags are counted from 1 without a gap. Settled tags without an unsettled one before them go out as
//! one `multiple` ack, which costs a quorum queue as much as the ack of one message, and has it read and
//! send the next ones together. So a settled tag behind a slow call waits for that, as long as there is
//! room for more deliveries; then it goes out alone, so that one slow call cannot hold back the others' credit.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// How many settled tags make a batch at the most.
const BATCH: usize = 64;
/// The least room for settled tags, where few are in hand: what is fetched ahead waits for these, and no
/// other worker can have it.
const LEAST: usize = 16;
/// How long a settled tag waits for its batch.
pub const LINGER: Duration = Duration::from_millis(5);
/// How long a settled tag waits behind an unsettled one.
const HOLD: Duration = Duration::from_millis(200);

/// How many deliveries may wait for their acknowledgement so that so many can be in hand meanwhile.
pub fn prefetch(in_hand: usize) -> usize {
    in_hand + room(in_hand)
}

/// How many settled tags may wait.
fn room(in_hand: usize) -> usize {
    in_hand.max(LEAST)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Open,
    Settled(Instant),
    Gone,
}

/// What to write to the channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// Everything outstanding up to this tag.
    pub up_to: Option<u64>,
    /// These alone.
    pub alone: Vec<u64>,
}

/// The tags of one channel.
#[derive(Debug)]
pub struct Acks {
    /// The tag at the front of `tags`.
    base: u64,
    tags: VecDeque<Tag>,
    /// How many tags at the front are not open.
    front: usize,
    /// How many tags of the front are settled.
    ready: usize,
    /// How many tags behind the front are settled.
    behind: usize,
    /// How many of these may wait.
    room: usize,
}

impl Acks {
    /// Those of a channel with `prefetch` for so many in hand.
    pub fn new(in_hand: usize) -> Self {
        Self { base: 1, tags: VecDeque::new(), front: 0, ready: 0, behind: 0, room: room(in_hand) }
    }

    /// Notes that a delivery may be acknowledged.
    pub fn settle(&mut self, tag: u64, now: Instant) {
        if self.mark(tag, Tag::Settled(now)) {
            self.behind += 1;
            self.advance();
        }
    }

    /// Notes that a delivery was given back by a frame of its own.
    pub fn gone(&mut self, tag: u64) {
        if self.mark(tag, Tag::Gone) {
            self.advance();
        }
    }

    /// How many settled tags wait to be written.
    pub fn waiting(&self) -> usize {
        self.ready + self.behind
    }

    /// Whether there is something to write at once.
    pub fn due(&self) -> bool {
        self.ready >= self.half().min(BATCH) || self.crowded()
    }

    /// What to write now. `all` leaves nothing waiting.
    pub fn flush(&mut self, now: Instant, all: bool) -> Flush {
        let up_to = self.take_front();
        let mut alone = Vec::new();
        if self.behind > 0 {
            let all = all || self.crowded();
            for (offset, tag) in (0u64..).zip(self.tags.iter_mut()) {
                if let Tag::Settled(since) = *tag
                    && (all || now.duration_since(since) >= HOLD)
                {
                    *tag = Tag::Gone;
                    alone.push(self.base + offset);
                }
            }
            self.behind -= alone.len();
        }
        Flush { up_to, alone }
    }

    /// Whether those behind an unsettled tag take the room of further deliveries.
    fn crowded(&self) -> bool {
        self.behind >= self.half()
    }

    /// How much of the room may be taken: what the rest has room for comes from the broker meanwhile.
    fn half(&self) -> usize {
        self.room.div_ceil(2)
    }

    /// Moves the end of the front to the next open tag.
    fn advance(&mut self) {
        while let Some(tag) = self.tags.get(self.front) {
            match tag {
                Tag::Open => return,
                Tag::Settled(_) => {
                    self.behind -= 1;
                    self.ready += 1;
                }
                Tag::Gone => {}
            }
            self.front += 1;
        }
    }

    /// Takes the front away: its last settled tag.
    fn take_front(&mut self) -> Option<u64> {
        let base = self.base;
        self.base += self.front as u64;
        self.ready = 0;
        let front = self.tags.drain(..std::mem::take(&mut self.front));
        (base..).zip(front).filter(|(_, tag)| *tag != Tag::Gone).last().map(|(tag, _)| tag)
    }

    fn mark(&mut self, tag: u64, state: Tag) -> bool {
        let Some(offset) = tag.checked_sub(self.base).and_then(|offset| usize::try_from(offset).ok()) else {
            return false;
        };
        if offset >= self.tags.len() {
            self.tags.resize(offset + 1, Tag::Open);
        }
        let open = self.tags[offset] == Tag::Open;
        if open {
            self.tags[offset] = state;
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_contiguous_run_is_one_frame() {
        let (mut acks, now) = (Acks::new(1), Instant::now());
        for tag in [2, 1, 3] {
            acks.settle(tag, now);
        }
        assert_eq!(acks.flush(now, false), Flush { up_to: Some(3), alone: vec![] });
        assert_eq!(acks.waiting(), 0);
    }

    #[test]
    fn a_batch_does_not_wait() {
        let (mut acks, now) = (Acks::new(1000), Instant::now());
        for tag in 1..BATCH as u64 {
            acks.settle(tag, now);
        }
        assert!(!acks.due());
        acks.gone(64);
        acks.settle(65, now);
        assert!(acks.due());
        assert_eq!(acks.flush(now, false), Flush { up_to: Some(65), alone: vec![] });
    }

    #[test]
    fn few_at_a_time_fetch_little_ahead() {
        assert_eq!((prefetch(1), prefetch(320)), (17, 640));
        let (mut acks, now) = (Acks::new(1), Instant::now());
        for tag in 1..=7 {
            acks.settle(tag, now);
            assert!(!acks.due());
        }
        acks.settle(8, now);
        assert!(acks.due());
    }

    #[test]
    fn a_slow_call_holds_the_others_back_for_a_moment_only() {
        let (mut acks, now) = (Acks::new(1), Instant::now());
        acks.settle(2, now);
        assert_eq!(acks.flush(now, false), Flush::default());
        assert_eq!(acks.flush(now + HOLD, false), Flush { up_to: None, alone: vec![2] });
        acks.settle(1, now);
        assert_eq!(acks.flush(now, false), Flush { up_to: Some(1), alone: vec![] });
    }

    #[test]
    fn a_crowd_behind_a_slow_call_is_not_held_back_at_all() {
        let (mut acks, now) = (Acks::new(100), Instant::now());
        for tag in 2..51 {
            acks.settle(tag, now);
        }
        assert_eq!((acks.due(), acks.flush(now, false)), (false, Flush::default()));
        acks.settle(51, now);
        assert!(acks.due());
        assert_eq!(acks.flush(now, false), Flush { up_to: None, alone: (2..=51).collect() });
        assert_eq!((acks.waiting(), acks.due()), (0, false));
    }

    #[test]
    fn a_tag_that_was_given_back_holds_nobody_back() {
        let (mut acks, now) = (Acks::new(1), Instant::now());
        acks.gone(1);
        acks.settle(2, now);
        assert_eq!(acks.flush(now, false), Flush { up_to: Some(2), alone: vec![] });
    }

    #[test]
    fn a_tag_that_was_written_is_not_written_again() {
        let (mut acks, now) = (Acks::new(1), Instant::now());
        acks.settle(1, now);
        acks.settle(1, now);
        assert_eq!(acks.waiting(), 1);
        acks.flush(now, false);
        acks.settle(1, now);
        assert_eq!((acks.waiting(), acks.flush(now, true)), (0, Flush::default()));
    }

    proptest! {
        /// Whatever the order and the flushes between: each settled tag is acknowledged once, no other
        /// is, and the tag of a `multiple` ack is itself outstanding (RabbitMQ closes the channel otherwise).
        #[test]
        fn every_settled_tag_is_acknowledged_exactly_once(
            order in Just((1u64..60).collect::<Vec<_>>()).prop_shuffle(),
            settled in 0usize..60,
            returned in proptest::collection::hash_set(1u64..60, 0..10),
            flush_every in 1usize..10,
        ) {
            let (mut acks, now) = (Acks::new(1), Instant::now());
            let mut outstanding: std::collections::BTreeSet<u64> = (1..60).collect();
            let mut done = std::collections::BTreeSet::new();
            for (step, tag) in order.into_iter().take(settled).enumerate() {
                if returned.contains(&tag) {
                    acks.gone(tag);
                    outstanding.remove(&tag);
                } else {
                    acks.settle(tag, now);
                    done.insert(tag);
                }
                let flush = if step % flush_every == 0 { acks.flush(now, false) } else { Flush::default() };
                apply(&flush, &mut outstanding, &done)?;
                prop_assert_eq!(acks.waiting(), done.intersection(&outstanding).count());
            }
            let last = acks.flush(now, true);
            apply(&last, &mut outstanding, &done)?;
            prop_assert!(done.iter().all(|tag| !outstanding.contains(tag)));
            prop_assert_eq!(acks.waiting(), 0);
        }
    }

    fn apply(
        flush: &Flush,
        outstanding: &mut std::collections::BTreeSet<u64>,
        done: &std::collections::BTreeSet<u64>,
    ) -> Result<(), TestCaseError> {
        if let Some(up_to) = flush.up_to {
            prop_assert!(outstanding.contains(&up_to));
            let covered: Vec<u64> = outstanding.range(..=up_to).copied().collect();
            for tag in covered {
                prop_assert!(done.contains(&tag));
                outstanding.remove(&tag);
            }
        }
        for tag in &flush.alone {
            prop_assert!(done.contains(tag));
            prop_assert!(outstanding.remove(tag));
        }
        Ok(())
    }
}
