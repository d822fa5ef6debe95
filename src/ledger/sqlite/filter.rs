//! Which keys a closed generation may have, in memory: a Bloom filter in blocks of one cache line.
//!
//! A key is a hash already, so that its own bits say which block and which bits of it.

use crate::event::EventKey;

/// Bits for each key: of the keys that are not there, about one in 1,000 seems to be.
const BITS_PER_KEY: usize = 16;
/// Bits of a block: its index takes 9 bits of the key, of which 63 remain in 7 indices.
const BLOCK: usize = 512;
const PROBES: u32 = 7;

/// What a generation may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Vec<[u64; BLOCK / 64]>);

impl Filter {
    /// An empty one for so many keys.
    pub(super) fn with_capacity(keys: usize) -> Self {
        Self(vec![[0; BLOCK / 64]; (keys * BITS_PER_KEY).div_ceil(BLOCK).max(1)])
    }

    pub(super) fn add(&mut self, key: EventKey) {
        let (block, bits) = self.place(key);
        for (word, mask) in words(bits) {
            self.0[block][word] |= mask;
        }
    }

    /// False: certainly not.
    pub(super) fn may_have(&self, key: EventKey) -> bool {
        let (block, bits) = self.place(key);
        words(bits).all(|(word, mask)| self.0[block][word] & mask != 0)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// None where the bytes are no filter's.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<_> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (blocks, half) = words.as_chunks();
        (rest.is_empty() && half.is_empty() && !blocks.is_empty()).then(|| Self(blocks.to_vec()))
    }

    fn place(&self, key: EventKey) -> (usize, u64) {
        let (block, bits) = key.0.as_u64_pair();
        // Less than the number of blocks, which is a usize.
        let block = usize::try_from(block % self.0.len() as u64).unwrap_or(0);
        // A UUID's second half begins with two bits that are always the same.
        (block, bits.rotate_left(2))
    }
}

/// The words of a block, each with the bit of it that `bits` names.
fn words(bits: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..PROBES).map(move |probe| {
        let bit = bits >> (probe * 9);
        (((bit >> 6) & 7) as usize, 1 << (bit & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn key(n: u32) -> EventKey {
        EventKey(Uuid::new_v5(&Uuid::NAMESPACE_OID, &n.to_le_bytes()))
    }

    fn filled(keys: u32) -> Filter {
        let mut filter = Filter::with_capacity(keys as usize);
        (0..keys).for_each(|n| filter.add(key(n)));
        filter
    }

    #[test]
    fn has_what_was_added_and_little_else() {
        let filter = filled(20_000);
        assert!((0..20_000).all(|n| filter.may_have(key(n))));
        let seeming = (20_000..40_000).filter(|&n| filter.may_have(key(n))).count();
        assert!(seeming < 60, "{seeming} of 20,000");
    }

    #[test]
    fn survives_its_bytes() {
        for keys in [0, 1, 500] {
            let filter = filled(keys);
            assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
        }
        for damaged in [0, 1, 8, 65] {
            assert_eq!(Filter::from_bytes(&vec![1; damaged]), None);
        }
    }
}
