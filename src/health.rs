//! Whether the worker can do its work, and if not, why and since when.
//!
//! Owns the causes. Whoever knows of one sets and clears it; `admin` serves them.

use crate::clock;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Why the worker may be unable to do its work: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It has not come up yet.
    Starting,
    /// It has been told to stop.
    Stopping,
    /// There is no broker, or something in it is missing.
    Broker,
    /// The ledger cannot be written.
    Ledger,
    /// imin fails so often that the breaker is open.
    Breaker,
    /// imin refuses the key or the URL.
    Misconfigured,
}

/// One cause in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The cause.
    pub cause: Cause,
    /// What is known of it; never a word of an event's.
    pub detail: String,
    /// Since when it has been in force.
    #[serde(serialize_with = "as_text")]
    pub since: Timestamp,
}

fn as_text<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

/// The causes in force, shared by all who know of one. Starts with `Starting`.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<BTreeMap<Cause, Reason>>>);

impl Default for Readiness {
    fn default() -> Self {
        let new = Self(Arc::default());
        new.set(Cause::Starting, "the worker has not come up yet");
        new
    }
}

impl Readiness {
    /// Puts a cause in force. One that is in force already keeps its time and gets the new detail.
    pub fn set(&self, cause: Cause, detail: impl Into<String>) {
        self.set_at(cause, detail.into(), clock::now());
    }

    /// Lifts a cause.
    pub fn clear(&self, cause: Cause) {
        self.lock().remove(&cause);
    }

    /// The causes in force; none means ready.
    pub fn reasons(&self) -> Vec<Reason> {
        self.lock().values().cloned().collect()
    }

    fn set_at(&self, cause: Cause, detail: String, now: Timestamp) {
        let mut causes = self.lock();
        let since = causes.get(&cause).map_or(now, |reason| reason.since);
        causes.insert(cause, Reason { cause, detail, since });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Cause, Reason>> {
        // Every change is one insert or remove, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Readiness, Timestamp};

    #[test]
    fn it_starts_unready_and_is_ready_when_no_cause_is_left() {
        let readiness = Readiness::default();
        assert_eq!(readiness.reasons().len(), 1);
        readiness.clone().clear(Cause::Starting);
        assert!(readiness.reasons().is_empty());
    }

    #[test]
    fn a_cause_keeps_its_time_until_it_is_cleared() {
        let readiness = Readiness::default();
        readiness.clear(Cause::Starting);
        let [first, second, third] = [1, 2, 3].map(|second| Timestamp::from_second(second).expect("time"));
        readiness.set_at(Cause::Broker, "refused".into(), first);
        readiness.set_at(Cause::Broker, "no answer".into(), second);
        let reason = readiness.reasons().remove(0);
        assert_eq!((reason.since, &*reason.detail), (first, "no answer"));
        readiness.clear(Cause::Broker);
        readiness.set_at(Cause::Broker, "refused".into(), third);
        assert_eq!(readiness.reasons()[0].since, third);
    }
}
