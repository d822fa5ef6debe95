//! What must hold in the end. Reads what any other program could: queues, imin's accounts, the ledger's
//! table, the log.

use super::{
    stage::ATTEMPTS,
    stream::{Kind, MARK, Sent},
};
use crate::support::world::json;
use imin_customer_worker::{message::Message, sandbox::Listed};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What there is to read.
pub(super) struct Books {
    pub(super) park: bool,
    pub(super) created: Vec<Message>,
    pub(super) dead: Vec<Message>,
    pub(super) accounts: Vec<Listed>,
    /// How often imin was called for each event's key.
    pub(super) called: BTreeMap<String, u32>,
    /// The ledger: key, state, identifier.
    pub(super) rows: Vec<(String, String, Option<String>)>,
    pub(super) queues: Vec<(String, u64)>,
    pub(super) log: Vec<String>,
    /// Calls by how they ended, as far as workers lived to tell. Only for whoever reads along.
    pub(super) calls: BTreeMap<String, u64>,
}

impl Books {
    /// Dead letters by their reason.
    pub(super) fn reasons(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        for letter in &self.dead {
            *reasons.entry(letter.header_text("failure-reason").unwrap_or("none")).or_default() += 1;
        }
        reasons
    }
}

/// One event, as the books tell of it.
#[derive(Default)]
struct Told {
    /// Identifier and flag of each created event.
    created: Vec<(String, bool)>,
    reasons: Vec<String>,
    /// Whether a dead letter says that nobody knows how many accounts there are.
    doubted: bool,
    /// Those that imin's answer named.
    accounts: BTreeSet<String>,
    /// Those of which imin's answer did not say which they are.
    unnamed: BTreeSet<String>,
}

/// What imin does, by the sandbox's words for it, where its answer says that there is an account and not
/// which: a body that breaks off or never ends, or a status that promises no account.
const UNNAMED: [&str; 9] =
    ["202", "204", "no-identifier", "garbage", "cut", "drip", "gzip", "endless", "huge"];

/// Everything that was broken, in words.
pub(super) fn violations(sent: &Sent, books: &Books) -> Vec<String> {
    let mut broken = Vec::new();
    let mut told = accounts(sent, books, &mut broken);
    events(books, &mut told, &mut broken);
    letters(books, &mut told, &mut broken);
    for (id, (kind, _)) in &sent.events {
        let told = told.remove(id).unwrap_or_default();
        broken.extend(event(*kind, &told, books.park).map(|what| format!("{id} ({kind:?}): {what}")));
    }
    broken.extend(told.into_keys().map(|id| format!("{id} was never sent")));
    broken.extend(ledger(books));
    let said = |part: &str| books.log.iter().filter(|line| line.contains(part)).count();
    for (part, what) in [(MARK, "lines of the log name a customer"), ("panicked", "panics")] {
        if said(part) > 0 {
            broken.push(format!("{} {what}", said(part)));
        }
    }
    broken
}

/// Whose account is whose, by the hash of the e-mail address.
fn accounts(sent: &Sent, books: &Books, broken: &mut Vec<String>) -> BTreeMap<String, Told> {
    let owners: BTreeMap<String, &String> =
        sent.events.iter().map(|(id, (_, email))| (hash(email), id)).collect();
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for account in &books.accounts {
        match account.email_hash.as_ref().and_then(|hash| owners.get(hash)) {
            Some(id) => {
                let told = told.entry((*id).clone()).or_default();
                let unnamed = account.fault.as_ref().is_some_and(|fault| UNNAMED.contains(&fault.as_str()));
                let accounts = if unnamed { &mut told.unnamed } else { &mut told.accounts };
                accounts.insert(account.identifier.clone());
            }
            None => broken.push(format!("{} is nobody's account", account.identifier)),
        }
    }
    told
}

fn hash(email: &str) -> String {
    Sha256::digest(email.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn events(books: &Books, told: &mut BTreeMap<String, Told>, broken: &mut Vec<String>) {
    for message in &books.created {
        let event = json(message);
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let flagged = event["possibleduplicate"] == true;
        let told = told.entry(text(&event["causationid"])).or_default();
        told.created.push((text(&event["data"]["identifier"]), flagged));
        if message.properties.message_id().as_ref().map(ToString::to_string) != Some(text(&event["id"])) {
            broken.push(format!("{event}: another message_id"));
        }
        if event.to_string().contains(MARK) {
            broken.push(format!("{event} names its customer"));
        }
    }
}

fn letters(books: &Books, told: &mut BTreeMap<String, Told>, broken: &mut Vec<String>) {
    for letter in &books.dead {
        let id = letter.properties.message_id().as_ref().expect("an id").to_string();
        let Some(reason) = letter.header_text("failure-reason") else {
            broken.push(format!("{id} was dead-lettered by the broker"));
            continue;
        };
        let detail = letter.header_text("failure-detail").expect("a detail");
        let detail: serde_json::Value = serde_json::from_str(detail).expect("JSON");
        let told = told.entry(id).or_default();
        told.reasons.push(reason.to_owned());
        told.doubted |= reason == "outcome_unknown"
            || detail["possibleduplicate"] == true
            || detail["cause"] == "ambiguous";
        if reason == "retries_exhausted" {
            broken.extend(too_early(books, letter));
        }
        let headers = format!("{:?}", letter.properties.headers());
        if headers.contains(MARK) {
            broken.push(format!("the headers of a dead letter name its customer: {headers}"));
        }
    }
}

/// What is given up was tried as often as it should be: by the letter's own word, and as far as the calls
/// got, which a line that is cut keeps from imin, by imin's.
fn too_early(books: &Books, letter: &Message) -> Option<String> {
    let attempts = letter.header_number("failure-attempts");
    let key = letter.header_text("event-key").expect("a key");
    let called = books.called.get(key).copied().unwrap_or_default();
    (attempts != Some(ATTEMPTS.into()) || called < ATTEMPTS / 2)
        .then(|| format!("{key} was given up after {attempts:?} attempts, of which imin saw {called}"))
}

/// One event against the promises.
fn event(kind: Kind, told: &Told, park: bool) -> Option<String> {
    let Told { created, reasons, doubted, accounts, unnamed } = told;
    if created.is_empty() && reasons.is_empty() {
        return Some("lost".into());
    }
    let may = |reason: &str| match (kind, reason) {
        (Kind::Invalid, "invalid_event") | (Kind::Refused, "rejected_by_api") => true,
        // Any event may meet an answer that does not say which account was made; without one, none may.
        (Kind::Good | Kind::Unusable, "unusable_response") => !unnamed.is_empty(),
        (Kind::Hopeless, "retries_exhausted") => true,
        // Nobody knows what came of a call: parked, where that is asked for.
        (Kind::Good | Kind::Refused | Kind::Unusable | Kind::Hopeless, "outcome_unknown") => park,
        _ => false,
    };
    if let Some(reason) = reasons.iter().find(|reason| !may(reason)) {
        return Some(format!("a dead letter: {reason}"));
    }
    if !created.is_empty() && kind != Kind::Good {
        return Some("a created event".into());
    }
    if let Some((identifier, _)) = created.iter().find(|(identifier, _)| !accounts.contains(identifier)) {
        return Some(format!("its event names {identifier}, which is none of its accounts {accounts:?}"));
    }
    let all = accounts.len() + unnamed.len();
    if all > 0 && matches!(kind, Kind::Refused | Kind::Invalid) {
        return Some(format!("accounts {accounts:?} {unnamed:?}"));
    }
    if all > 1 && park {
        return Some(format!("{all} accounts, and nothing ambiguous is retried"));
    }
    let Some((last, flagged)) = created.last() else {
        // One account is what `unusable_response` says; of any other a letter must say that it may be there.
        let said = usize::from(reasons.iter().any(|reason| reason == "unusable_response"));
        return (all > said && !doubted).then(|| format!("{accounts:?} {unnamed:?}, and no letter says so"));
    };
    let several = all > 1 || created.iter().any(|(identifier, _)| identifier != last);
    (several && !flagged).then(|| format!("{accounts:?} {unnamed:?}, and no flag on the last of {created:?}"))
}

/// The ledger agrees with what went out, and holds nobody's name.
fn ledger(books: &Books) -> Vec<String> {
    let plain = |key: &str| key.replace('-', "");
    let rows: BTreeMap<String, (&str, Option<&str>)> =
        books.rows.iter().map(|(key, state, id)| (plain(key), (state.as_str(), id.as_deref()))).collect();
    let mut broken = Vec::new();
    // The last one counts, where a worker that had to let go told of an account before.
    let events: BTreeMap<String, String> = books.created.iter().map(json).map(told).collect();
    for (key, identifier) in events {
        let row = rows.get(&plain(&key));
        if row != Some(&("created", Some(&identifier))) {
            broken.push(format!("{key}: the ledger says {row:?}, its event {identifier}"));
        }
    }
    if format!("{:?}", books.rows).contains(MARK) {
        broken.push("the ledger names a customer".into());
    }
    broken
}

/// The key of a created event, and its account.
fn told(event: serde_json::Value) -> (String, String) {
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    (text(&event["id"]), text(&event["data"]["identifier"]))
}

/// An event as the books could tell of it: accounts that an answer named, accounts that none named, created
/// events as `identifier` or `identifier!` with the flag, and dead letters as `reason` or `reason?` where
/// they say that there may be more.
fn as_told(named: &[&str], unnamed: &[&str], ends: &[&str]) -> Told {
    let set = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    let mut told = Told { accounts: set(named), unnamed: set(unnamed), ..Told::default() };
    for end in ends {
        let plain = end.trim_end_matches(['!', '?']);
        if plain.contains('_') {
            told.doubted |= end.ends_with('?');
            told.reasons.push(plain.to_owned());
        } else {
            told.created.push((plain.to_owned(), end.ends_with('!')));
        }
    }
    told
}

#[test]
fn what_may_be_may_be_and_nothing_more() {
    let verdict = |kind, told: &Told| event(kind, told, false);
    for (kind, told) in [
        (Kind::Good, as_told(&["a"], &[], &["a"])),
        (Kind::Good, as_told(&["a", "b"], &[], &["b!"])),
        (Kind::Good, as_told(&[], &["a"], &["unusable_response"])),
        (Kind::Good, as_told(&["b"], &["a"], &["unusable_response?"])),
        (Kind::Good, as_told(&["b"], &["a"], &["unusable_response", "b!"])),
        (Kind::Hopeless, as_told(&[], &[], &["retries_exhausted"])),
        (Kind::Hopeless, as_told(&["a"], &[], &["retries_exhausted?"])),
    ] {
        assert_eq!(verdict(kind, &told), None);
    }
    for (kind, told) in [
        (Kind::Good, as_told(&["a"], &[], &[])),
        (Kind::Good, as_told(&["a", "b"], &[], &["b"])),
        // The answer named the account: nothing was unusable about it.
        (Kind::Good, as_told(&["a"], &[], &["unusable_response"])),
        (Kind::Good, as_told(&[], &[], &["unusable_response"])),
        // Called again, although the first answer said that there is an account.
        (Kind::Good, as_told(&[], &["a", "b"], &["unusable_response"])),
        (Kind::Good, as_told(&["b"], &["a"], &["unusable_response", "b"])),
        // Nobody can know an identifier that no answer named.
        (Kind::Good, as_told(&[], &["a"], &["a"])),
        (Kind::Good, as_told(&[], &[], &["retries_exhausted"])),
        (Kind::Hopeless, as_told(&["a"], &[], &["retries_exhausted"])),
        (Kind::Hopeless, as_told(&["a"], &[], &["a"])),
        (Kind::Refused, as_told(&[], &["a"], &["unusable_response"])),
    ] {
        assert!(verdict(kind, &told).is_some(), "{kind:?} {:?} {:?}", told.created, told.reasons);
    }
}
