//! What must hold when every message has come to its end. Knows what the fakes saw, and the promises;
//! nothing of how the worker keeps them.

use super::{
    plan::{Case, Class},
    world::{Dead, Record, Run, World},
};

/// Everything that was broken, in words.
pub(super) fn violations(world: &World, case: &Case) -> Vec<String> {
    let mut state = world.lock();
    let mut found = std::mem::take(&mut state.violations);
    for (run, seen) in state.runs.iter().enumerate() {
        found.extend(once(seen).map(|what| format!("run {run}: {what}")));
    }
    for (key, record) in &state.records {
        let broken = [ended(record), accounts(record, case), events(record, case), letters(record, case)];
        found.extend(broken.into_iter().flatten().map(|what| format!("{key}: {what}")));
    }
    found
}

/// A delivery leads to one publication, unless the worker was not told that one arrived.
fn once(run: &Run) -> Option<String> {
    let most = 1 + run.unheard;
    (run.arrived > most).then(|| format!("{} publications, at most {most}", run.arrived))
}

/// Nothing is lost.
fn ended(record: &Record) -> Option<String> {
    (record.created.is_empty() && record.dead.is_empty()).then(|| "it has come to nothing".into())
}

/// No customer twice, knowingly.
fn accounts(record: &Record, case: &Case) -> Option<String> {
    let made = record.accounts.len();
    // An operator's word may be overtaken by events where there are several messages of one event.
    if made < 2 || record.words > 0 {
        return None;
    }
    if case.park {
        return Some(format!("{made} accounts, and nothing ambiguous is retried"));
    }
    (record.doubts == 0).then(|| format!("{made} accounts, and nothing was ever ambiguous"))
}

/// A created event names an account of its event, and the last one flags what may be a duplicate. Only a
/// worker that lets go while its ledger is down leaves an event behind that names another account: it
/// published what it alone knew, and the next one could not know. Where that next one comes to no event,
/// its dead letter tells.
fn events(record: &Record, case: &Case) -> Option<String> {
    let (last, flagged) = record.created.last()?;
    if let Some((other, _)) = record.created.iter().find(|(named, _)| !record.accounts.contains(named)) {
        return Some(format!("its event names {other}, which is not its account"));
    }
    if record.words > 0 {
        return None;
    }
    let told = record.dead.iter().any(|letter| letter.after == record.created.len() && doubts(letter));
    if !flagged && !told && record.accounts.len() > 1 {
        return Some(format!("its last event has no flag, and there are {:?}", record.accounts));
    }
    if !flagged && record.created.iter().any(|(named, _)| named != last) {
        return Some(format!("its events name several accounts: {:?}", record.created));
    }
    let any_flagged = record.created.iter().any(|(_, flagged)| *flagged);
    if any_flagged && record.doubts == 0 {
        return Some("an event with a flag, and nothing was ever ambiguous".into());
    }
    (any_flagged && case.park).then(|| "an event with a flag, and nothing ambiguous is retried".into())
}

/// A dead letter has a reason that happened, and tells of an account that nobody learnt of.
fn letters(record: &Record, case: &Case) -> Option<String> {
    let answered = |class| record.answers.contains(&class);
    let counted = record.answers.iter().filter(|class| class.counts()).count() + record.dropped;
    let most = usize::try_from(case.max_attempts).expect("small");
    for Dead { reason, .. } in &record.dead {
        let justified = match reason.as_str() {
            "invalid_event" => !record.valid && record.answers.is_empty(),
            "rejected_by_api" => answered(Class::Rejected),
            "unusable_response" => answered(Class::Unusable),
            "retries_exhausted" => counted >= most,
            // imin's answer, too, where another copy's end came on record before it.
            "outcome_unknown" => {
                let ambiguous = answered(Class::Made) || answered(Class::NotMade);
                case.park && (ambiguous || record.doubts + record.dropped > 0)
            }
            _ => false,
        };
        if !justified {
            return Some(format!("a dead letter {reason} without a reason, after {:?}", record.answers));
        }
    }
    // After an operator's word, the operator knows.
    let hidden = record.words == 0
        && record.created.is_empty()
        && !record.accounts.is_empty()
        && !record.dead.iter().any(tells);
    if hidden {
        return Some(format!("there is an account, and no dead letter says so: {:?}", record.dead));
    }
    let unflagged = record.words == 0
        && record.created.is_empty()
        && record.accounts.len() > 1
        && !record.dead.iter().any(doubts);
    unflagged.then(|| format!("{:?}, and no flag on any of {:?}", record.accounts, record.dead))
}

/// Whether a dead letter says that there may be an account.
fn tells(letter: &Dead) -> bool {
    letter.reason == "unusable_response" || doubts(letter)
}

/// Whether a dead letter says that there may be more accounts than anybody knows of.
fn doubts(Dead { reason, detail, .. }: &Dead) -> bool {
    reason == "outcome_unknown" || detail["cause"] == "ambiguous" || detail["possibleduplicate"] == true
}
