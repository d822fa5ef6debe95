//! What a person sees while `send` works: a bar on a terminal, and complaints as lines.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::path::PathBuf;

/// A bar over all bytes where their number is known, otherwise a count. Hidden without a terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A bar over the files' sizes; standard input has none.
    pub(super) async fn over(files: &[PathBuf]) -> Self {
        let mut total = Some(0);
        for path in files {
            let size = tokio::fs::metadata(path)
                .await
                .ok()
                .filter(std::fs::Metadata::is_file)
                .map(|file| file.len());
            total = total.zip(size).map(|(total, size)| total + size);
        }
        let (bar, template) = match total {
            Some(total) => {
                (ProgressBar::new(total), "{bar:40} {percent}% {msg} {elapsed} (about {eta} left)")
            }
            None => (ProgressBar::no_length(), "{spinner} {msg} {elapsed}"),
        };
        // The templates are ours; one that were wrong would cost the bar only.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bar.with_style(style).with_finish(ProgressFinish::AndClear))
    }

    /// Says that so many more bytes have been read.
    pub(super) fn read(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Says how many have been confirmed.
    pub(super) fn sent(&self, count: u64) {
        // The message is text: not one for every event.
        if count.is_multiple_of(100) {
            self.0.set_message(format!("{count} sent"));
        }
    }

    /// Writes a line without harm to the bar.
    pub(super) fn say(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
