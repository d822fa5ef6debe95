//! The ledger in memory, `memory:`: the same rules without durability, for tests and benchmarks.
//!
//! Owns its store, which may outlive an instance so that a test can let one die.

use super::{
    Begun, Finish, Intent, Ledger, LedgerError, Recorded,
    claims::Claims,
    row::{Change, Op, Row, SWEPT_PER_BEGIN, Scene, horizon},
};
use crate::{clock, event::EventKey};
use futures_util::future::{self, BoxFuture};
use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// The rows, and the instances that live.
#[derive(Debug, Default)]
pub struct Store(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<EventKey, Row>,
    living: HashSet<Uuid>,
    swept: Option<EventKey>,
}

/// One instance's view of a store. It lives until it is dropped or closed.
#[derive(Debug)]
pub struct MemoryLedger {
    store: Arc<Store>,
    claims: Claims,
    instance: Uuid,
    retention: Duration,
}

impl MemoryLedger {
    /// A living instance on `store`; settled rows are kept for `retention`.
    pub fn new(store: Arc<Store>, instance: Uuid, retention: Duration) -> Self {
        store.inner().living.insert(instance);
        Self { store, claims: Claims::default(), instance, retention }
    }

    fn apply(&self, op: &Op) -> Result<Option<Begun>, LedgerError> {
        let mut store = self.store.inner();
        let Inner { rows, living, .. } = &mut *store;
        if !living.contains(&self.instance) {
            return Err(LedgerError::gone());
        }
        let key = op.key();
        let at = clock::now().as_millisecond();
        let living = |owner| living.contains(&owner);
        let (begun, change) =
            op.apply(rows.get(&key), &Scene { instance: self.instance, at, living: &living });
        match change {
            Change::Keep => {}
            Change::Put(row) => drop(rows.insert(key, row)),
            Change::Delete => drop(rows.remove(&key)),
        }
        if op.is_begin() {
            store.sweep(horizon(at, self.retention));
        }
        Ok(begun)
    }

    fn begin_now(&self, intent: Intent) -> Result<Begun, LedgerError> {
        let Some(claim) = self.claims.take(intent.key) else { return Ok(Begun::Held) };
        let begun = self.apply(&Op::Begin(intent))?.ok_or_else(LedgerError::gone)?;
        if let Begun::Go { .. } = begun {
            claim.keep();
        }
        Ok(begun)
    }

    /// A begin whose answer gets lost on the way back: on record, and the caller hears of an error.
    #[cfg(test)]
    pub(crate) fn begin_unheard(&self, intent: Intent) -> LedgerError {
        // The claim goes with the answer.
        let _claim = self.claims.take(intent.key).map(|_claim| self.apply(&Op::Begin(intent)));
        LedgerError::unwritten("the answer got lost")
    }

    /// A finish whose answer gets lost: on record, and the key stays taken until it is done again.
    #[cfg(test)]
    pub(crate) fn finish_unheard(&self, key: EventKey, how: Finish) -> LedgerError {
        let _ = self.apply(&Op::Finish(key, how));
        LedgerError::unwritten("the answer got lost")
    }
}

impl Ledger for MemoryLedger {
    fn begin(&self, intent: Intent) -> BoxFuture<'_, Result<Begun, LedgerError>> {
        Box::pin(async move { self.begin_now(intent) })
    }

    fn finish(&self, key: EventKey, how: Finish) -> BoxFuture<'_, Result<Option<Recorded>, LedgerError>> {
        Box::pin(async move {
            let standing = self.apply(&Op::Finish(key, how))?;
            self.claims.release(key);
            Ok(standing.and_then(Begun::recorded))
        })
    }

    fn published(&self, key: EventKey) {
        // Nobody waits to hear that a closed ledger does not take it.
        let _ = self.apply(&Op::Published(key));
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        let living = self.store.inner().living.contains(&self.instance);
        Box::pin(future::ready(if living { Ok(()) } else { Err(LedgerError::gone()) }))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.store.inner().living.remove(&self.instance);
        Box::pin(future::ready(Ok(())))
    }
}

impl Drop for MemoryLedger {
    fn drop(&mut self) {
        self.store.inner().living.remove(&self.instance);
    }
}

impl Store {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Looks at the next few rows and removes those too old to keep.
    fn sweep(&mut self, before: i64) {
        for _ in 0..SWEPT_PER_BEGIN {
            let from = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
            let Some((&key, row)) = self.rows.range((from, Bound::Unbounded)).next() else {
                self.swept = None;
                return;
            };
            self.swept = Some(key);
            if row.outdated(before) {
                self.rows.remove(&key);
            }
        }
    }
}
