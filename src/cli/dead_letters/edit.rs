//! `dead-letters edit`.

use super::{
    Deed,
    desk::Desk,
    replay::{Wait, settled, warn_of_a_pause},
    terminal::note,
    words,
};
use crate::{
    clock,
    dead_letters::{
        edit::{self, Edited, Set},
        letter::{Letter, Why, identity},
        mask,
        plan::{Action, Plan, Wish},
        select::{Filter, KeyPart},
    },
    letters::replay::{Order, replayed},
    message::Message,
    outcome::Reason,
};
use anyhow::{Context, bail};
use std::path::PathBuf;

mod editor;

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters edit 15855196-ff0d
  imin-customer-worker dead-letters edit 15855196-ff0d --set /customer/email=a@example.com
  imin-customer-worker dead-letters edit 15855196-ff0d --set /customer/imin:is13OrOver=true --yes
  imin-customer-worker dead-letters edit 15855196-ff0d --patch mend.json

Without --set and --patch, $EDITOR opens on the body. The new body is checked by the worker's own
rules, and is sent only if it passes. The old letter is taken off only when the new one is
confirmed.";

/// What to change, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The key, or its beginning from six characters on.
    #[arg(value_name = "KEY")]
    key: KeyPart,
    /// Set a place of the body to a value: JSON, or else a text.
    #[arg(long = "set", value_name = "POINTER=VALUE")]
    sets: Vec<Set>,
    /// Apply a JSON Patch (RFC 6902).
    #[arg(long, value_name = "FILE", conflicts_with = "sets")]
    patch: Option<PathBuf>,
    /// Edit even what was replayed too often.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: Wait,
    /// Your reason, for the audit line. No word of a customer's.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    deed: Deed,
}

pub(super) async fn run(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let filter = Filter { keys: vec![arguments.key.clone()], ..Filter::default() };
    let action = Action::Replay { max: 5, force: arguments.force };
    let wish = Wish { filter, action, limit: Some(1), now: desk.now };
    let (plan, letter) = find(desk, &wish).await?;
    let Some(letter) = letter else {
        note(words::plan(&plan, "edited", desk.terminal).trim_end());
        return settled(&plan, true);
    };
    let Some(edited) = change(desk, arguments, &letter).await? else {
        note("Nothing was changed, so nothing is done.");
        return Ok(());
    };
    tell_change(desk, &letter, &edited)?;
    warn_of_a_pause(desk).await;
    let done = format!("replaced by the new one, which goes into {}", desk.names.queue);
    if !desk.agree(&plan, "edit", &done, &arguments.deed, arguments.why.as_deref()).await? {
        return Ok(());
    }
    // Whatever has the key and is not the letter that was edited stays where it is.
    let make = |message: &Message, _: &Letter, watched_by: Option<&str>| {
        let order = Order { watched_by: watched_by.map(str::to_owned), word: None };
        let new = Message { body: edited.message.body.clone(), ..message.clone() };
        let properties = match edited.message.properties.message_id() {
            Some(id) => new.properties.clone().with_message_id(id.clone()),
            None => new.properties.clone(),
        };
        replayed(&desk.names, &Message { properties, ..new }, &order)
    };
    let tally = desk.publish(wish, &plan, arguments.wait.pace(), &make, "sent").await?;
    desk.tell(&tally, "edited and sent", &arguments.deed)
}

/// The plan, and the letter that it chooses.
async fn find(desk: &Desk<'_>, wish: &Wish) -> anyhow::Result<(Plan, Option<Message>)> {
    let plan = desk.plan(wish).await?;
    let mut found = None;
    if !plan.chosen.is_empty() {
        let mut agenda = crate::dead_letters::plan::Agenda::new(wish.clone(), &plan);
        desk.each(true, |held, letter| {
            if agenda.has(letter) {
                found = Some(held.message.clone());
            }
            true
        })
        .await?;
    }
    Ok((plan, found))
}

/// The letter with its new body, valid; none where nothing was changed.
async fn change(desk: &Desk<'_>, arguments: &Args, letter: &Message) -> anyhow::Result<Option<Edited>> {
    let today = clock::today(desk.now);
    if arguments.sets.is_empty() && arguments.patch.is_none() {
        return editor::edit(desk, letter, today).await;
    }
    let body = match &arguments.patch {
        Some(path) => {
            let shown = path.display();
            let text = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
            let operations = serde_json::from_slice(&text)
                .with_context(|| format!("{shown} is no JSON Patch (RFC 6902)"))?;
            edit::patch(&letter.body, &operations)?
        }
        None => edit::set(&letter.body, &arguments.sets)?,
    };
    if body == letter.body {
        return Ok(None);
    }
    let edited = edit::edited(letter, body, today);
    if !edited.problems.is_empty() {
        tell_problems(desk, &edited);
        bail!("the worker would not take it, so it is not sent");
    }
    Ok(Some(edited))
}

/// Says what is wrong with an edited letter.
fn tell_problems(desk: &Desk<'_>, edited: &Edited) {
    note(&desk.terminal.red("The worker would find wrong with it:"));
    for problem in &edited.problems {
        let part = serde_json::to_value(problem.part).unwrap_or_default();
        let text = format!("{} {}", problem.pointer, problem.rule);
        note(words::wrap(&text, &format!("  {} ", part.as_str().unwrap_or_default()), 4).trim_end());
    }
}

/// Says what has changed, and refuses to make another event of one that may have an account.
fn tell_change(desk: &Desk<'_>, letter: &Message, edited: &Edited) -> anyhow::Result<()> {
    match edit::changes(&letter.body, &edited.message.body) {
        Some(places) if places.is_empty() => note("Changed: white space only"),
        Some(places) => note(words::wrap(&mask::plain(&places.join(", ")), "Changed: ", 9).trim_end()),
        None => note("Changed: the whole body, which was no JSON"),
    }
    let today = clock::today(desk.now);
    if edited.key == identity(letter, today) {
        return Ok(());
    }
    note(words::wrap(&format!("It becomes another event: {}.", edited.key), "", 4).trim_end());
    match Letter::read(letter, today).why {
        Why::Known(Reason::InvalidEvent | Reason::RejectedByApi) | Why::Foreign | Why::Expired => Ok(()),
        why @ Why::Known(_) => bail!(
            "a letter of the reason {why} may have an account already, under its old identity: leave id and \
             source as they are"
        ),
    }
}
