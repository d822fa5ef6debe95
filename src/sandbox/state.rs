//! What the sandbox knows: its accounts, the faults in force, and what it has seen.
//!
//! Owns which fault a call meets. One lock, held for microseconds; nothing waits inside it.

use super::{
    accounts::{Accounts, Listed, Tally},
    fault::{self, Effect, Fault},
};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What the sandbox has seen since it started or was last told to forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Calls of the create endpoint by how they ended: a status, `reset`, `close`, or `timeout`
    /// where the caller hung up first.
    pub calls: BTreeMap<String, u64>,
    /// Accounts made.
    pub accounts: u64,
    /// Accounts too many: more than one for the same `Idempotency-Key`.
    pub doubles: u64,
    /// Calls under way.
    pub in_flight: u32,
    /// The most calls that were under way at once.
    pub max_in_flight: u32,
    /// Connections opened, those of the admin calls too.
    pub connections: u64,
}

/// What `GET /sandbox/accounts` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounted {
    /// How many accounts there are.
    pub total: usize,
    /// Accounts too many: more than one for the same `Idempotency-Key`.
    pub doubles: u64,
    /// Every `Idempotency-Key` that was sent.
    pub keys: BTreeMap<String, Tally>,
    /// Every account, oldest first.
    pub accounts: Vec<Listed>,
}

/// The faults in force, as `PUT /sandbox/faults` takes and `GET` shows them: what is left of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Faults, the first that applies to a call wins.
    pub faults: Vec<String>,
    /// Where the dice of `@10%` start.
    #[serde(default)]
    pub seed: u64,
    /// Whether an address gets the faults that it asks for.
    #[serde(default = "heeded")]
    pub addresses: bool,
}

const fn heeded() -> bool {
    true
}

/// How a call of the create endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Status(u16),
    Reset,
    Close,
    /// The caller hung up first.
    Timeout,
}

/// The sandbox's state, shared by its connections.
pub(super) struct State {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    accounts: Accounts,
    faults: Vec<Fault>,
    dice: u64,
    /// Whether nobody gets the faults that an address asks for.
    deaf: bool,
    /// Calls by each address that asks for faults.
    magic: HashMap<Box<str>, u32>,
    calls: BTreeMap<Ending, u64>,
    in_flight: u32,
    max_in_flight: u32,
    connections: u64,
    last: HeaderMap,
}

impl State {
    pub(super) fn new(accounts: Accounts, faults: Vec<Fault>, seed: u64) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Inner { accounts, faults, dice: seed, ..Inner::default() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing below panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was opened.
    pub(super) fn connected(&self) {
        self.lock().connections += 1;
    }

    /// A call begins. Its headers are kept for whoever asks what was sent last.
    pub(super) fn begin(self: &Arc<Self>, key: Option<&str>, headers: HeaderMap) -> Call {
        let mut inner = self.lock();
        inner.in_flight += 1;
        inner.max_in_flight = inner.max_in_flight.max(inner.in_flight);
        inner.last = headers;
        if let Some(key) = key {
            inner.accounts.called(key);
        }
        Call { state: Arc::clone(self), ending: Ending::Timeout }
    }

    /// The fault that this call meets: the address's own, else the first in force that applies.
    pub(super) fn fault(&self, email: Option<&str>) -> Option<Fault> {
        let mut inner = self.lock();
        if let Some(email) = email.filter(|email| !inner.deaf && fault::is_magic(email)) {
            let calls = inner.magic.entry(email.into()).or_default();
            *calls += 1;
            if let Some(fault) = fault::of_address(email, *calls) {
                return Some(fault);
            }
        }
        inner.pick()
    }

    /// Makes an account, in a call that goes on like this.
    pub(super) fn make(
        &self,
        key: Option<&str>,
        email: &str,
        body: &[u8],
        effect: Effect,
    ) -> io::Result<String> {
        self.lock().accounts.make(key, email, body, effect)
    }

    pub(super) fn find(&self, identifier: &str) -> Option<Vec<u8>> {
        self.lock().accounts.find(identifier).map(<[u8]>::to_vec)
    }

    pub(super) fn stats(&self) -> Stats {
        let inner = self.lock();
        Stats {
            calls: inner.calls.iter().map(|(ending, count)| (ending.label(), *count)).collect(),
            accounts: inner.accounts.total() as u64,
            doubles: inner.accounts.doubles(),
            in_flight: inner.in_flight,
            max_in_flight: inner.max_in_flight,
            connections: inner.connections,
        }
    }

    pub(super) fn accounts(&self) -> Accounted {
        let inner = self.lock();
        Accounted {
            total: inner.accounts.total(),
            doubles: inner.accounts.doubles(),
            keys: inner.accounts.keys().map(|(key, tally)| (key.to_owned(), tally)).collect(),
            accounts: inner.accounts.list().collect(),
        }
    }

    /// Forgets accounts and statistics; faults stay.
    pub(super) fn forget(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.accounts.forget()?;
        inner.magic.clear();
        inner.calls.clear();
        inner.max_in_flight = inner.in_flight;
        inner.connections = 0;
        Ok(())
    }

    pub(super) fn set_faults(&self, faults: Vec<Fault>, seed: u64) {
        let mut inner = self.lock();
        inner.faults = faults;
        inner.dice = seed;
    }

    pub(super) fn heed_addresses(&self, heed: bool) {
        self.lock().deaf = !heed;
    }

    pub(super) fn faults(&self) -> Faults {
        let inner = self.lock();
        let faults = inner.faults.iter().map(ToString::to_string).collect();
        Faults { faults, seed: inner.dice, addresses: !inner.deaf }
    }

    pub(super) fn last_headers(&self) -> HeaderMap {
        self.lock().last.clone()
    }
}

impl Inner {
    fn pick(&mut self) -> Option<Fault> {
        for at in 0..self.faults.len() {
            let mut fault = self.faults[at];
            if fault.percent < 100 && self.roll() >= u64::from(fault.percent) {
                continue;
            }
            match &mut fault.times {
                Some(1) => drop(self.faults.remove(at)),
                Some(times) => {
                    *times -= 1;
                    self.faults[at] = fault;
                }
                None => {}
            }
            return Some(fault);
        }
        None
    }

    /// `SplitMix64`: the same seed, the same faults.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100
    }
}

impl Ending {
    fn label(self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Reset => "reset".into(),
            Self::Close => "close".into(),
            Self::Timeout => "timeout".into(),
        }
    }
}

/// A call under way; dropped, it has ended.
pub(super) struct Call {
    state: Arc<State>,
    ending: Ending,
}

impl Call {
    /// Says how it ends.
    pub(super) fn ends(&mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut inner = self.state.lock();
        inner.in_flight -= 1;
        *inner.calls.entry(self.ending).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(faults: &[&str], seed: u64) -> Arc<State> {
        State::new(Accounts::default(), faults.iter().map(|fault| fault.parse().unwrap()).collect(), seed)
    }

    fn met(state: &State, email: &str) -> Option<String> {
        state.fault(Some(email)).map(|fault| fault.effect.to_string())
    }

    #[test]
    fn faults_in_force_are_used_up_in_order() {
        let state = state(&["503x2", "422x1"], 0);
        let met: Vec<_> = (0..4).map(|_| met(&state, "a@b.example")).collect();
        assert_eq!(met, [Some("503".into()), Some("503".into()), Some("422".into()), None]);
        assert_eq!(state.faults().faults, Vec::<String>::new());
    }

    #[test]
    fn an_address_comes_before_the_faults_in_force() {
        let state = state(&["500x1"], 0);
        assert_eq!(met(&state, "a+fault-422x1@b.example").as_deref(), Some("422"));
        assert_eq!(met(&state, "a+fault-422x1@b.example").as_deref(), Some("500"));
        assert_eq!(met(&state, "a+fault-422x1@b.example"), None);
    }

    #[test]
    fn addresses_get_nothing_where_they_are_not_heeded() {
        let state = state(&["500x1"], 0);
        state.heed_addresses(false);
        assert_eq!(met(&state, "a+fault-422@b.example").as_deref(), Some("500"));
        assert_eq!(met(&state, "a+fault-422@b.example"), None);
        state.heed_addresses(true);
        assert_eq!(met(&state, "a+fault-422@b.example").as_deref(), Some("422"));
    }

    #[test]
    fn the_dice_are_fair_and_repeatable() {
        let rolls = |seed| {
            let state = state(&["500@20%"], seed);
            (0..1000).map(|_| state.fault(None).is_some()).collect::<Vec<_>>()
        };
        let hits = rolls(7).iter().filter(|hit| **hit).count();
        assert!((150..250).contains(&hits), "{hits}");
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
    }

    #[test]
    fn an_account_tells_what_went_wrong_in_its_call() {
        let state = state(&[], 0);
        for effect in [Effect::Serve, Effect::Reset { after: true }] {
            state.make(None, "a@b.example", b"{}", effect).unwrap();
        }
        let told = |state: &State| -> Vec<_> {
            state.accounts().accounts.into_iter().map(|account| account.fault).collect()
        };
        assert_eq!(told(&state), [None, Some("reset-after".into())]);
        state.forget().unwrap();
        state.make(None, "a@b.example", b"{}", Effect::Serve).unwrap();
        assert_eq!(told(&state), [None]);
    }

    #[test]
    fn calls_are_counted_however_they_end() {
        let state = state(&[], 0);
        let mut first = state.begin(Some("k"), HeaderMap::new());
        let second = state.begin(None, HeaderMap::new());
        first.ends(Ending::Status(201));
        assert_eq!(state.stats().in_flight, 2);
        drop((first, second));
        let seen = state.stats();
        assert_eq!((seen.in_flight, seen.max_in_flight), (0, 2));
        assert_eq!(seen.calls, BTreeMap::from([("201".into(), 1), ("timeout".into(), 1)]));
        assert_eq!(state.accounts().keys["k"], Tally { calls: 1, accounts: 0 });
    }
}
