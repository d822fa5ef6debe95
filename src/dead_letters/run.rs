//! Carrying a plan out: publish, confirmed, then take off; a batch first, where that is asked for.
//!
//! Owns the order of the steps. A crash between a confirm and the taking off leaves a letter that was
//! replayed: it may be replayed twice, which the ledger makes harmless, and it is never lost.

use super::shelf::{Held, Shelf, ShelfError, Watch};
use crate::{
    broker::{Publication, PublishError, Publisher},
    letters::replay::Ended,
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, HashSet},
    future::pending,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many publications wait for their confirm at the same time.
const UNDER_WAY: usize = 64;

/// What becomes of one letter.
pub struct Send {
    /// The key by which the worker will tell of it.
    pub key: Uuid,
    /// What is published for it.
    pub publication: Publication,
}

/// How fast, and with how much care.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// At most so many a second.
    pub rate: Option<f64>,
    /// Some first.
    pub canary: Option<Canary>,
    /// How long to wait at the end for the outcome of all; without it, not at all.
    pub wait: Option<Duration>,
}

/// Some that go first; the others only once all of these have ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    /// So many.
    pub count: u64,
    /// How long their outcome may take after the last of them was confirmed.
    pub wait: Duration,
}

/// Why a run ended before all was done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Stop {
    /// Somebody said so.
    #[error("stopped")]
    Interrupted,
    /// One of the first ended as a dead letter again.
    #[error("one of the first ones failed again, so that the others are left where they are")]
    CanaryFailed,
    /// The outcome of the first ones was not to be learnt in time.
    #[error("no word came in time of how the first ones ended, so that the others are left where they are")]
    CanarySilent,
    /// A publication was not confirmed.
    #[error("a message was not confirmed, so that its letter stays: {0}")]
    Unconfirmed(PublishError),
    /// The queue.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// A file could not be written.
    #[error("the export cannot be written, so that the letters stay: {0}")]
    Export(String),
}

/// How far it got.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Published and confirmed, or written; and taken off.
    pub done: u64,
    /// How those that were watched have ended so far, by the worker's label.
    pub outcomes: BTreeMap<String, u64>,
    /// Why no more was done.
    pub stop: Option<Stop>,
}

impl Tally {
    /// How many have ended as dead letters again.
    pub fn failed_again(&self) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| !is_good(outcome)).map(|(_, count)| count).sum()
    }

    /// How many have ended with an account.
    pub fn created(&self) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| is_good(outcome)).map(|(_, count)| count).sum()
    }
}

/// Whether an outcome means that the customer has an account.
fn is_good(outcome: &str) -> bool {
    matches!(outcome, "created" | "duplicate")
}

/// The tag of a letter, and what became of its publication.
type Confirmed = (u64, Uuid, Result<(), PublishError>);

/// A run.
pub struct Run<'a> {
    /// Where the letters are.
    pub look: &'a mut dyn Shelf,
    /// Where they go.
    pub publisher: &'a dyn Publisher,
    /// Who tells how they end.
    pub watch: Option<&'a mut dyn Watch>,
    /// How fast.
    pub pace: Pace,
    /// Take no more.
    pub stop: CancellationToken,
    /// What is to be published for a letter; none leaves it.
    pub choose: &'a mut (dyn FnMut(&Held) -> Option<Send> + std::marker::Send),
    /// Who is told how far it got.
    pub progress: &'a (dyn Fn(&Tally) + Sync),
}

/// A run on its way.
struct State<'a> {
    publisher: &'a dyn Publisher,
    pace: Pace,
    under_way: FuturesUnordered<BoxFuture<'a, Confirmed>>,
    /// Published, and of an end not known yet.
    awaited: HashSet<Uuid>,
    published: u64,
    /// When the next may be published.
    next_at: Instant,
    /// Until when an outcome is waited for.
    patience: Option<Instant>,
    exhausted: bool,
    /// It has listened for long enough.
    deaf: bool,
    tally: Tally,
}

impl Run<'_> {
    /// Goes through the letters. What is under way when it is stopped is waited for.
    pub async fn run(self) -> Tally {
        let Self { look, publisher, mut watch, pace, stop, choose, progress } = self;
        let mut state = State::new(publisher, pace, watch.is_some());
        while !state.over() {
            let (goes_on, waits) = (state.goes_on() && !state.deaf, state.waits());
            let has_room = state.has_room();
            let (deadline, next_at) = (state.deadline(), state.next_at);
            tokio::select! {
                biased;
                Some(confirmed) = state.under_way.next() => state.settle(look, confirmed).await,
                ended = next_word(&mut watch) => state.hear(&ended),
                () = stop.cancelled(), if goes_on => state.interrupt(),
                () = sleep_until(deadline), if waits => state.lose_patience(),
                next = next_letter(look, next_at), if has_room => match next {
                    Ok(Some(held)) => if let Some(send) = choose(&held) {
                        state.send(held.tag, send);
                    },
                    Ok(None) => state.exhausted = true,
                    Err(error) => state.end(error.into()),
                },
            }
            progress(&state.tally);
        }
        state.tally
    }
}

async fn next_letter(look: &mut dyn Shelf, at: Instant) -> Result<Option<Held>, ShelfError> {
    sleep_until(at).await;
    look.next().await
}

async fn next_word(watch: &mut Option<&mut dyn Watch>) -> Ended {
    match watch {
        Some(watch) => watch.next().await,
        None => pending().await,
    }
}

impl<'a> State<'a> {
    fn new(publisher: &'a dyn Publisher, pace: Pace, watched: bool) -> Self {
        // Without a watch there is no word to wait for.
        let pace = if watched { pace } else { Pace { rate: pace.rate, ..Pace::default() } };
        Self {
            publisher,
            pace,
            under_way: FuturesUnordered::new(),
            awaited: HashSet::new(),
            published: 0,
            next_at: Instant::now(),
            patience: None,
            exhausted: false,
            deaf: false,
            tally: Tally::default(),
        }
    }

    fn send(&mut self, tag: u64, send: Send) {
        let Send { key, publication } = send;
        self.published += 1;
        self.awaited.insert(key);
        if let Some(rate) = self.pace.rate {
            let pause = Duration::from_secs_f64(1.0 / rate);
            // After a pause of the queue's own, no burst makes up for it.
            self.next_at = self.next_at.max(Instant::now()) + pause;
        }
        let confirmed = self.publisher.publish(publication.into());
        self.under_way.push(Box::pin(async move { (tag, key, confirmed.await) }));
    }

    async fn settle(&mut self, look: &mut dyn Shelf, (tag, key, result): Confirmed) {
        let result = match result {
            Ok(()) => look.take_off(tag).await.map_err(Stop::from),
            Err(error) => {
                self.awaited.remove(&key);
                Err(Stop::Unconfirmed(error))
            }
        };
        match result {
            Ok(()) => self.tally.done += 1,
            Err(why) => self.end(why),
        }
        let wait = if self.in_canary() { self.pace.canary.map(|canary| canary.wait) } else { self.pace.wait };
        self.patience = wait.map(|wait| Instant::now() + wait);
    }

    fn hear(&mut self, ended: &Ended) {
        if !self.awaited.remove(&ended.key) {
            return;
        }
        *self.tally.outcomes.entry(ended.outcome.clone()).or_default() += 1;
        if self.in_canary() && !is_good(&ended.outcome) {
            self.end(Stop::CanaryFailed);
        }
    }

    /// Takes no more; where there is no more, there is only no more to be heard.
    fn interrupt(&mut self) {
        if self.exhausted {
            self.deaf = true;
        } else {
            self.end(Stop::Interrupted);
        }
    }

    fn end(&mut self, why: Stop) {
        self.tally.stop.get_or_insert(why);
    }

    fn goes_on(&self) -> bool {
        self.tally.stop.is_none()
    }

    /// Whether none but the first ones has been published.
    fn in_canary(&self) -> bool {
        self.pace.canary.is_some_and(|canary| self.published <= canary.count)
    }

    /// Whether the first ones are out, and their end is not known yet.
    fn canary_is_out(&self) -> bool {
        self.pace.canary.is_some_and(|canary| self.published == canary.count && !self.awaited.is_empty())
    }

    fn has_room(&self) -> bool {
        self.goes_on() && !self.exhausted && self.under_way.len() < UNDER_WAY && !self.canary_is_out()
    }

    /// Whether nothing is left to do but to hear how it ended.
    fn only_listens(&self) -> bool {
        let asked = !self.deaf && (self.pace.wait.is_some() || self.in_canary());
        self.goes_on() && self.exhausted && asked && !self.awaited.is_empty()
    }

    fn waits(&self) -> bool {
        self.under_way.is_empty() && self.patience.is_some() && (self.only_listens() || self.canary_is_out())
    }

    fn deadline(&self) -> Instant {
        self.patience.unwrap_or(self.next_at)
    }

    fn lose_patience(&mut self) {
        if !self.exhausted && self.canary_is_out() {
            self.end(Stop::CanarySilent);
        }
        self.deaf = true;
    }

    fn over(&self) -> bool {
        self.under_way.is_empty() && !self.only_listens() && (self.exhausted || !self.goes_on())
    }
}

/// Takes letters off for good, each batch after `keep` has put it where it lasts.
pub async fn discard(
    look: &mut dyn Shelf,
    stop: &CancellationToken,
    choose: &mut (dyn FnMut(&Held) -> bool + std::marker::Send),
    keep: &mut (dyn FnMut(&[Held]) -> std::io::Result<()> + std::marker::Send),
    progress: &(dyn Fn(&Tally) + Sync),
) -> Tally {
    let mut tally = Tally::default();
    let mut batch = Vec::new();
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => { tally.stop = Some(Stop::Interrupted); None }
            next = look.next() => next.unwrap_or_else(|error| { tally.stop = Some(error.into()); None }),
        };
        let last = next.is_none();
        batch.extend(next.filter(|held| choose(held)));
        if batch.len() >= UNDER_WAY || last {
            if let Err(why) = drop_batch(look, &mut batch, keep, &mut tally).await {
                tally.stop = Some(why);
                return tally;
            }
            progress(&tally);
        }
        if last {
            return tally;
        }
    }
}

async fn drop_batch(
    look: &mut dyn Shelf,
    batch: &mut Vec<Held>,
    keep: &mut (dyn FnMut(&[Held]) -> std::io::Result<()> + std::marker::Send),
    tally: &mut Tally,
) -> Result<(), Stop> {
    keep(batch).map_err(|error| Stop::Export(error.to_string()))?;
    for held in batch.drain(..) {
        look.take_off(held.tag).await?;
        tally.done += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
