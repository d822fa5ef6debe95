//! `dead-letters list`.

use super::{choice::Choice, desk::Desk, words};
use crate::{
    cli::print,
    dead_letters::{group::Groups, select::Named},
};
use std::{
    fmt::Write as _,
    io::{BufWriter, ErrorKind, IsTerminal, Write, stdout},
};

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters list
  imin-customer-worker dead-letters list --group
  imin-customer-worker dead-letters list --reason invalid_event --problem /customer/email
  imin-customer-worker dead-letters list --json | jq -r .key";

/// Which to list, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Counts by reason and by problem instead of lines.
    #[arg(long)]
    group: bool,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "N", conflicts_with = "group")]
    limit: Option<u64>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    if arguments.group { grouped(desk, arguments).await } else { listed(desk, arguments).await }
}

async fn listed(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let filter = arguments.choice.filter();
    let (mut out, mut count, mut named) = (BufWriter::new(stdout()), 0, Named::new(&filter));
    let mut written = Ok(());
    let on_terminal = stdout().is_terminal();
    desk.each(!on_terminal, |_, letter| {
        named.see(letter.key);
        if !filter.matches(letter, desk.now) || arguments.limit.is_some_and(|limit| count >= limit) {
            return true;
        }
        if count == 0 && !arguments.json {
            written = writeln!(out, "{}", words::head(desk.terminal));
        }
        count += 1;
        if written.is_ok() {
            written = if arguments.json {
                writeln!(out, "{}", words::object(letter, desk.now))
            } else {
                writeln!(out, "{}", words::line(letter, desk.now))
            };
        }
        written.is_ok()
    })
    .await?;
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    if count == 0 {
        named.check()?;
        super::terminal::note(if filter.is_empty() {
            "There are no dead letters."
        } else {
            "No dead letter is of that kind."
        });
    }
    Ok(())
}

async fn grouped(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let (filter, mut groups) = (arguments.choice.filter(), Groups::default());
    desk.each(true, |_, letter| {
        if filter.matches(letter, desk.now) {
            groups.add(letter);
        }
        true
    })
    .await?;
    if arguments.json {
        let lines: Vec<_> = groups.lines().iter().map(ToString::to_string).collect();
        return print(&(lines.join("\n") + "\n"));
    }
    let head = |what: &str| desk.terminal.bold(&format!("{:>7}  {what}", "COUNT"));
    let mut text = head("REASON") + "\n";
    for (why, count) in &groups.reasons {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{count:>7}  {why}");
    }
    let _ = writeln!(text, "\n{}", head("WHAT IS WRONG"));
    for (why, what, count) in groups.ranked() {
        text.push_str(&words::wrap(&format!("{why}: {what}"), &format!("{count:>7}  "), 9));
    }
    print(&text)
}
