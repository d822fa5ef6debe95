//! imin's key: read at the start, and again whenever its file changes.

use super::watchers::Stop;
use crate::{config, gate::Gate, imin::ApiKey};
use anyhow::Context;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

/// How often the file is read. Reading also sees what Kubernetes does (a link that changes), which
/// watching the file would not.
const EVERY: Duration = Duration::from_secs(1);

/// The key, now and at every change of its file; a change lets a paused worker try imin at once.
pub(super) fn watch(
    imin: &config::Imin,
    gate: Arc<Gate>,
) -> anyhow::Result<(watch::Receiver<ApiKey>, Option<Stop>)> {
    let key = ApiKey::new(imin.api_key.expose()).context("IMIN_API_KEY")?;
    let (sender, receiver) = watch::channel(key);
    let watching = imin.api_key_file.clone().map(|file| {
        Stop::on_drop(tokio::spawn(follow(file, imin.api_key.expose().to_owned(), sender, gate)))
    });
    Ok((receiver, watching))
}

async fn follow(file: PathBuf, mut last: String, sender: watch::Sender<ApiKey>, gate: Arc<Gate>) {
    loop {
        sleep(EVERY).await;
        // Missing for a moment while it is replaced: the old key stays.
        let Ok(text) = tokio::fs::read_to_string(&file).await else { continue };
        let text = text.trim().to_owned();
        if text == last {
            continue;
        }
        last.clone_from(&text);
        match ApiKey::new(&text) {
            Ok(key) => {
                info!("IMIN_API_KEY_FILE has changed, using the new key");
                sender.send_replace(key);
                gate.probe_now();
            }
            Err(error) => {
                warn!(%error, "IMIN_API_KEY_FILE has changed, but holds no usable key; keeping the old one");
            }
        }
    }
}
