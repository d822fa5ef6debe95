//! The spans of an event: which there are, how they hang together, and how one ends.
//!
//! Owns the handle through which they are made. Where nothing is exported a span is nothing, and making
//! one costs a look at an option; so it is for a message whose sender chose not to have it sampled, which
//! passes with the trace it came with. What stands in a span is `messaging`'s and `http`'s, after version
//! 1.42.0 of OpenTelemetry's semantic conventions: never a value of an event. The way out is `otlp`'s.

use crate::event::Trace;
use opentelemetry::{
    Context, KeyValue, StringValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId,
        Tracer as _,
    },
};
use opentelemetry_sdk::trace::SdkTracer;
use std::sync::Arc;

mod export;
pub mod http;
pub mod messaging;
pub mod otlp;
mod queue;

/// The version of the semantic conventions, as a schema that collectors know.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.42.0";

/// Where spans come from. By default there are none.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Tracer>>);

struct Tracer {
    sdk: SdkTracer,
    /// The broker's host and port.
    broker: (Arc<str>, u16),
}

/// Something under way that will be told of, or nothing. Dropped before its end is told, it says so.
#[derive(Default)]
pub struct Span(Option<Box<Live>>);

struct Live {
    place: Place,
    sdk: opentelemetry_sdk::trace::Span,
    /// Whether its end has been told.
    told: bool,
}

/// What a span is the parent by; it may outlive it.
#[derive(Clone, Default)]
pub struct Parent(Option<Place>);

#[derive(Clone)]
struct Place {
    tracer: Arc<Tracer>,
    context: SpanContext,
    /// `tracestate` as it came: nobody here has anything to add.
    state: Option<String>,
}

impl Spans {
    /// A span below the trace that a message brought, or at the root of one.
    fn root(&self, trace: &Trace, builder: impl FnOnce(&Tracer) -> SpanBuilder) -> Span {
        let Some(tracer) = &self.0 else { return Span::default() };
        let came = remote(trace);
        let above =
            came.clone().map_or_else(Context::new, |came| Context::new().with_remote_span_context(came));
        let span = Span::start(tracer, builder(tracer), &above, trace.state.clone());
        // Not sampled: the sender's own word goes on, as though nobody looked. At a root the word is ours.
        if came.is_some() && !span.is_recording() { Span::default() } else { span }
    }
}

impl Span {
    fn start(tracer: &Arc<Tracer>, builder: SpanBuilder, above: &Context, state: Option<String>) -> Self {
        let sdk = tracer.sdk.build_with_context(builder, above);
        let place = Place { tracer: Arc::clone(tracer), context: sdk.span_context().clone(), state };
        Self(Some(Box::new(Live { place, sdk, told: false })))
    }

    /// From which its children start.
    pub fn parent(&self) -> Parent {
        Parent(self.0.as_ref().map(|live| live.place.clone()))
    }

    /// What to pass on instead of the trace that came; none where that stays as it is.
    pub fn trace(&self) -> Option<Trace> {
        let Place { context, state, .. } = &self.0.as_ref()?.place;
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
        Some(Trace { parent: Some(format!("00-{trace}-{span}-{flags:02x}")), state: state.clone() })
    }

    fn is_none(&self) -> bool {
        self.0.is_none()
    }

    fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(|live| live.sdk.is_recording())
    }

    fn set(&mut self, attribute: KeyValue) {
        if let Some(live) = &mut self.0 {
            live.sdk.set_attribute(attribute);
        }
    }

    /// It has ended, with this class of error if with any.
    fn told(&mut self, error: Option<StringValue>) {
        if let Some(live) = &mut self.0 {
            live.told(error);
        }
    }
}

impl Live {
    fn told(&mut self, error: Option<StringValue>) {
        self.told = true;
        if let Some(error) = error {
            self.sdk.set_attribute(KeyValue::new("error.type", error));
            self.sdk.set_status(Status::error(""));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.told {
            self.told(Some("abandoned".into()));
        }
    }
}

impl Parent {
    fn child(&self, builder: impl FnOnce(&Tracer) -> SpanBuilder) -> Span {
        let Some(Place { tracer, context, state }) = &self.0 else { return Span::default() };
        let above = Context::new().with_remote_span_context(context.clone());
        Span::start(tracer, builder(tracer), &above, state.clone())
    }
}

/// The span that a message names as its parent.
fn remote(trace: &Trace) -> Option<SpanContext> {
    let mut fields = trace.parent.as_deref()?.split('-').skip(1);
    let trace_id = TraceId::from_hex(fields.next()?).ok()?;
    let span_id = SpanId::from_hex(fields.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(fields.next()?, 16).ok()?);
    let state = trace.state.as_deref().and_then(|state| state.parse().ok()).unwrap_or_default();
    Some(SpanContext::new(trace_id, span_id, flags, true, state)).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests;
