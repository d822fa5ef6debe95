//! The operator's editor on a body: a file for its owner alone, gone when the editor is.

use super::{Desk, tell_problems};
use crate::{
    config::{Process, Surroundings},
    dead_letters::edit::{self, Edited},
    message::Message,
};
use anyhow::{Context, bail};
use jiff::civil::Date;
use std::{
    ffi::OsString,
    fs::{DirBuilder, File},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};
use uuid::Uuid;

/// A directory for its owner alone, removed at the end.
struct Private(PathBuf);

impl Private {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("{}-{}", crate::NAME, Uuid::new_v4()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // What cannot be removed is still its owner's alone.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens the editor until the worker would take the letter. None where nothing was changed; an error where
/// nobody wants to go on.
pub(super) async fn edit(desk: &Desk<'_>, letter: &Message, today: Date) -> anyhow::Result<Option<Edited>> {
    if !desk.terminal.has_person() {
        bail!("nobody is here to edit it: say --set or --patch");
    }
    let key = crate::dead_letters::letter::Letter::read(letter, today);
    desk.note_reveal(&key)?;
    let private = Private::new().context("a temporary directory cannot be made")?;
    let file = private.0.join("body.json");
    File::create_new(&file)
        .and_then(|mut file| file.write_all(&letter.body))
        .context("the temporary file cannot be written")?;
    loop {
        open(&file).await?;
        let body = std::fs::read(&file).context("the edited file cannot be read")?;
        if same(&body, &letter.body) {
            return Ok(None);
        }
        let edited = edit::edited(letter, body, today);
        if edited.problems.is_empty() {
            return Ok(Some(edited));
        }
        tell_problems(desk, &edited);
        desk.terminal.confirm("Edit it again?", false).await?;
    }
}

/// Whether nothing but the newline changed that editors put at the end of a file.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.strip_suffix(b"\n").unwrap_or(one) == other.strip_suffix(b"\n").unwrap_or(other)
}

/// Runs the editor. It may be a command with arguments, so that a shell reads it.
async fn open(file: &PathBuf) -> anyhow::Result<()> {
    let set = |name| Process.env(name).filter(|value| !value.is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| OsString::from("vi"));
    // A Ctrl-C is the editor's; without somebody who takes it here, it would end this process.
    let _ours = signal(SignalKind::interrupt())?;
    let mut line = editor.clone();
    line.push(" \"$1\"");
    let status = Command::new("sh").arg("-c").arg(line).arg("sh").arg(file).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("the editor {} ended with {status}, so nothing is done", editor.display()),
        Err(error) => bail!("the editor {} cannot be run: {error}", editor.display()),
    }
}
