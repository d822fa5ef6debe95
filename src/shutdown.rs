//! Two phases of stopping: drain on the first signal, abort on the second.
//!
//! Owns the signals and the two tokens. What draining means, and how long it may take, is the
//! business of whoever holds them.

use futures_util::{Stream, StreamExt, stream};
use std::{io, task::Poll};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two phases. A clone tells of the same signals.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing new, finish what is under way.
    pub drain: CancellationToken,
    /// Let go of everything, now. Implies `drain`.
    pub abort: CancellationToken,
}

impl Shutdown {
    /// Follows SIGTERM and SIGINT from now on: the first drains, the second aborts.
    /// Needs a Tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::default();
        let signals = stream::poll_fn(move |context| match terminate.poll_recv(context) {
            Poll::Ready(got) => Poll::Ready(got.map(|()| "SIGTERM")),
            Poll::Pending => interrupt.poll_recv(context).map(|got| got.map(|()| "SIGINT")),
        });
        tokio::spawn(shutdown.clone().follow(signals));
        Ok(shutdown)
    }

    /// Takes one signal, and another.
    async fn follow(self, mut signals: impl Stream<Item = &'static str> + Unpin) {
        let Some(signal) = signals.next().await else { return };
        tracing::info!(signal, "stopping: finishing what is under way; a second signal aborts");
        self.drain.cancel();
        let Some(signal) = signals.next().await else { return };
        tracing::warn!(signal, "aborting");
        self.abort.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::Shutdown;
    use futures_util::stream;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_aborts() {
        let (send, mut receive) = mpsc::channel(1);
        let shutdown = Shutdown::default();
        let signals = async {
            send.send("SIGTERM").await.expect("follower");
            shutdown.drain.cancelled().await;
            assert!(!shutdown.abort.is_cancelled(), "one signal must not abort");
            send.send("SIGINT").await.expect("follower");
            shutdown.abort.cancelled().await;
        };
        tokio::join!(
            shutdown.clone().follow(stream::poll_fn(move |context| receive.poll_recv(context))),
            signals
        );
    }
}
