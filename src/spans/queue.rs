//! Where spans wait for their export: a queue with an end, which nobody ever waits for.
//!
//! Owns what is counted when it is full. What takes spans out of it is `export`'s.

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// How many spans may wait: some seconds of a busy worker's, a few megabytes.
const MOST: usize = 8192;

/// Told of spans that are lost, and how many.
pub type OnDrop = Arc<dyn Fn(u64) + Send + Sync>;

/// How many spans are neither exported nor lost yet.
#[derive(Clone, Default)]
pub(super) struct Open(Arc<AtomicU64>);

impl Open {
    /// So many are no longer.
    pub(super) fn done(&self, spans: u64) {
        self.0.fetch_sub(spans, Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The way into the queue.
pub(super) struct Queue {
    sender: mpsc::Sender<SpanData>,
    open: Open,
    on_drop: OnDrop,
}

/// An empty queue, and its other end.
pub(super) fn new(on_drop: OnDrop) -> (Queue, mpsc::Receiver<SpanData>, Open) {
    let ((sender, receiver), open) = (mpsc::channel(MOST), Open::default());
    (Queue { sender, open: open.clone(), on_drop }, receiver, open)
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        // Before it is sent: whoever takes it out subtracts it.
        self.open.0.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(span).is_err() {
            self.open.done(1);
            (self.on_drop)(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// Nothing to do: the export has an end of its own, which is awaited and bounded.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanBuilder, Tracer, TracerProvider};
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    #[test]
    fn a_full_queue_drops_and_counts_and_holds_nobody_up() {
        let dropped = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&dropped);
        let on_drop: OnDrop = Arc::new(move |spans| {
            counting.fetch_add(spans, Ordering::Relaxed);
        });
        let (queue, receiver, open) = new(on_drop);
        let provider =
            SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(queue).build();
        let tracer = provider.tracer("test");
        for _ in 0..MOST + 5 {
            drop(tracer.build_with_context(SpanBuilder::from_name("x"), &Context::new()));
        }
        assert_eq!((receiver.len(), open.count()), (MOST, MOST as u64));
        assert_eq!(dropped.load(Ordering::Relaxed), 5);
    }
}
