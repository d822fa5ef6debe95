//! A collector of spans: takes OTLP over HTTP, and keeps what it got, or answers as it is told, or never.

use super::worker::PATIENCE;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind, status::StatusCode as Status},
};
use prost::Message;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

/// The collector; dropped, it stops.
pub(crate) struct Collector {
    addr: SocketAddr,
    state: Arc<Inner>,
    serving: JoinHandle<()>,
}

/// How it answers.
#[derive(Clone, Copy)]
pub(crate) enum Answers {
    /// With this status.
    Status(u16),
    /// Never.
    Never,
}

struct Inner {
    answers: Mutex<Answers>,
    requests: Mutex<Vec<(HeaderMap, Bytes)>>,
    /// How many requests came, and how many spans were taken.
    count: watch::Sender<(usize, usize)>,
}

impl Collector {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(Inner {
            answers: Mutex::new(Answers::Status(200)),
            requests: Mutex::default(),
            count: watch::Sender::new((0, 0)),
        });
        let routes = Router::new().route("/below/v1/traces", post(take)).with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { addr, state, serving }
    }

    /// What to put into `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/below/", self.addr)
    }

    /// From now on it answers so.
    pub(crate) fn answers(&self, answers: Answers) {
        *self.state.answers.lock().expect("no panic under it") = answers;
    }

    /// Waits for so many requests in all.
    pub(crate) async fn requests(&self, count: usize) {
        self.wait(|(requests, _)| requests >= count).await;
    }

    /// Waits for so many spans in all, and returns those that it has, in the order of their ends.
    pub(crate) async fn spans(&self, count: usize) -> Vec<Seen> {
        self.wait(|(_, spans)| spans >= count).await;
        let requests = self.state.requests.lock().expect("no panic under it");
        let mut spans: Vec<Seen> = requests.iter().flat_map(|(_, body)| seen(body)).collect();
        spans.sort_by_key(|seen| seen.span.end_time_unix_nano);
        spans
    }

    async fn wait(&self, reached: impl Fn((usize, usize)) -> bool) {
        let mut count = self.state.count.subscribe();
        let waiting = timeout(PATIENCE, count.wait_for(|count| reached(*count)));
        assert!(waiting.await.is_ok(), "{:?} requests and spans", *self.state.count.borrow());
    }

    /// How many requests came.
    pub(crate) fn count(&self) -> usize {
        self.state.count.borrow().0
    }

    /// Everything that came, headers included, as text.
    pub(crate) fn heard(&self) -> String {
        let requests = self.state.requests.lock().expect("no panic under it");
        requests
            .iter()
            .map(|(headers, body)| format!("{headers:?} {}", String::from_utf8_lossy(body)))
            .collect()
    }

    /// A header of the first request.
    pub(crate) fn header(&self, name: &str) -> String {
        let requests = self.state.requests.lock().expect("no panic under it");
        requests[0].0[name].to_str().expect("ASCII").to_owned()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(state): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let answers = *state.answers.lock().expect("no panic under it");
    let taken = if matches!(answers, Answers::Status(200)) { seen(&body).len() } else { 0 };
    state.requests.lock().expect("no panic under it").push((headers, body));
    state.count.send_modify(|(requests, spans)| {
        *requests += 1;
        *spans += taken;
    });
    match answers {
        Answers::Status(status) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [(header::CONTENT_TYPE, "application/x-protobuf")]).into_response()
        }
        Answers::Never => std::future::pending().await,
    }
}

/// A span as the collector saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) span: Span,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) schema: String,
}

impl Seen {
    pub(crate) fn kind(&self) -> SpanKind {
        self.span.kind()
    }

    /// `trace id-span id`, as in a `traceparent`.
    pub(crate) fn place(&self) -> String {
        format!("{}-{}", hex(&self.span.trace_id), hex(&self.span.span_id))
    }

    /// The same of its parent.
    pub(crate) fn parent(&self) -> String {
        format!("{}-{}", hex(&self.span.trace_id), hex(&self.span.parent_span_id))
    }

    /// Whether it says that something failed.
    pub(crate) fn failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == Status::Error)
    }

    /// An attribute, or nothing.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

fn seen(body: &[u8]) -> Vec<Seen> {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let mut all = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = texts(&resource_spans.resource.unwrap_or_else(Resource::default).attributes);
        for scope in resource_spans.scope_spans {
            all.extend(scope.spans.into_iter().map(|span| Seen {
                resource: resource.clone(),
                attributes: texts(&span.attributes),
                schema: scope.schema_url.clone(),
                span,
            }));
        }
    }
    all
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for KeyValue { key, value, .. } in attributes {
        let text = match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{key} is {other:?}"),
        };
        assert!(texts.insert(key.clone(), text).is_none(), "{key} twice");
    }
    texts
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
