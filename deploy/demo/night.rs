//! The second act: dead letters at three in the morning, handled by the commands that a person types.
//!
//! Owns what is typed and what must come of it. The commands are the binary's own, their output is shown
//! as it is; only the choice of the letters is made for the person.

use crate::{
    Arguments, PATIENCE, ask, get, say, send, signups,
    watch::{End, How, Watch},
};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, process::Stdio};
use tokio::{process::Command, time::timeout};

/// Who ends as `outcome_unknown`: the one has an account at imin, the other has none.
const UNKNOWN: [(&str, &str); 2] = [("night-0001", "500-afterx1"), ("night-0002", "500x1")];

/// One night: what was done, and what became of it.
struct Night<'a> {
    arguments: &'a Arguments,
    watch: Watch,
    ends: Vec<End>,
}

/// Plays the act; what does not add up.
pub(crate) async fn tell(arguments: &Arguments) -> Result<Vec<String>> {
    let watch = Watch::begin(&arguments.amqp_url).await?;
    let mut night = Night { arguments, watch, ends: Vec::new() };
    let before = night.letters(&[]).await?.len();
    say("Two more signups, of whom nobody can know whether imin made the account (AMBIGUOUS=park)");
    night.two_unknown().await?;
    say("\nThree in the morning: what is there?");
    night.commands(&["list", "--group"]).await?;
    let mended = night.mend_an_event().await?
        + night.replay_once_imin_is_mended().await?
        + night.resolve_the_unknown().await?;
    say("\nWhat is left waits for the day:");
    night.commands(&["list", "--group"]).await?;
    night.complaints(before + UNKNOWN.len(), mended).await
}

impl Night<'_> {
    async fn two_unknown(&mut self) -> Result<()> {
        let file = self.arguments.directory.join("night.jsonl");
        let events: Vec<String> =
            UNKNOWN.iter().map(|(id, fault)| signups::troubled(id, fault).to_string()).collect();
        std::fs::write(&file, events.join("\n"))?;
        send(&self.arguments.worker, &file).await?;
        for _ in UNKNOWN {
            match self.end().await?.how {
                How::Dead { reason, .. } if reason == "outcome_unknown" => {}
                other => bail!("an unknown outcome was expected, not {other:?}"),
            }
        }
        Ok(())
    }

    /// One without an e-mail address: the member was asked for it.
    async fn mend_an_event(&mut self) -> Result<usize> {
        say("\nOne without an e-mail address. The member has told it:");
        let letters = self.letters(&["--reason", "invalid_event", "--problem", "/customer/email"]).await?;
        let key = key(letters.first().context("no letter without an e-mail address")?)?;
        self.commands(&["show", &key]).await?;
        let set = "/customer/email=asked-and-told@example.com";
        self.commands(&["edit", &key, "--set", set, "--why", "the member told it", "--yes"]).await?;
        self.created(1).await
    }

    /// Those whom imin refused, and those for whom it was busy, once it is mended.
    async fn replay_once_imin_is_mended(&mut self) -> Result<usize> {
        say("\nimin says that it has mended its rule, and is no longer busy:");
        let mended = r#"{"faults": [], "addresses": false}"#;
        let (status, body) = ask(self.arguments.sandbox, "PUT", "/sandbox/faults", mended).await?;
        if status != 200 {
            bail!("the sandbox cannot be mended: {status} {body}");
        }
        let mut done = 0;
        for reason in ["rejected_by_api", "retries_exhausted"] {
            let count = self.letters(&["--reason", reason]).await?.len();
            self.commands(&[
                "replay",
                "--reason",
                reason,
                "--canary",
                "1",
                "--why",
                "imin is mended",
                "--yes",
            ])
            .await?;
            done += self.created(count).await?;
        }
        Ok(done)
    }

    /// A person looks at imin, by what it has on record, and says what is there.
    async fn resolve_the_unknown(&mut self) -> Result<usize> {
        say("\nNobody knows what became of two. Somebody looks at imin: one has an account, one has none:");
        let accounts = accounts(self.arguments.sandbox).await?;
        let letters = self.letters(&["--reason", "outcome_unknown"]).await?;
        for letter in &letters {
            let key = key(letter)?;
            let found = accounts.get(&key).map(|identifier| ["--identifier", identifier]);
            let word = found.as_ref().map_or(&["--not-created"][..], |words| &words[..]);
            self.commands(&[&["resolve", &key], word, &["--why", "seen at imin", "--yes"]].concat()).await?;
        }
        self.created(letters.len()).await
    }

    /// Types a command and shows what it says.
    async fn commands(&self, arguments: &[&str]) -> Result<()> {
        let quoted = |word: &&str| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() };
        let line: Vec<String> = arguments.iter().map(quoted).collect();
        say(&format!("$ imin-customer-worker dead-letters {}", line.join(" ")));
        let mut command = Command::new(&self.arguments.worker);
        let status = command.arg("dead-letters").args(arguments).stdin(Stdio::null()).status().await?;
        if !status.success() {
            bail!("it failed: {status}");
        }
        Ok(())
    }

    /// What `list --json` tells of the letters that a filter finds.
    async fn letters(&self, filter: &[&str]) -> Result<Vec<Value>> {
        let mut command = Command::new(&self.arguments.worker);
        let command = command.args(["dead-letters", "list", "--json"]).args(filter).stdin(Stdio::null());
        let done = command.output().await?;
        if !done.status.success() {
            bail!("`dead-letters list` failed: {}", String::from_utf8_lossy(&done.stderr));
        }
        let text = String::from_utf8(done.stdout)?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    async fn end(&mut self) -> Result<End> {
        timeout(PATIENCE, self.watch.next()).await.context("nothing comes out any more")?
    }

    /// Waits for so many customers.
    async fn created(&mut self, count: usize) -> Result<usize> {
        for _ in 0..count {
            let end = self.end().await?;
            if !matches!(end.how, How::Created { .. }) {
                bail!("{} ended as {:?} again", end.id, end.how);
            }
            self.ends.push(end);
        }
        Ok(count)
    }

    async fn complaints(self, letters: usize, mended: usize) -> Result<Vec<String>> {
        let left = self.letters(&[]).await?.len();
        let accounts = accounts(self.arguments.sandbox).await?;
        let keys: std::collections::BTreeSet<&str> = self.ends.iter().map(|end| end.key.as_str()).collect();
        say(&format!("\n{letters} dead letters - {mended} that became customers = {left} left"));
        let mut complaints = Vec::new();
        if letters != left + mended {
            complaints.push(format!("{letters} letters, {mended} mended, {left} left"));
        }
        if keys.len() != mended {
            complaints.push(format!("{} customers of {mended} letters", keys.len()));
        }
        let missing = keys.iter().filter(|key| !accounts.contains_key(**key));
        complaints.extend(missing.map(|key| format!("{key} became a customer without an account")));
        Ok(complaints)
    }
}

fn key(letter: &Value) -> Result<String> {
    Ok(letter["key"].as_str().context("a letter without a key")?.to_owned())
}

/// The identifier of each account by the key of its event, as imin's own pages would show it.
async fn accounts(sandbox: SocketAddr) -> Result<BTreeMap<String, String>> {
    let (_, body) = get(sandbox, "/sandbox/accounts").await?;
    let body: Value = serde_json::from_str(&body)?;
    let accounts = body["accounts"].as_array().context("the sandbox lists no accounts")?;
    let pair = |account: &Value| {
        Some((account["idempotencyKey"].as_str()?.to_owned(), account["identifier"].as_str()?.to_owned()))
    };
    Ok(accounts.iter().filter_map(pair).collect())
}
