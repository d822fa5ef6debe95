//! What is passed on, by what was decided about a trace; what stands in a span is tested from outside.

use super::*;
use crate::{event::EventKey, outcome::Disposition, spans::messaging::Received};
use jiff::Timestamp;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanProcessor},
};
use std::{sync::Mutex, time::Duration};
use uuid::Uuid;

const TAKEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_TAKEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Keeps every span that ends.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Kept {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().expect("no panic under it").push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn spans(sampler: Sampler) -> (Spans, Kept) {
    let kept = Kept::default();
    let provider =
        SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(kept.clone()).build();
    let tracer = Tracer { sdk: provider.tracer("test"), broker: ("broker.example".into(), 5672) };
    (Spans(Some(Arc::new(tracer))), kept)
}

fn parent_based(root: Sampler) -> Sampler {
    Sampler::ParentBased(Box::new(root))
}

fn process(spans: &Spans, parent: Option<&str>) -> Span {
    let trace = Trace { parent: parent.map(str::to_owned), state: parent.map(|_| "vendor=1,,b=2".into()) };
    let (exchange, routing_key, queue) = ("customers", "customer.create", "customers.create");
    let (key, at) = (EventKey(Uuid::from_u128(7)), Timestamp::UNIX_EPOCH);
    spans.process(&Received { key, trace: &trace, exchange, routing_key, queue, at })
}

#[test]
fn without_an_export_nothing_is_made_and_nothing_passed_on() {
    let span = process(&Spans::default(), Some(TAKEN));
    assert!(span.is_none() && span.trace().is_none());
    assert!(span.parent().send("a", "b", EventKey(Uuid::nil())).is_none());
}

#[test]
fn a_child_passes_on_the_trace_and_itself() {
    let (spans, kept) = spans(parent_based(Sampler::AlwaysOff));
    let mut span = process(&spans, Some(TAKEN));
    let mut child = span.parent().send("a", "b", EventKey(Uuid::nil()));
    let trace = child.trace().expect("a trace of its own");
    assert_eq!(trace.state.as_deref(), Some("vendor=1,,b=2"), "as it came");
    child.confirmed(true);
    span.settled(Disposition::Release);
    drop((child, span));
    let kept = kept.0.lock().unwrap();
    let [sent, processed] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(processed.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(sent.parent_span_id, processed.span_context.span_id());
    let own = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", sent.span_context.span_id());
    assert_eq!(trace.parent, Some(own));
}

#[test]
fn what_a_sender_did_not_want_taken_passes_as_it_came() {
    for sampler in [parent_based(Sampler::AlwaysOn), Sampler::AlwaysOff] {
        let (spans, kept) = spans(sampler);
        let span = process(&spans, Some(NOT_TAKEN));
        assert!(span.is_none() && span.parent().send("a", "b", EventKey(Uuid::nil())).trace().is_none());
        assert!(kept.0.lock().unwrap().is_empty());
    }
}

#[test]
fn a_root_that_is_not_taken_says_so_to_whoever_follows() {
    let (spans, kept) = spans(parent_based(Sampler::AlwaysOff));
    let span = process(&spans, None);
    let child = span.parent().send("a", "b", EventKey(Uuid::nil()));
    let (above, below) = (span.trace().unwrap().parent.unwrap(), child.trace().unwrap().parent.unwrap());
    assert!(above.ends_with("-00") && below.ends_with("-00"), "{above} {below}");
    assert_eq!(above[..35], below[..35], "one trace");
    drop((span, child));
    assert!(kept.0.lock().unwrap().is_empty());
}

#[test]
fn a_span_whose_end_nobody_told_says_so() {
    let (spans, kept) = spans(Sampler::AlwaysOn);
    drop(process(&spans, None));
    let kept = kept.0.lock().unwrap();
    assert!(kept[0].attributes.contains(&KeyValue::new("error.type", "abandoned")));
    assert_eq!(kept[0].status, Status::error(""));
}
