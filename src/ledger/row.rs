//! What a row says, and what each operation makes of it: pure, and one for every backend.
//!
//! Owns the state machine and the flat form in which a row is stored. Loading, storing and
//! committing are the backends'; that one instance asks for a key once at a time is `claims`'.

use super::{Begun, Finish, Intent, Recorded};
use crate::{event::EventKey, outcome::Account};
use std::time::Duration;
use uuid::Uuid;

/// How many rows the search for old ones may look at or remove for each attempt that is begun: above
/// one, it keeps up whatever the rate.
pub(super) const SWEPT_PER_BEGIN: u32 = 4;

/// What is known of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) state: State,
    /// The latest attempt.
    pub(super) attempt: u32,
    /// When the state last changed, in milliseconds since 1970.
    pub(super) at: i64,
    /// Whether an account may exist that no row names.
    pub(super) possible_duplicate: bool,
    /// The operators' words that were spent on this event.
    pub(super) words: Vec<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing but its words is left of it.
    Idle,
    /// This instance was told that it may call.
    Attempting(Uuid),
    /// A call was made, and nobody knows what came of it.
    Unknown,
    /// The account is there; its event was confirmed or not.
    Created(Account, bool),
    /// The account is there, and nobody learnt its identifier.
    Unusable,
}

/// Who asks, and when.
pub(super) struct Scene<'a> {
    pub(super) instance: Uuid,
    pub(super) at: i64,
    /// Whether another instance may still be calling.
    pub(super) living: &'a dyn Fn(Uuid) -> bool,
}

/// What is asked of a row.
#[derive(Debug)]
pub(super) enum Op {
    Begin(Intent),
    Finish(EventKey, Finish),
    Published(EventKey),
}

/// What becomes of the row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Keep,
    Put(Row),
    Delete,
}

impl Change {
    /// The row that it leaves of this one.
    fn after<'a>(&'a self, row: Option<&'a Row>) -> Option<&'a Row> {
        match self {
            Self::Keep => row,
            Self::Put(row) => Some(row),
            Self::Delete => None,
        }
    }
}

impl Op {
    pub(super) fn key(&self) -> EventKey {
        match self {
            Self::Begin(intent) => intent.key,
            Self::Finish(key, _) | Self::Published(key) => *key,
        }
    }

    pub(super) fn is_begin(&self) -> bool {
        matches!(self, Self::Begin(_))
    }

    /// What the operation makes of the row, and its answer: a begin's own, a finish's account on record.
    pub(super) fn apply(&self, row: Option<&Row>, scene: &Scene<'_>) -> (Option<Begun>, Change) {
        match self {
            Self::Begin(intent) => {
                let (begun, change) = begin(row, intent, scene);
                (Some(begun), change)
            }
            Self::Finish(_, how) => {
                let change = finish(row, how, scene);
                (change.after(row).and_then(Row::standing), change)
            }
            Self::Published(_) => (None, published(row)),
        }
    }
}

fn begin(row: Option<&Row>, intent: &Intent, scene: &Scene<'_>) -> (Begun, Change) {
    let Some(row) = row else { return go(&[], intent, false, scene) };
    match &row.state {
        State::Created(account, published) => (row.created(account, *published), Change::Keep),
        State::Unusable => (Begun::Unusable { possible_duplicate: row.possible_duplicate }, Change::Keep),
        State::Attempting(owner) if *owner != scene.instance && (scene.living)(*owner) => {
            (Begun::Held, Change::Keep)
        }
        // This instance asks for a key once at a time, so that its own open attempt is one whose
        // answer got lost on the way here: nobody called. Only what was in doubt before still is.
        State::Attempting(owner) if *owner == scene.instance && !row.possible_duplicate => {
            go(&row.words, intent, false, scene)
        }
        State::Attempting(_) | State::Unknown => doubt(row, intent, scene),
        State::Idle => go(&row.words, intent, false, scene),
    }
}

/// Nobody knows what came of an earlier call.
fn doubt(row: &Row, intent: &Intent, scene: &Scene<'_>) -> (Begun, Change) {
    let word = intent.not_created.is_some_and(|word| !row.words.contains(&word));
    if word || intent.despite_unknown {
        return go(&row.words, intent, !word, scene);
    }
    if row.state == State::Unknown {
        return (Begun::Unknown, Change::Keep);
    }
    (Begun::Unknown, Change::Put(unknown(row, scene)))
}

fn go(words: &[Uuid], intent: &Intent, possible_duplicate: bool, scene: &Scene<'_>) -> (Begun, Change) {
    let mut words = words.to_vec();
    words.extend(intent.not_created.filter(|word| !words.contains(word)));
    let state = State::Attempting(scene.instance);
    let row = Row { state, attempt: intent.attempt, at: scene.at, possible_duplicate, words };
    (Begun::Go { possible_duplicate }, Change::Put(row))
}

fn finish(row: Option<&Row>, how: &Finish, scene: &Scene<'_>) -> Change {
    match (how, row) {
        (Finish::Created(_) | Finish::Unusable, Some(Row { state: State::Created(..), .. }))
        | (Finish::Unusable, Some(Row { state: State::Unusable, .. })) => Change::Keep,
        (Finish::Created(account), row) => settle(row, State::Created(account.clone(), false), scene),
        (Finish::Unusable, row) => settle(row, State::Unusable, scene),
        (Finish::Unknown, Some(row)) if row.attempting(scene.instance) => Change::Put(unknown(row, scene)),
        (Finish::NothingMade, Some(row)) if row.attempting(scene.instance) => nothing_made(row, scene),
        // Another worker took the row over, or this very finish was done before.
        (Finish::Unknown | Finish::NothingMade, _) => Change::Keep,
    }
}

fn nothing_made(row: &Row, scene: &Scene<'_>) -> Change {
    if row.possible_duplicate {
        Change::Put(unknown(row, scene))
    } else if row.words.is_empty() {
        Change::Delete
    } else {
        // A word counts once, also when nothing came of the attempt that it allowed.
        Change::Put(Row { state: State::Idle, at: scene.at, ..row.clone() })
    }
}

/// The account is there, whatever the row said before.
fn settle(row: Option<&Row>, state: State, scene: &Scene<'_>) -> Change {
    let at = scene.at;
    Change::Put(match row {
        Some(row) => {
            // Another worker's attempt may have made another account.
            let others = matches!(row.state, State::Attempting(owner) if owner != scene.instance);
            Row { state, at, possible_duplicate: row.possible_duplicate || others, ..row.clone() }
        }
        None => Row { state, attempt: 0, at, possible_duplicate: false, words: Vec::new() },
    })
}

fn unknown(row: &Row, scene: &Scene<'_>) -> Row {
    Row { state: State::Unknown, at: scene.at, possible_duplicate: true, ..row.clone() }
}

fn published(row: Option<&Row>) -> Change {
    match row {
        Some(row @ Row { state: State::Created(account, false), .. }) => {
            Change::Put(Row { state: State::Created(account.clone(), true), ..row.clone() })
        }
        _ => Change::Keep,
    }
}

impl Row {
    /// The account on record, as an answer.
    fn standing(&self) -> Option<Begun> {
        let State::Created(account, published) = &self.state else { return None };
        Some(self.created(account, *published))
    }

    fn created(&self, account: &Account, published: bool) -> Begun {
        let possible_duplicate = self.possible_duplicate;
        Begun::Created(Recorded { account: account.clone(), published, possible_duplicate })
    }

    fn attempting(&self, instance: Uuid) -> bool {
        self.state == State::Attempting(instance)
    }

    /// Whether the sweep may remove it: never an attempt that is open or whose end is not known.
    pub(super) fn outdated(&self, before: i64) -> bool {
        self.at < before && !matches!(self.state, State::Attempting(_) | State::Unknown)
    }
}

/// The states that the sweep may remove, as SQL.
pub(super) const SETTLED: &str = "('idle', 'created', 'unusable')";

/// The time before which a settled row is too old to keep.
pub(super) fn horizon(at: i64, retention: Duration) -> i64 {
    at.saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX))
}

/// A row as its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flat {
    pub(super) state: String,
    pub(super) attempt: i64,
    pub(super) at: i64,
    pub(super) possible_duplicate: bool,
    pub(super) owner: Option<Uuid>,
    pub(super) identifier: Option<String>,
    pub(super) account_id: Option<String>,
    pub(super) published: bool,
    /// The words one after the other, 16 bytes each.
    pub(super) words: Option<Vec<u8>>,
}

/// A row that this program cannot have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row is damaged: {0}")]
pub(super) struct Damaged(&'static str);

impl From<Row> for Flat {
    fn from(row: Row) -> Self {
        let words = row.words.iter().flat_map(|word| *word.as_bytes()).collect::<Vec<_>>();
        let mut flat = Self {
            state: row.state.name().to_owned(),
            attempt: row.attempt.into(),
            at: row.at,
            possible_duplicate: row.possible_duplicate,
            owner: None,
            identifier: None,
            account_id: None,
            published: false,
            words: Some(words).filter(|words| !words.is_empty()),
        };
        match row.state {
            State::Attempting(owner) => flat.owner = Some(owner),
            State::Created(account, published) => {
                flat.identifier = Some(account.identifier);
                flat.account_id = account.id;
                flat.published = published;
            }
            State::Idle | State::Unknown | State::Unusable => {}
        }
        flat
    }
}

impl TryFrom<Flat> for Row {
    type Error = Damaged;

    fn try_from(flat: Flat) -> Result<Self, Damaged> {
        let state = match flat.state.as_str() {
            "idle" => State::Idle,
            "attempting" => State::Attempting(flat.owner.ok_or(Damaged("an attempt without an owner"))?),
            "unknown" => State::Unknown,
            "created" => {
                let identifier = flat.identifier.ok_or(Damaged("an account without an identifier"))?;
                State::Created(Account { identifier, id: flat.account_id }, flat.published)
            }
            "unusable" => State::Unusable,
            _ => return Err(Damaged("a state that does not exist")),
        };
        let attempt = u32::try_from(flat.attempt).map_err(|_| Damaged("an impossible attempt"))?;
        let words = flat.words.unwrap_or_default();
        let words = words
            .chunks(16)
            .map(Uuid::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|_| Damaged("half a word"))?;
        Ok(Self { state, attempt, at: flat.at, possible_duplicate: flat.possible_duplicate, words })
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Attempting(_) => "attempting",
            Self::Unknown => "unknown",
            Self::Created(..) => "created",
            Self::Unusable => "unusable",
        }
    }
}

#[cfg(test)]
mod tests;
