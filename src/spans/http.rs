//! What stands in a span about a call over HTTP.
//!
//! Owns the conventions for HTTP clients. The URL is one that the settings allow: it holds no secret.

use super::{Parent, Span};
use opentelemetry::{
    KeyValue,
    trace::{SpanBuilder, SpanKind},
};
use std::{borrow::Cow, sync::Arc};
use url::Url;

/// What is called, always by `POST`.
#[derive(Clone)]
pub struct Target {
    url: Arc<str>,
    template: &'static str,
    host: Arc<str>,
    port: Option<u16>,
}

impl Target {
    /// `url`, whose last part that never varies is `template`.
    pub fn new(url: &Url, template: &'static str) -> Self {
        let host = url.host_str().unwrap_or_default().into();
        Self { url: url.as_str().into(), template, host, port: url.port_or_known_default() }
    }
}

impl Parent {
    /// The span of one call; `resends`: how many went before it for the same event.
    pub fn call(&self, target: &Target, resends: u32) -> Span {
        self.child(|_| {
            let mut attributes = vec![
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("url.full", Arc::clone(&target.url)),
                KeyValue::new("url.template", target.template),
                KeyValue::new("server.address", Arc::clone(&target.host)),
            ];
            if let Some(port) = target.port {
                attributes.push(KeyValue::new("server.port", i64::from(port)));
            }
            if resends > 0 {
                attributes.push(KeyValue::new("http.request.resend_count", i64::from(resends)));
            }
            let name = format!("POST {}", target.template);
            SpanBuilder::from_name(name).with_kind(SpanKind::Client).with_attributes(attributes)
        })
    }
}

impl Span {
    /// The call has ended: the status of an answer, where one began, and what was wrong, if anything.
    pub fn answered(&mut self, status: Option<u16>, error: impl FnOnce() -> Option<Cow<'static, str>>) {
        if self.is_none() {
            return;
        }
        if let Some(status) = status {
            self.set(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        self.told(error().map(Into::into));
    }
}
