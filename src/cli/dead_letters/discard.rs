//! `dead-letters discard`.

use super::{
    Deed,
    choice::{Choice, WHICH},
    desk::Desk,
    export::{Sink, default_path},
    terminal::{bar, note},
};
use crate::{
    clock,
    dead_letters::{
        letter::Letter,
        plan::{Action, Agenda, Wish},
        run,
        shelf::Held,
    },
};
use clap::ArgGroup;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters discard 15855196-ff0d --why 'signed up by telephone'
  imin-customer-worker dead-letters discard --reason foreign --older-than 30d --why 'test data'
  imin-customer-worker dead-letters discard --all --no-export --yes --why 'asked to be forgotten'

Each letter is written to a file for its owner alone before it goes; `send` puts it back. With
--no-export it is gone for good.";

/// What to give up, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(WHICH)))]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Every one.
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Where the copy goes, which must not be there yet. By default a file named after the time.
    #[arg(long, short, value_name = "FILE", conflicts_with = "no_export")]
    output: Option<PathBuf>,
    /// Keep no copy.
    #[arg(long)]
    no_export: bool,
    /// Your reason, for the audit line. No word of a customer's.
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    deed: Deed,
}

pub(super) async fn run(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let (filter, limit) = (arguments.choice.filter(), arguments.limit);
    let wish = Wish { filter, action: Action::Discard, limit, now: desk.now };
    let plan = desk.plan(&wish).await?;
    let path = arguments.output.clone().unwrap_or_else(|| default_path(desk.now));
    let done = if arguments.no_export {
        "given up for good, without a copy".to_owned()
    } else {
        format!("given up, with a copy in {}", path.display())
    };
    if !desk.agree(&plan, "discard", &done, &arguments.deed, Some(&arguments.why)).await? {
        return Ok(());
    }
    let mut sink = if arguments.no_export { None } else { Some(Sink::create(&path, desk.now)?) };
    let mut keep = |batch: &[Held]| {
        let Some(sink) = &mut sink else { return Ok(()) };
        batch.iter().try_for_each(|held| sink.write(held))?;
        sink.sync()
    };
    let (mut agenda, today) = (Agenda::new(wish, &plan), clock::today(desk.now));
    let mut choose = |held: &Held| agenda.has(&Letter::read(&held.message, today));
    let (mut look, shutdown) = (desk.look().await?, Desk::shutdown()?);
    let bar = bar(plan.chosen.len() as u64, "given up");
    let progress = |tally: &run::Tally| bar.set_position(tally.done);
    let tally = run::discard(&mut *look, &shutdown.drain, &mut choose, &mut keep, &progress).await;
    bar.finish_and_clear();
    if let Err(error) = look.put_back().await {
        note(&error.to_string());
    }
    desk.tell(&tally, "given up", &arguments.deed)
}
