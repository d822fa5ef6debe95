//! The keys that this process has asked for and not finished: one call at a time for each.
//!
//! What keeps two deliveries of one event in one worker apart, and what tells an attempt whose
//! answer got lost (nobody called) from one that is under way. Other workers are the row's matter.

use crate::event::EventKey;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The keys that are taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Mutex<HashSet<EventKey>>>);

/// A key that is taken until this is dropped or, after `keep`, until it is `release`d.
#[derive(Debug)]
#[must_use]
pub(super) struct Claim {
    /// None once the key is to stay taken.
    claims: Option<Claims>,
    key: EventKey,
}

impl Claims {
    /// Takes a key, unless it is taken.
    pub(super) fn take(&self, key: EventKey) -> Option<Claim> {
        self.keys().insert(key).then(|| Claim { claims: Some(self.clone()), key })
    }

    /// Gives a key back whose claim was kept.
    pub(super) fn release(&self, key: EventKey) {
        self.keys().remove(&key);
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<EventKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Leaves the key taken: a call is made, and `release` comes with its end.
    pub(super) fn keep(mut self) {
        self.claims = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(claims) = &self.claims {
            claims.release(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_key_is_taken_once_until_its_claim_is_dropped() {
        let claims = Claims::default();
        let key = EventKey(Uuid::new_v4());
        let claim = claims.take(key).expect("free");
        assert!(claims.take(key).is_none());
        assert!(claims.take(EventKey(Uuid::new_v4())).is_some());
        drop(claim);
        assert!(claims.take(key).is_some());
    }

    #[test]
    fn a_claim_that_is_kept_stands_until_it_is_released() {
        let claims = Claims::default();
        let key = EventKey(Uuid::new_v4());
        claims.take(key).expect("free").keep();
        assert!(claims.take(key).is_none());
        claims.release(key);
        assert!(claims.take(key).is_some());
    }
}
