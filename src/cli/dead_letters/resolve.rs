//! `dead-letters resolve`.

use super::{
    Deed, choice,
    desk::Desk,
    replay::{Wait, settled, warn_of_a_pause},
};
use crate::{
    dead_letters::{
        plan::{Action, Wish},
        select::{Filter, KeyPart},
    },
    letters::{
        Resolution,
        replay::{Order, replayed},
    },
};
use clap::ArgGroup;
use uuid::Uuid;

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters resolve 15855196-ff0d --identifier MAlnTNiZut
  imin-customer-worker dead-letters resolve 15855196-ff0d --not-created

Nobody knows whether an outcome_unknown made an account, and imin cannot be asked by e-mail
address: look in imin's own pages, or ask its support. With --identifier the worker records the
account and publishes its event, without a call. With --not-created it calls again; your word
counts for one call.";

/// What came of it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("word").required(true).args(["identifier", "not_created"])))]
pub(super) struct Args {
    /// The key, or its beginning from six characters on.
    #[arg(value_name = "KEY")]
    key: KeyPart,
    /// The account is there, under this identifier.
    #[arg(long, value_name = "ID", value_parser = choice::identifier)]
    identifier: Option<String>,
    /// No account was made.
    #[arg(long)]
    not_created: bool,
    #[command(flatten)]
    wait: Wait,
    /// Your reason, for the audit line. No word of a customer's.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    deed: Deed,
}

pub(super) async fn run(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let word = match &arguments.identifier {
        Some(identifier) => Resolution::Created(identifier.clone()),
        None => Resolution::NotCreated(Uuid::new_v4()),
    };
    let filter = Filter { keys: vec![arguments.key.clone()], ..Filter::default() };
    let wish = Wish { filter, action: Action::Resolve(word.clone()), limit: None, now: desk.now };
    let plan = desk.plan(&wish).await?;
    if !plan.chosen.is_empty() {
        warn_of_a_pause(desk).await;
    }
    let (action, done) = match &word {
        Resolution::Created(identifier) => {
            ("resolve as created", format!("recorded as the account {identifier}, without a call"))
        }
        Resolution::NotCreated(_) => ("resolve as not created", "called for again".to_owned()),
    };
    if !desk.agree(&plan, action, &done, &arguments.deed, arguments.why.as_deref()).await? {
        return settled(&plan, true);
    }
    let make = |message: &_, _: &_, watched_by: Option<&str>| {
        let order = Order { watched_by: watched_by.map(str::to_owned), word: Some(word.clone()) };
        replayed(&desk.names, message, &order)
    };
    let tally = desk.publish(wish, &plan, arguments.wait.pace(), &make, "resolved").await?;
    desk.tell(&tally, "resolved", &arguments.deed)
}
