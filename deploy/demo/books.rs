//! The sums of the demo: what was sent, what came of it, and whether that is all of it.
//!
//! Owns the table and the checks. Only what was seen from outside counts: the events, the dead
//! letters, and imin's own count of calls and accounts; nothing is taken from the plan but the words.

use crate::{
    signups::{Fate, Signup},
    watch::{End, How},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
};

/// What imin saw of one event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// How many calls.
    pub(crate) calls: u64,
    /// How many accounts came of them.
    pub(crate) accounts: u64,
}

/// Everything that was seen.
pub(crate) struct Books {
    /// What was sent.
    pub(crate) signups: Vec<Signup>,
    /// How many of them were sent a second time.
    pub(crate) repeated: usize,
    /// How they ended.
    pub(crate) ends: Vec<End>,
    /// What imin saw, by event key.
    pub(crate) imin: HashMap<String, Seen>,
    /// How many repeats the worker says it recognised.
    pub(crate) recognised: u64,
}

/// One line of the table.
struct Line {
    indent: usize,
    words: String,
    count: usize,
}

impl Books {
    /// Whatever does not add up; nothing is good.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> =
            self.signups.iter().filter_map(|signup| self.complaint(signup)).collect();
        let known: BTreeSet<&str> = self.signups.iter().map(|signup| signup.id.as_str()).collect();
        let strangers = self.ends.iter().filter(|end| !known.contains(end.id.as_str()));
        complaints.extend(strangers.map(|end| format!("{} came out, but never went in", end.id)));
        if self.recognised != self.repeated as u64 {
            let (recognised, repeated) = (self.recognised, self.repeated);
            complaints.push(format!("{repeated} were sent twice, {recognised} were recognised"));
        }
        let (made, explained) = (self.accounts(), self.created().len() + self.unusable() + self.doubles());
        if made != explained as u64 {
            complaints.push(format!("imin has {made} accounts, {explained} are explained"));
        }
        complaints
    }

    fn complaint(&self, signup: &Signup) -> Option<String> {
        let id = &signup.id;
        let ends: Vec<&End> = self.ends.iter().filter(|end| end.id == *id).collect();
        let [end] = ends[..] else {
            return Some(format!("{id} came to {} ends instead of one", ends.len()));
        };
        let seen = self.seen(end);
        let fits = match (&end.how, signup.story.fate) {
            (How::Created { .. }, Fate::AtOnce) => seen.calls == 1,
            (How::Created { .. }, Fate::Retried) => seen.calls > 1,
            (How::Dead { reason, .. }, Fate::Dead(expected)) => reason == expected,
            _ => false,
        };
        if !fits {
            return Some(format!(
                "{id} ({}) ended as {:?} after {} calls",
                signup.story.words, end.how, seen.calls
            ));
        }
        let flagged = matches!(end.how, How::Created { possible_duplicate: true });
        (seen.accounts > 1 && !flagged).then(|| format!("{id} has {} accounts and no flag", seen.accounts))
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let created = self.created();
        let (at_once, retried): (Vec<&End>, Vec<&End>) =
            created.iter().partition(|end| self.seen(end).calls == 1);
        let mut lines = vec![
            line(0, "Became customers", created.len()),
            line(2, "at the first call", at_once.len()),
            line(2, "after a retry", retried.len()),
        ];
        lines.extend(groups(retried.iter().map(|end| self.words(end))));
        let dead: Vec<&End> = self.ends.iter().filter(|end| matches!(end.how, How::Dead { .. })).collect();
        lines.push(line(0, "Became dead letters, which wait for a person", dead.len()));
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for end in &dead {
            if let How::Dead { reason, why } = &end.how {
                reasons.entry(reason).or_default().push(why);
            }
        }
        for (reason, why) in reasons {
            lines.push(line(2, reason, why.len()));
            lines.extend(groups(why.into_iter()));
        }
        let mut table: String = lines.iter().map(Line::show).collect();
        table.push_str(&self.foot(created.len(), dead.len()));
        table
    }

    fn foot(&self, created: usize, dead: usize) -> String {
        let flagged =
            self.ends.iter().filter(|end| matches!(end.how, How::Created { possible_duplicate: true }));
        let sum = format!("{created} + {dead} = {} of {} signups", created + dead, self.signups.len());
        format!(
            "{}\n{sum}\n\nSent twice, recognised, no second account: {}\n\
             Nobody could know whether the first call had made the account: {} were called again and say so\n\
             Accounts at imin: {} = {created} customers + {} without an identifier + {} of those made twice\n",
            "-".repeat(WIDTH),
            self.recognised,
            flagged.count(),
            self.accounts(),
            self.unusable(),
            self.doubles(),
        )
    }

    fn created(&self) -> Vec<&End> {
        self.ends.iter().filter(|end| matches!(end.how, How::Created { .. })).collect()
    }

    fn unusable(&self) -> usize {
        let unusable =
            |end: &&End| matches!(&end.how, How::Dead { reason, .. } if reason == "unusable_response");
        self.ends.iter().filter(unusable).count()
    }

    /// Accounts beyond the first of one customer, all of them flagged: see `complaint`.
    fn doubles(&self) -> usize {
        self.imin.values().filter(|seen| seen.accounts > 1).count()
    }

    fn accounts(&self) -> u64 {
        self.imin.values().map(|seen| seen.accounts).sum()
    }

    fn seen(&self, end: &End) -> Seen {
        self.imin.get(&end.key).copied().unwrap_or_default()
    }

    fn words(&self, end: &End) -> &'static str {
        self.signups
            .iter()
            .find(|signup| signup.id == end.id)
            .map_or("never sent", |signup| signup.story.words)
    }
}

const WIDTH: usize = 76;

impl Line {
    fn show(&self) -> String {
        let mut text = String::new();
        let room = WIDTH - 8 - self.indent;
        let cut = self.words.chars().count() > room;
        let words: String = self.words.chars().take(if cut { room - 1 } else { room }).collect();
        let words = words + if cut { "…" } else { "" };
        let (indent, width) = (self.indent, WIDTH - 6 - self.indent);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:indent$}{words:<width$}{:>6}", "", self.count);
        text
    }
}

fn line(indent: usize, words: &str, count: usize) -> Line {
    Line { indent, words: words.to_owned(), count }
}

/// Equal words together, the most frequent first.
fn groups<'a>(words: impl Iterator<Item = &'a str>) -> Vec<Line> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    let mut lines: Vec<Line> = counts.into_iter().map(|(words, count)| line(4, words, count)).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.count));
    lines
}
