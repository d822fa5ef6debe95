//! Dead letters in an operator's hands: what they say, which are meant, what may be done with them.
//!
//! Owns reading, selecting, planning and the order of the steps by which a letter leaves its queue.
//! The words on a terminal are `cli`'s, the publications `letters`', the queue itself is behind
//! [`shelf`]'s ports.

pub mod audit;
pub mod edit;
pub mod export;
pub mod group;
pub mod letter;
pub mod mask;
pub mod plan;
pub mod run;
pub mod select;
pub mod shelf;

#[cfg(test)]
pub(crate) mod samples;
