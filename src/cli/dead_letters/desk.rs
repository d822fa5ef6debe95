//! What every command works with: the queue, the terminal, the audit; looking, planning, acting.
//!
//! Owns that a look always ends with everything back in its place, and that a deed is planned, asked
//! for and written down before it is done.

use super::{
    Common, Deed,
    audit::Audit,
    terminal::{Terminal, bar, note},
    words,
};
use crate::{
    app,
    broker::{Names, Publication},
    cli::Told,
    clock,
    config::Config,
    dead_letters::{
        letter::{Letter, identity},
        plan::{Agenda, Plan, Wish},
        run::{Pace, Run, Send, Tally},
        shelf::{Held, Shelf, Shelves, Watch},
    },
    message::Message,
    shutdown::Shutdown,
};
use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

/// The desk.
pub(super) struct Desk<'a> {
    pub(super) config: &'a Config,
    pub(super) names: Names,
    pub(super) terminal: Terminal,
    pub(super) now: Timestamp,
    audit: Audit,
    shelves: Box<dyn Shelves>,
}

/// What is published for a letter, with the queue on which its outcome is waited for.
pub(super) type Make<'a> = dyn Fn(&Message, &Letter, Option<&str>) -> Publication + Sync + 'a;

impl<'a> Desk<'a> {
    pub(super) fn open(config: &'a Config, common: &Common) -> anyhow::Result<Self> {
        Ok(Self {
            config,
            names: app::names(&config.broker.names),
            terminal: Terminal::find(),
            now: clock::now(),
            audit: Audit::new(common.audit_file.as_deref()),
            shelves: app::dead_letters(config, common.look_anyway)?,
        })
    }

    /// Begins a look, and says so where it cannot see everything.
    pub(super) async fn look(&self) -> anyhow::Result<Box<dyn Shelf>> {
        let look = self.shelves.look().await?;
        if look.shared() {
            note("Somebody else is looking at the dead letters, too: what they hold is not seen here.");
        }
        Ok(look)
    }

    /// Looks at every letter. Where `see` says that it is no use to go on, the look ends early, and then
    /// what was seen comes back behind what was not: RabbitMQ puts what is returned in the order of its
    /// return. So whoever has only seen enough looks on.
    pub(super) async fn each(
        &self,
        shows: bool,
        mut see: impl FnMut(&Held, &Letter) -> bool,
    ) -> anyhow::Result<()> {
        let mut look = self.look().await?;
        let bar = shows.then(|| bar(look.depth(), "looked at"));
        let today = clock::today(self.now);
        let looked = async {
            while let Some(held) = look.next().await? {
                if let Some(bar) = &bar {
                    bar.inc(1);
                }
                if !see(&held, &Letter::read(&held.message, today)) {
                    break;
                }
            }
            anyhow::Ok(())
        }
        .await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let back = look.put_back().await;
        looked?;
        Ok(back?)
    }

    /// What a wish comes to.
    pub(super) async fn plan(&self, wish: &Wish) -> anyhow::Result<Plan> {
        let mut look = self.look().await?;
        let bar = bar(look.depth(), "looked at");
        let plan = wish.plan(&mut *look, || bar.inc(1)).await;
        bar.finish_and_clear();
        let back = look.put_back().await;
        let plan = plan?;
        back?;
        Ok(plan)
    }

    /// Shows a plan, asks, and writes the audit line. False where there is nothing to do, or it is only to be
    /// shown; an error where the answer is no.
    pub(super) async fn agree(
        &self,
        plan: &Plan,
        action: &str,
        done: &str,
        deed: &Deed,
        why: Option<&str>,
    ) -> anyhow::Result<bool> {
        note(words::plan(plan, done, self.terminal).trim_end());
        if plan.chosen.is_empty() || deed.dry_run {
            return Ok(false);
        }
        let question = format!("{} {}?", capital(action), words::letters(plan.chosen.len() as u64));
        self.terminal.confirm(&question, deed.yes).await?;
        self.audit.write(action, self.now, why, &plan.chosen)?;
        Ok(true)
    }

    /// Writes down that values of a customer's are shown.
    pub(super) fn note_reveal(&self, letter: &Letter) -> anyhow::Result<()> {
        self.audit.write("reveal", self.now, None, &[letter.key])
    }

    /// Publishes for each letter of a plan, and takes it off.
    pub(super) async fn publish(
        &self,
        wish: Wish,
        plan: &Plan,
        pace: Pace,
        make: &Make<'_>,
        what: &'static str,
    ) -> anyhow::Result<Tally> {
        let publisher = app::publisher(self.config).await?;
        let mut watch = self.watch(&pace).await?;
        let watched_by = watch.as_ref().map(|watch| watch.queue().to_owned());
        let mut look = self.look().await?;
        let shutdown = Self::shutdown()?;
        let bar = bar(plan.chosen.len() as u64, what);
        let (mut agenda, today) = (Agenda::new(wish, plan), clock::today(self.now));
        let mut choose = |held: &Held| {
            let letter = Letter::read(&held.message, today);
            agenda.has(&letter).then(|| {
                let publication = make(&held.message, &letter, watched_by.as_deref());
                // An edit may have made it another event.
                let Publication { body, properties, .. } = publication.clone();
                let sent = Message { body, properties, ..held.message.clone() };
                Send { key: identity(&sent, today).0, publication }
            })
        };
        let run = Run {
            look: &mut *look,
            publisher: &*publisher,
            watch: watch.as_mut().map(|watch| &mut **watch as &mut dyn Watch),
            pace,
            stop: shutdown.drain.clone(),
            choose: &mut choose,
            progress: &|tally| {
                bar.set_position(tally.done);
                bar.set_message(words::so_far(tally));
            },
        };
        let tally = tokio::select! {
            tally = run.run() => tally,
            () = shutdown.abort.cancelled() => return Err(Told.into()),
        };
        bar.finish_and_clear();
        // What has been taken off is off; a connection that is lost gives the others back by itself.
        let _ = look.put_back().await;
        Ok(tally)
    }

    /// Watches, as long as nobody depends on it also where this user may not.
    async fn watch(&self, pace: &Pace) -> anyhow::Result<Option<Box<dyn Watch>>> {
        match self.shelves.watch().await {
            Ok(watch) => Ok(Some(watch)),
            Err(error) if pace.canary.is_some() => {
                Err(error).context("without a queue of its own no canary can be watched")
            }
            Err(_) => Ok(None),
        }
    }

    /// Follows signals from now on: the first finishes what is under way.
    pub(super) fn shutdown() -> anyhow::Result<Shutdown> {
        let shutdown = Shutdown::on_signals()?;
        let drain = shutdown.drain.clone();
        tokio::spawn(async move {
            drain.cancelled().await;
            note("Stopping: what is under way is finished, the others stay where they are.");
        });
        Ok(shutdown)
    }

    /// Tells the result; a stop before the end is a failure.
    pub(super) fn tell(&self, tally: &Tally, done: &str, deed: &Deed) -> anyhow::Result<()> {
        let text = if deed.json {
            let stop = tally.stop.as_ref().map(ToString::to_string);
            json!({ "done": tally.done, "outcomes": tally.outcomes, "stopped": stop }).to_string()
        } else {
            words::tally(tally, done)
        };
        crate::cli::print(&format!("{text}\n"))?;
        if let Some(stop) = &tally.stop {
            note(
                words::wrap(&self.terminal.red(&format!("{}.", capital(&stop.to_string()))), "", 0)
                    .trim_end(),
            );
        }
        if tally.stop.is_some() || tally.failed_again() > 0 { Err(Told.into()) } else { Ok(()) }
    }
}

/// With a capital letter.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
