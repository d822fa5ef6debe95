//! The end of an event that an operator replayed: counted, and told to whoever watches.

use super::Pipeline;
use crate::{
    broker::Publication,
    event::EventKey,
    letters::{self, replay},
    message::Message,
    outcome::Disposition,
};
use tracing::debug;

impl Pipeline {
    /// Counts the end of a replayed event; the word to whoever watches it, where somebody does.
    pub(super) fn count_replay(
        &self,
        message: &Message,
        key: EventKey,
        disposition: Disposition,
    ) -> Option<Publication> {
        let ends = matches!(disposition, Disposition::Complete(_) | Disposition::DeadLetter(_));
        let outcome = disposition
            .label()
            .filter(|_| ends && letters::is_ours(message) && replay::replays(message) > 0)?;
        self.metrics.replays.with_label_values(&[outcome]).inc();
        replay::ended(&self.settings.names, message, key, outcome)
    }

    /// Tells whoever watches. Once, and whether it arrives or not: the watcher may be gone, and what is
    /// to be remembered is in the ledger and in the queues.
    pub(super) async fn tell_watcher(&self, word: Publication) {
        if let Err(error) = self.publisher.publish(word.into()).await {
            debug!(%error, "nobody watches this replay any more");
        }
    }
}
