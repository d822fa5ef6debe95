//! What a person reads of letters, plans and results: lines of at most 80 columns.

use super::terminal::Terminal;
use crate::dead_letters::{letter::Letter, plan::Plan, run::Tally};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{fmt::Write as _, time::Duration};

/// How wide anything is, at most.
const WIDTH: usize = 80;
/// How much of a key is shown in a list: enough to be the only one among millions.
const KEY: usize = 13;

/// The line above a list.
pub(super) fn head(terminal: Terminal) -> String {
    terminal.bold(&format!(
        "{:KEY$}  {:17}  {:>4}  {:>5}  {:>7}  {}",
        "KEY", "REASON", "AGE", "TRIES", "REPLAYS", "CUSTOMER"
    ))
}

/// A letter's line in a list.
pub(super) fn line(letter: &Letter, now: Timestamp) -> String {
    let age = letter.at.map_or_else(|| "?".to_owned(), |at| age(at, now));
    let hint = letter.hint.as_deref().unwrap_or("-");
    let key: String = letter.key.to_string().chars().take(KEY).collect();
    let line =
        format!("{key}  {:17}  {age:>4}  {:>5}  {:>7}  {hint}", letter.why, letter.attempts, letter.replays);
    line.chars().take(WIDTH).collect()
}

/// A letter as an object.
pub(super) fn object(letter: &Letter, now: Timestamp) -> Value {
    json!({
        "key": letter.key.to_string(),
        "reason": letter.why.as_str(),
        "at": letter.at.map(|at| at.to_string()),
        "age_seconds": letter.at.map(|at| now.duration_since(at).as_secs().max(0)),
        "attempts": letter.attempts,
        "first_attempt_at": letter.first_attempt_at.map(|at| at.to_string()),
        "replays": letter.replays,
        "status": letter.status,
        "problems": letter.problems,
        "detail": letter.detail,
        "hint": letter.hint,
    })
}

/// How long ago, in one unit: `5m`.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = Duration::try_from(now.duration_since(at)).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// One, or several.
pub(super) fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// What would be done: `done` with what is chosen, and why the others are left.
pub(super) fn plan(plan: &Plan, done: &str, terminal: Terminal) -> String {
    let chosen = plan.chosen.len() as u64;
    let mut out = format!("{} to be {done}", terminal.bold(&letters(chosen)));
    out.push_str(if chosen == 0 { ".\n" } else { ":\n" });
    for (why, count) in &plan.reasons {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {why:17}  {count:>7}");
    }
    for (refusal, count) in &plan.refused {
        let text = format!("{count} more {refusal}.");
        out.push_str(&terminal.red(&wrap(&text, "Left: ", 6)));
    }
    if plan.beyond > 0 {
        let _ = writeln!(out, "Left: {} more, beyond the limit.", plan.beyond);
    }
    out
}

/// What was done: `12 replayed; 10 created, 2 failed again`.
pub(super) fn tally(tally: &Tally, done: &str) -> String {
    let mut out = format!("{} {done}", tally.done);
    let so_far = so_far(tally);
    if !so_far.is_empty() {
        let _ = write!(out, "; {so_far}");
    }
    let unheard = tally.done.saturating_sub(tally.created() + tally.failed_again());
    if unheard > 0 && unheard < tally.done {
        let _ = write!(out, ", {unheard} under way");
    }
    out
}

/// How it has ended so far: `10 created, 2 failed again (rejected)`.
pub(super) fn so_far(tally: &Tally) -> String {
    let good = |outcome: &str| matches!(outcome, "created" | "duplicate");
    let parts = tally.outcomes.iter().map(|(outcome, count)| match outcome.as_str() {
        "duplicate" => format!("{count} had an account already"),
        outcome if good(outcome) => format!("{count} {outcome}"),
        outcome => format!("{count} failed again ({outcome})"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// A text in lines of at most 80 columns, the first after `start`, the others indented.
pub(super) fn wrap(text: &str, start: &str, indent: usize) -> String {
    let mut out = String::from(start);
    let mut column = start.chars().count();
    let mut begun = false;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if begun && column + 1 + length > WIDTH {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else if begun {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        begun = true;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dead_letters::{
            letter::Why,
            plan::Refusal,
            samples::{letter, now},
        },
        outcome::Reason,
    };
    use std::collections::BTreeMap;

    fn no_terminal() -> Terminal {
        // A test's standard output is none.
        Terminal::find()
    }

    fn fits(text: &str) {
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
    }

    #[test]
    fn no_line_of_a_list_is_wider_than_a_terminal() {
        let hint = Some("g•••@e•••.museum".to_owned());
        for why in Why::all() {
            let letter = Letter {
                why,
                hint: hint.clone(),
                attempts: 99_999,
                replays: 9_999_999,
                ..letter(Reason::InvalidEvent)
            };
            fits(&line(&letter, now()));
        }
        fits(&head(no_terminal()));
        let line = line(&Letter { attempts: 3, hint, ..letter(Reason::RejectedByApi) }, now());
        assert_eq!(line, "15855196-ff0d  rejected_by_api      0s      3        0  g•••@e•••.museum");
    }

    #[test]
    fn an_age_has_one_unit() {
        for (seconds, age_) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7199, "1h"),
            (86_400, "1d"),
            (8_640_000, "100d"),
            (-5, "0s"),
        ] {
            let at = now() - jiff::SignedDuration::from_secs(seconds);
            assert_eq!(age(at, now()), age_);
        }
    }

    #[test]
    fn a_plan_says_what_is_left_and_what_to_do() {
        let refused = [
            Refusal::Unknown,
            Refusal::Unusable,
            Refusal::TooOften,
            Refusal::Made,
            Refusal::NothingToResolve,
        ];
        let plan_ = Plan {
            seen: 20,
            chosen: vec![letter(Reason::InvalidEvent).key],
            reasons: BTreeMap::from([(Why::Known(Reason::InvalidEvent), 1)]),
            refused: refused.into_iter().map(|refusal| (refusal, 3)).collect(),
            beyond: 2,
        };
        let text = plan(&plan_, "replayed into customers.create", no_terminal());
        fits(&text);
        assert!(
            text.starts_with("1 dead letter to be replayed into customers.create:\n  invalid_event"),
            "{text}"
        );
        assert!(
            text.contains("resolve KEY") && text.contains("--force") && text.contains("2 more, beyond"),
            "{text}"
        );
    }

    #[test]
    fn a_result_says_what_came_of_it() {
        let outcomes = [("created", 9), ("duplicate", 1), ("rejected", 2)].map(|(o, n)| (o.to_owned(), n));
        let tally_ = Tally { done: 13, outcomes: outcomes.into(), stop: None };
        assert_eq!(
            tally(&tally_, "replayed"),
            "13 replayed; 9 created, 1 had an account already, 2 failed again (rejected), 1 under way"
        );
        assert_eq!(tally(&Tally { done: 3, ..Tally::default() }, "replayed"), "3 replayed");
    }

    #[test]
    fn a_long_text_is_wrapped_between_words() {
        let text = "word ".repeat(40);
        let wrapped = wrap(&text, "Left: ", 6);
        fits(&wrapped);
        assert_eq!(wrapped.split_whitespace().count(), 41);
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("      word")), "{wrapped}");
        // A beginning that is longer than the indentation of the other lines.
        let wrapped = wrap(&text, "  failure-detail ", 4);
        fits(&wrapped);
        assert_eq!(wrapped.split_whitespace().count(), 41, "{wrapped}");
    }
}
