//! Which deliveries of a channel are still in hand: a bit for each, so that a hundred thousand letters
//! cost twelve kilobytes.

/// The tags of one channel, which count from 1.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    bits: Vec<u64>,
    delivered: u64,
    count: u64,
    /// The last tag of each consumer.
    ends: Vec<u64>,
}

impl Outstanding {
    /// Notes a delivery. Tags come one after the other.
    pub(super) fn deliver(&mut self, tag: u64) {
        self.delivered = tag;
        let (word, bit) = place(tag);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
        self.count += 1;
    }

    /// Notes that one was acknowledged.
    pub(super) fn settle(&mut self, tag: u64) {
        let (word, bit) = place(tag);
        if let Some(bits) = self.bits.get_mut(word).filter(|bits| **bits & bit != 0) {
            *bits &= !bit;
            self.count -= 1;
        }
    }

    /// Notes that the deliveries so far were one consumer's.
    pub(super) fn end_consumer(&mut self) {
        if self.ends.last() != Some(&self.delivered) {
            self.ends.push(self.delivered);
        }
    }

    /// How many are in hand.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The last tag in hand of each consumer, in the order of the consumers: giving all up to it back, one
    /// after the other, keeps the order of the queue.
    pub(super) fn lasts(&self) -> Vec<u64> {
        let mut from = 0;
        let mut lasts = Vec::new();
        for end in &self.ends {
            lasts.extend((from + 1..=*end).rev().find(|tag| self.has(*tag)));
            from = *end;
        }
        lasts
    }

    fn has(&self, tag: u64) -> bool {
        let (word, bit) = place(tag);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(tag: u64) -> (usize, u64) {
    let word = usize::try_from(tag / 64).unwrap_or(usize::MAX);
    (word, 1 << (tag % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_consumer_gives_its_own_back_and_one_with_nothing_left_gives_nothing() {
        let mut hand = Outstanding::default();
        for tag in 1..=9 {
            hand.deliver(tag);
            if tag % 3 == 0 {
                hand.end_consumer();
            }
        }
        for tag in [3, 4, 5, 6, 7] {
            hand.settle(tag);
        }
        assert_eq!((hand.lasts(), hand.count()), (vec![2, 9], 4));
    }

    proptest! {
        #[test]
        fn it_counts_as_a_set_does(settled in prop::collection::vec(1u64..300, 0..300), delivered in 0u64..300) {
            let mut hand = Outstanding::default();
            (1..=delivered).for_each(|tag| hand.deliver(tag));
            hand.end_consumer();
            let mut set: std::collections::BTreeSet<u64> = (1..=delivered).collect();
            for tag in settled {
                hand.settle(tag);
                set.remove(&tag);
            }
            prop_assert_eq!(hand.count(), set.len() as u64);
            prop_assert_eq!(hand.lasts(), set.last().copied().into_iter().collect::<Vec<_>>());
        }
    }
}
