//! Attempts on record that nobody will end otherwise: a living worker would hold their events for ever.

use super::tireless::Tireless;
use crate::{
    event::EventKey,
    ledger::{Begun, Finish, Intent, Ledger, LedgerError},
    shutdown::Shutdown,
};
use std::sync::Arc;
use tokio::runtime::Handle;
use tracing::warn;

/// An attempt that is on record and not ended. Dropped, by a panic, it ends as one of which nobody
/// knows: the event would be held by this worker for as long as that lives otherwise.
pub(super) struct Open<'a> {
    ledger: &'a Arc<dyn Ledger>,
    key: Option<EventKey>,
}

impl<'a> Open<'a> {
    pub(super) fn new(ledger: &'a Arc<dyn Ledger>, key: EventKey) -> Self {
        Self { ledger, key: Some(key) }
    }

    /// It has ended.
    pub(super) fn end(mut self) {
        self.key = None;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let (Some(key), Ok(runtime)) = (self.key, Handle::try_current()) else { return };
        let ledger = Arc::clone(self.ledger);
        runtime.spawn(async move {
            if let Err(error) = ledger.finish(key, Finish::Unknown).await {
                warn!(%error, "an attempt without an end stays open");
            }
        });
    }
}

/// Takes back an attempt of which the ledger never said whether it is on record, while its message goes
/// elsewhere: nobody has called for it. It is begun once more first, so that no other delivery of the
/// event can be calling here meanwhile.
pub(super) fn take_back(ledger: &Arc<dyn Ledger>, intent: Intent, shutdown: &Shutdown) {
    let (ledger, abort) = (Arc::clone(ledger), shutdown.abort.clone());
    tokio::spawn(async move {
        abort.run_until_cancelled(begin_and_end(&*ledger, intent)).await;
    });
}

async fn begin_and_end(ledger: &dyn Ledger, intent: Intent) {
    let begun = until_heard(|| ledger.begin(intent.clone())).await;
    if let Begun::Go { .. } = begun {
        until_heard(|| ledger.finish(intent.key, Finish::NothingMade)).await;
    }
}

/// Asks until the ledger answers.
async fn until_heard<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, LedgerError>>,
{
    let mut tireless = Tireless::new();
    loop {
        if let Ok(answer) = ask().await {
            return answer;
        }
        tireless.wait().await;
    }
}
