//! A person at a terminal: colours, bars, questions. Without one, none of them.

use crate::{
    cli::Told,
    config::{Process, Surroundings},
};
use anyhow::bail;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use tokio::sync::oneshot;

/// Who is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    /// Whether standard output may be in colours.
    colour: bool,
    /// Whether somebody can be asked.
    person: bool,
}

impl Terminal {
    pub(super) fn find() -> Self {
        let set = |name| Process.env(name).is_some_and(|value| !value.is_empty());
        let dumb = Process.env("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: stdout().is_terminal() && !set("NO_COLOR") && !dumb,
            person: stdin().is_terminal() && stderr().is_terminal(),
        }
    }

    /// Bold, where there are colours.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Dim, where there are colours.
    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Red, where there are colours.
    pub(super) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Whether somebody can be asked.
    pub(super) fn has_person(self) -> bool {
        self.person
    }

    /// Asks, unless the answer was given before. A no is an error, and so are Ctrl-C and an end of the input.
    pub(super) async fn confirm(self, question: &str, yes: bool) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        if !self.person {
            bail!("nobody is here to be asked: say --yes, or --dry-run to see what would be done");
        }
        let answer = ask(&format!("{question} [y/N] ")).await;
        if answer.is_some_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")) {
            return Ok(());
        }
        note("Nothing was done.");
        Err(Told.into())
    }
}

/// A bar over so many letters, on standard error where that is a terminal.
pub(super) fn bar(length: u64, what: &'static str) -> ProgressBar {
    let template = format!("{{bar:24}} {{pos}}/{{len}} {what} {{elapsed}} {{msg}}");
    // The template is ours; one that were wrong would cost the bar only.
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_finish(ProgressFinish::AndClear)
}

/// Asks a question; none where it is left unanswered.
async fn ask(question: &str) -> Option<String> {
    let mut err = stderr();
    let _ = write!(err, "{question}").and_then(|()| err.flush());
    let (send, answer) = oneshot::channel();
    // A thread of its own: reading cannot be given up, and must not keep the process from ending.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = stdin().read_line(&mut line);
        let _ = send.send(read.ok().filter(|bytes| *bytes > 0).map(|_| line));
    });
    tokio::select! {
        answer = answer => answer.ok().flatten(),
        _ = tokio::signal::ctrl_c() => {
            eprintln!();
            None
        }
    }
}

/// Says a thing to the person, beside what standard output is for.
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}
