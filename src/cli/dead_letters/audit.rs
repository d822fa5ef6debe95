//! Where the audit lines go: standard error, and a file where one is named.

use crate::{
    config::{Process, Surroundings},
    dead_letters::audit::{Who, lines},
    event::EventKey,
};
use anyhow::Context;
use jiff::Timestamp;
use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Whose deeds are written down, and where.
pub(super) struct Audit {
    who: Who,
    file: Option<PathBuf>,
}

impl Audit {
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self { who: who(&Process), file: file.map(Path::to_owned) }
    }

    /// Writes an action down, before it is done. An error means that it must not be done.
    pub(super) fn write(
        &self,
        action: &str,
        now: Timestamp,
        why: Option<&str>,
        keys: &[EventKey],
    ) -> anyhow::Result<()> {
        let mut text = lines(action, &self.who, now, why, keys).join("\n");
        text.push('\n');
        if let Some(path) = &self.file {
            let mut options = OpenOptions::new();
            let opened = options.append(true).create(true).mode(0o600).open(path);
            opened
                .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_data()))
                .with_context(|| format!("{} cannot be written, so nothing is done", path.display()))?;
        }
        let written = std::io::stderr().write_all(text.as_bytes());
        written.context("standard error cannot be written, so nothing is done")
    }
}

/// The user of the operating system, and for whom `sudo` made him another.
fn who(outside: &impl Surroundings) -> Who {
    let own = std::fs::metadata("/proc/self").ok().map(|own| own.uid());
    let users = outside.read(Path::new("/etc/passwd")).unwrap_or_default();
    let name = own.map_or_else(|| "unknown".to_owned(), |uid| name(&users, uid));
    match outside.env("SUDO_USER").and_then(|user| user.into_string().ok()) {
        Some(user) if user != name => Who(format!("{name} (sudo by {user})")),
        _ => Who(name),
    }
}

fn name(users: &str, uid: u32) -> String {
    let known = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    known.unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsString, io};

    struct Outside(Option<&'static str>);

    impl Surroundings for Outside {
        fn env(&self, name: &str) -> Option<OsString> {
            (name == "SUDO_USER").then_some(self.0?.into())
        }
        fn read(&self, _: &Path) -> io::Result<String> {
            let own = std::fs::metadata("/proc/self").expect("a process").uid();
            Ok(format!("root:x:4294967294:0::/:\nalice:x:{own}:0::/:\n"))
        }
        fn terminal(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_deed_has_a_name_to_it() {
        assert_eq!(who(&Outside(None)), Who("alice".into()));
        assert_eq!(who(&Outside(Some("bob"))), Who("alice (sudo by bob)".into()));
        assert_eq!(name("", 7), "uid 7");
    }

    #[test]
    fn a_deed_that_cannot_be_written_down_is_an_error_and_a_file_is_the_owners() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.jsonl");
        let audit = |path: &Path| Audit::new(Some(path)).write("reveal", Timestamp::UNIX_EPOCH, None, &[]);
        audit(&path).expect("written");
        audit(&path).expect("appended");
        assert_eq!(std::fs::read_to_string(&path).expect("text").lines().count(), 2);
        assert_eq!(std::fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        let error = audit(dir.path()).expect_err("a directory").to_string();
        assert!(error.contains("nothing is done"), "{error}");
    }
}
