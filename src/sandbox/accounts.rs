//! The accounts that the sandbox made: kept small, so that a bench can make millions.
//!
//! Owns the identifiers, the count for each `Idempotency-Key` and the journal. An account is its
//! number: the identifier is that number in disguise, so that none has to be stored or looked up.

use super::fault::Effect;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::Arc,
};

/// How many bytes of bodies are kept for `GET …/{identifier}`; an account beyond shows without its customer.
const KEPT_BODIES: usize = 32 * 1024 * 1024;
/// Odd, so that multiplying by it loses nothing; the number is that of `SplitMix64`.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// `SPREAD` × this = 1 (mod 2⁶⁴).
const GATHER: u64 = inverse(SPREAD);
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62¹¹ is just above 2⁶⁴.
const LENGTH: usize = 11;

/// One account.
struct Account {
    key: Option<Arc<str>>,
    email: [u8; 8],
    /// Empty where it was not kept; no account is made from an empty body.
    body: Box<[u8]>,
}

/// What became of one `Idempotency-Key`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many times it was sent.
    pub calls: u32,
    /// How many accounts were made for it: more than one is a customer made twice.
    pub accounts: u32,
}

/// One account as `GET /sandbox/accounts` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// imin's identifier.
    pub identifier: String,
    /// The `Idempotency-Key`, without its quotes.
    pub idempotency_key: Option<String>,
    /// The first 16 hexadecimal digits of the e-mail address's SHA-256; none after a restart.
    pub email_hash: Option<String>,
    /// What went wrong in the call that made it; none where its answer was as it should be, and after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// All accounts.
#[derive(Default)]
pub(super) struct Accounts {
    /// The number of the first account, above 0 once accounts were forgotten.
    first: u64,
    made: Vec<Account>,
    /// The few whose call met a fault, by their number.
    faults: HashMap<u64, Effect>,
    keys: HashMap<Arc<str>, Tally>,
    kept: usize,
    journal: Option<File>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    identifier: String,
    key: Option<String>,
}

impl Accounts {
    /// The accounts of a journal, which goes on with the next account; a new one where there is none.
    pub(super) fn from_journal(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut accounts = Self::default();
        for line in BufReader::new(&file).lines() {
            accounts.replay(&serde_json::from_str(&line?)?)?;
        }
        accounts.journal = Some(file);
        Ok(accounts)
    }

    fn replay(&mut self, line: &Line) -> io::Result<()> {
        let number = number(&line.identifier).unwrap_or_default();
        if self.made.is_empty() {
            self.first = number;
        }
        if line.identifier != identifier(self.next()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no journal of the sandbox"));
        }
        let key = line.key.as_deref().map(|key| self.tally(key, |tally| tally.accounts += 1));
        self.made.push(Account { key, email: [0; 8], body: Box::default() });
        Ok(())
    }

    fn next(&self) -> u64 {
        self.first.wrapping_add(self.made.len() as u64)
    }

    /// Notes that a call with `key` came.
    pub(super) fn called(&mut self, key: &str) {
        self.tally(key, |tally| tally.calls += 1);
    }

    /// Makes an account, in a call that goes on like this, and returns its identifier. Only a journal can fail.
    pub(super) fn make(
        &mut self,
        key: Option<&str>,
        email: &str,
        body: &[u8],
        effect: Effect,
    ) -> io::Result<String> {
        let number = self.next();
        let identifier = identifier(number);
        if let Some(journal) = &mut self.journal {
            let line = Line { identifier: identifier.clone(), key: key.map(str::to_owned) };
            let mut line = serde_json::to_vec(&line)?;
            line.push(b'\n');
            journal.write_all(&line)?;
        }
        let key = key.map(|key| self.tally(key, |tally| tally.accounts += 1));
        let body = if self.kept + body.len() <= KEPT_BODIES { body } else { &[] };
        self.kept += body.len();
        self.made.push(Account { key, email: hash(email), body: body.into() });
        if effect != Effect::Serve {
            self.faults.insert(number, effect);
        }
        Ok(identifier)
    }

    fn tally(&mut self, key: &str, change: impl FnOnce(&mut Tally)) -> Arc<str> {
        if let Some((key, _)) = self.keys.get_key_value(key) {
            let key = Arc::clone(key);
            self.keys.entry(Arc::clone(&key)).and_modify(change);
            return key;
        }
        let key: Arc<str> = key.into();
        change(self.keys.entry(Arc::clone(&key)).or_default());
        key
    }

    /// The body that such an account was made from; empty where it was not kept.
    pub(super) fn find(&self, identifier: &str) -> Option<&[u8]> {
        let index = number(identifier)?.wrapping_sub(self.first);
        let account = self.made.get(usize::try_from(index).ok()?)?;
        Some(&account.body)
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.made.len()
    }

    /// How many accounts too many there are: more than one for the same `Idempotency-Key`.
    pub(super) fn doubles(&self) -> u64 {
        self.keys.values().map(|tally| u64::from(tally.accounts.saturating_sub(1))).sum()
    }

    /// Every key that was sent.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.keys.iter().map(|(key, tally)| (key.as_ref(), *tally))
    }

    /// Every account, oldest first.
    pub(super) fn list(&self) -> impl Iterator<Item = Listed> {
        self.made.iter().zip(self.first..).map(|(account, number)| Listed {
            identifier: identifier(number),
            idempotency_key: account.key.as_deref().map(str::to_owned),
            email_hash: (account.email != [0; 8])
                .then(|| format!("{:016x}", u64::from_be_bytes(account.email))),
            fault: self.faults.get(&number).map(ToString::to_string),
        })
    }

    /// Forgets every account, also in the journal. Identifiers go on where they were.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        if let Some(journal) = &self.journal {
            journal.set_len(0)?;
        }
        self.first = self.next();
        self.made.clear();
        self.faults.clear();
        self.keys.clear();
        self.kept = 0;
        Ok(())
    }
}

fn hash(email: &str) -> [u8; 8] {
    let digest = Sha256::digest(email.as_bytes());
    std::array::from_fn(|at| digest[at])
}

/// The identifier of an account's number: eleven digits of base 62 that do not look like a count.
fn identifier(number: u64) -> String {
    let mut left = number.wrapping_add(1).wrapping_mul(SPREAD);
    let mut digits = [b'0'; LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(left % 62).unwrap_or_default()];
        left /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

/// The number behind an identifier, unless it is none of ours.
fn number(identifier: &str) -> Option<u64> {
    if identifier.len() != LENGTH {
        return None;
    }
    let value = identifier.bytes().try_fold(0_u64, |value, byte| {
        let digit = DIGITS.binary_search(&byte).ok()?;
        value.checked_mul(62)?.checked_add(digit as u64)
    })?;
    Some(value.wrapping_mul(GATHER).wrapping_sub(1))
}

/// Newton's iteration: each step doubles the number of right bits.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut step = 0;
    while step < 6 {
        guess = guess.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(guess)));
        step += 1;
    }
    guess
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_are_counted_by_key() {
        let mut accounts = Accounts::default();
        for key in [Some("a"), Some("b"), Some("a"), None, None] {
            accounts.make(key, "geoff@example.com", b"{}", Effect::Serve).unwrap();
        }
        accounts.called("a");
        assert_eq!((accounts.total(), accounts.doubles()), (5, 1));
        let a = accounts.keys().find(|(key, _)| *key == "a").unwrap().1;
        assert_eq!(a, Tally { calls: 1, accounts: 2 });
    }

    #[test]
    fn an_account_is_found_and_forgotten() {
        let mut accounts = Accounts::default();
        let first = accounts.make(None, "geoff@example.com", b"{1}", Effect::Serve).unwrap();
        assert_eq!(accounts.find(&first), Some(&b"{1}"[..]));
        assert_eq!(accounts.find("abc"), None);
        let hash = accounts.list().next().unwrap().email_hash.unwrap();
        assert_eq!(hash.len(), 16);
        accounts.forget().unwrap();
        assert_eq!((accounts.find(&first), accounts.total()), (None, 0));
        assert_ne!(accounts.make(None, "geoff@example.com", b"{}", Effect::Serve).unwrap(), first);
    }

    #[test]
    fn bodies_are_kept_within_bounds() {
        let mut accounts = Accounts::default();
        let body = vec![b' '; KEPT_BODIES / 2 + 1];
        let made: Vec<_> =
            (0..2).map(|_| accounts.make(None, "a@b.example", &body, Effect::Serve).unwrap()).collect();
        assert!(accounts.find(&made[0]) == Some(&body));
        assert_eq!(accounts.find(&made[1]), Some(&[][..]));
    }

    #[test]
    fn a_journal_keeps_the_accounts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut before = Accounts::from_journal(&path).unwrap();
        before.make(Some("a"), "geoff@example.com", b"{}", Effect::Serve).unwrap();
        before.forget().unwrap();
        let made = before.make(Some("b"), "geoff@example.com", b"{}", Effect::Serve).unwrap();
        drop(before);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{{\"identifier\":\"{made}\",\"key\":\"b\"}}\n"));
        let mut after = Accounts::from_journal(&path).unwrap();
        assert_eq!((after.total(), after.find(&made)), (1, Some(&[][..])));
        assert_ne!(after.make(Some("b"), "geoff@example.com", b"{}", Effect::Serve).unwrap(), made);
        assert_eq!(after.doubles(), 1);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(Accounts::from_journal(&path).is_err());
    }

    proptest! {
        #[test]
        fn an_identifier_is_its_number(number: u64) {
            let identifier = identifier(number);
            prop_assert_eq!(super::number(&identifier), Some(number));
        }

        #[test]
        fn no_text_is_taken_for_another_identifier(text in "\\PC*|[0-9A-Za-z]{11}") {
            if let Some(number) = number(&text) {
                prop_assert_eq!(identifier(number), text);
            }
        }
    }
}
