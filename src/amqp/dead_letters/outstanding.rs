//! Which deliveries of a channel are still in hand: a bit for each, so that a hundred thousand letters
//! cost twelve kilobytes.

/// How many are given back together. RabbitMQ 3.10 returns the messages of one answer in the order of an
/// Erlang map, which is that of the queue up to 32 keys, and nobody's beyond.
const TOGETHER: u64 = 32;

/// The tags of one channel, which count from 1.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    bits: Vec<u64>,
    delivered: u64,
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
    }

    /// Notes that one was acknowledged.
    pub(super) fn settle(&mut self, tag: u64) {
        let (word, bit) = place(tag);
        if let Some(bits) = self.bits.get_mut(word) {
            *bits &= !bit;
        }
    }

    /// Notes that the deliveries so far were one consumer's.
    pub(super) fn end_consumer(&mut self) {
        if self.ends.last() != Some(&self.delivered) {
            self.ends.push(self.delivered);
        }
    }

    /// The tags up to which to give back, one after the other, so that the queue keeps its order, and how
    /// many letters each gives: never more than a few at once, and never those of two consumers.
    pub(super) fn portions(&self) -> Vec<(u64, u64)> {
        let (mut from, mut portions) = (0, Vec::new());
        for end in &self.ends {
            let mut last = None;
            let mut count = 0;
            for tag in (from + 1..=*end).filter(|tag| self.has(*tag)) {
                count += 1;
                last = Some((tag, count));
                if count == TOGETHER {
                    portions.extend(last.take());
                    count = 0;
                }
            }
            portions.extend(last);
            from = *end;
        }
        portions
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
        assert_eq!(hand.portions(), [(2, 2), (9, 2)]);
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
            let whole: u64 = hand.portions().iter().map(|(_, count)| count).sum();
            prop_assert_eq!(whole, set.len() as u64);
            let portions = hand.portions();
            prop_assert_eq!(portions.last().map(|(tag, _)| tag), set.last());
            let mut from = 0;
            for (to, count) in portions {
                let together = set.range(from + 1..=to).count() as u64;
                prop_assert_eq!(together, count);
                prop_assert!(set.contains(&to) && (1..=TOGETHER).contains(&together), "{} in {}", together, to);
                from = to;
            }
        }
    }
}
