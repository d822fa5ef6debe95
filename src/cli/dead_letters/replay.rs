//! `dead-letters replay`.

use super::{
    Deed,
    choice::{Choice, WHICH},
    desk::Desk,
    terminal::note,
    words,
};
use crate::{
    admin,
    cli::Told,
    dead_letters::{
        plan::{Action, Plan, Wish},
        run::{Canary, Pace},
    },
    letters::replay::{Order, replayed},
};
use clap::ArgGroup;
use std::time::Duration;

/// A dead letter that was replayed so often is not mended by another time.
const MOST_REPLAYS: u64 = 5;

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters replay 15855196-ff0d
  imin-customer-worker dead-letters replay --reason rejected_by_api --newer-than 2h --dry-run
  imin-customer-worker dead-letters replay --reason rejected_by_api --canary 3 --rate 50
  imin-customer-worker dead-letters replay --all --yes --why 'imin is back'

A letter goes straight into the work queue, is confirmed there, and is taken off only then. Body
and properties stay; what told of the failure moves to previous-… headers. Ctrl-C finishes what
is under way. An outcome_unknown is never replayed: see `dead-letters resolve --help`.";

/// What to replay, and how fast.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("which").required(true).multiple(true).args(WHICH)))]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Every one that may be.
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// At most so many a second.
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Replay so many first, wait for how they end, and stop if one fails again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    canary: Option<u64>,
    /// How long the canary may take before it counts as failed.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    canary_wait: Duration,
    #[command(flatten)]
    wait: Wait,
    /// Replay even what was replayed too often.
    #[arg(long)]
    force: bool,
    /// After so many replays only with --force.
    #[arg(long, value_name = "N", default_value_t = MOST_REPLAYS)]
    max_tries: u64,
    /// Your reason, for the audit line. No word of a customer's.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    deed: Deed,
}

/// How long to listen at the end.
#[derive(Debug, clap::Args)]
pub(super) struct Wait {
    /// How long to wait at the end for how they end; 0s: not at all.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(super) wait: Duration,
}

impl Wait {
    pub(super) fn pace(&self) -> Pace {
        Pace { wait: Some(self.wait).filter(|wait| !wait.is_zero()), ..Pace::default() }
    }
}

pub(super) async fn run(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let wish = Wish {
        filter: arguments.choice.filter(),
        action: Action::Replay { max: arguments.max_tries, force: arguments.force },
        limit: arguments.limit,
        now: desk.now,
    };
    let plan = desk.plan(&wish).await?;
    if !plan.chosen.is_empty() {
        warn_of_a_pause(desk).await;
    }
    let done = format!("replayed into {}", desk.names.queue);
    if !desk.agree(&plan, "replay", &done, &arguments.deed, arguments.why.as_deref()).await? {
        return settled(&plan, !arguments.choice.keys.is_empty());
    }
    let canary = arguments.canary.map(|count| Canary { count, wait: arguments.canary_wait });
    let pace = Pace { rate: arguments.rate, canary, ..arguments.wait.pace() };
    let make = |message: &_, _: &_, watched_by: Option<&str>| {
        let order = Order { watched_by: watched_by.map(str::to_owned), word: None };
        replayed(&desk.names, message, &order)
    };
    let tally = desk.publish(wish, &plan, pace, &make, "replayed").await?;
    desk.tell(&tally, "replayed", &arguments.deed)?;
    settled(&plan, !arguments.choice.keys.is_empty())
}

/// What was asked for by its name and refused is a failure; what a filter left is not.
pub(super) fn settled(plan: &Plan, by_name: bool) -> anyhow::Result<()> {
    if by_name && !plan.refused.is_empty() { Err(Told.into()) } else { Ok(()) }
}

/// Says so where the worker would only put the letters with the others that wait.
pub(super) async fn warn_of_a_pause(desk: &Desk<'_>) {
    match admin::ask::causes(desk.config.admin_addr).await {
        Ok(causes) if causes.is_empty() => {}
        Ok(causes) => {
            for cause in causes {
                let text = format!(
                    "{}. What is replayed now waits until that is mended.",
                    cause.trim_end_matches('.')
                );
                note(words::wrap(&text, &desk.terminal.red("The worker is not at work: "), 4).trim_end());
            }
        }
        Err(_) => note(&desk.terminal.dim(&format!(
            "No worker answers at ADMIN_ADDR {}: whether it is paused is not known.",
            desk.config.admin_addr
        ))),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && (0.001..=1e6).contains(rate))
        .ok_or_else(|| "is no number of messages a second".to_owned())
}
