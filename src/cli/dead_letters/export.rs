//! `dead-letters export`, and the files that `discard` leaves.

use super::{
    Deed,
    choice::{Choice, WHICH},
    desk::Desk,
    terminal::note,
    words,
};
use crate::{
    clock,
    dead_letters::{
        export,
        letter::Letter,
        plan::{Action, Agenda, Wish},
        run::Tally,
        shelf::Held,
    },
};
use anyhow::Context;
use clap::ArgGroup;
use jiff::{Timestamp, civil::Date};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters export --all
  imin-customer-worker dead-letters export --reason foreign --output - | jq -r .body_base64
  imin-customer-worker send dead-letters-20260301T030000Z.jsonl

The letters stay in their queue. Each line holds one with all its headers, the customer
unmasked; `send` puts it back among the dead letters, where it can be replayed.";

/// What to export, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("which").required(true).multiple(true).args(WHICH)))]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Every one.
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The file, which must not be there yet; - is standard output. By default one named after the time.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Your reason, for the audit line. No word of a customer's.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    deed: Deed,
}

pub(super) async fn run(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let (filter, limit) = (arguments.choice.filter(), arguments.limit);
    let wish = Wish { filter, action: Action::Export, limit, now: desk.now };
    let plan = desk.plan(&wish).await?;
    let path = arguments.output.clone().unwrap_or_else(|| default_path(desk.now));
    let done = format!("written to {}, the customers unmasked", path.display());
    if !desk.agree(&plan, "export", &done, &arguments.deed, arguments.why.as_deref()).await? {
        return Ok(());
    }
    let mut sink = Sink::create(&path, desk.now)?;
    let (mut agenda, mut wrong, mut tally) = (Agenda::new(wish, &plan), Ok(()), Tally::default());
    desk.each(true, |held, letter| {
        if agenda.has(letter) {
            wrong = sink.write(held);
            tally.done += u64::from(wrong.is_ok());
        }
        wrong.is_ok()
    })
    .await?;
    wrong.and_then(|()| sink.sync()).with_context(|| format!("{} cannot be written", path.display()))?;
    if path == Path::new("-") {
        note(&format!("{} written", words::letters(tally.done)));
        return Ok(());
    }
    desk.tell(&tally, &format!("written to {}", path.display()), &arguments.deed)
}

/// A file that is not there yet, named after the time.
pub(super) fn default_path(now: Timestamp) -> PathBuf {
    PathBuf::from(format!("dead-letters-{}.jsonl", now.strftime("%Y%m%dT%H%M%SZ")))
}

/// Where exported letters go.
pub(super) struct Sink {
    out: Out,
    today: Date,
}

enum Out {
    File(BufWriter<File>),
    Standard(BufWriter<io::Stdout>),
}

impl Sink {
    /// A new file, for its owner alone; `-` is standard output.
    pub(super) fn create(path: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let out = if path == Path::new("-") {
            Out::Standard(BufWriter::new(io::stdout()))
        } else {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let file = opened.with_context(|| {
                format!("{} cannot be made; name another file with --output", path.display())
            })?;
            Out::File(BufWriter::new(file))
        };
        Ok(Self { out, today: clock::today(now) })
    }

    /// Writes a letter.
    pub(super) fn write(&mut self, held: &Held) -> io::Result<()> {
        let key = Letter::read(&held.message, self.today).key;
        let line = export::line(key, &held.message)?;
        match &mut self.out {
            Out::File(out) => writeln!(out, "{line}"),
            Out::Standard(out) => writeln!(out, "{line}"),
        }
    }

    /// Makes sure that what was written lasts.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::File(out) => out.flush().and_then(|()| out.get_ref().sync_all()),
            Out::Standard(out) => out.flush(),
        }
    }
}
