//! OTLP over HTTP: spans as protobuf to a collector, and what its answers mean.
//!
//! Owns the resource, the sampler, the request and its headers, which are secret. When there is a request
//! is `export`'s.

use super::{SCHEMA, Spans, Tracer, queue};
use crate::{
    NAME, VERSION, authorities,
    retry::{Schedule, ScheduleError},
};
use bytes::Bytes;
use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider};
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider, SpanData},
};
use prost::Message;
use reqwest::{
    Certificate, Client, Method, Request, Response, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use url::Url;

pub use super::{export::Export, queue::OnDrop};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer longer than this is not read.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Where spans go, and what is said of who sends them. No `Debug`: the headers are secret.
pub struct Settings {
    /// The collector, up to what stands before `/v1/traces`.
    pub endpoint: Url,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// A PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `service.name`, where it is not the program's.
    pub service: Option<String>,
    /// `service.instance.id`.
    pub instance: String,
    /// More about the service; it may name itself here, too.
    pub resource: Vec<(String, String)>,
    /// The share of the traces that are taken where nobody has decided yet, or where nobody is asked.
    pub share: f64,
    /// Whether the sender of a message is asked: its decision holds.
    pub parent_based: bool,
    /// The broker's host and port.
    pub broker: (String, u16),
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of certificate authorities cannot be read.
    #[error("cannot read the certificate authorities in {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A header is none that HTTP takes. It may be secret, so it is not shown.
    #[error("a header for the collector cannot stand in a request")]
    Header,
    /// TLS, or the system's certificates, cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The waits between two tries make no schedule.
    #[error(transparent)]
    Waits(#[from] ScheduleError),
}

/// Starts the export. Needs a Tokio runtime; opens no connection yet.
pub fn start(settings: Settings, on_drop: OnDrop) -> Result<(Spans, Export), SetupError> {
    let resource = resource(&settings);
    let otlp = Otlp {
        client: client(&settings)?,
        url: traces(&settings.endpoint),
        headers: headers(&settings.headers)?,
        resource: (&resource).into(),
    };
    let waits = Schedule::new(Duration::from_secs(1), 2.0, 0.5, Duration::from_secs(10))?;
    let (queue, spans, open) = queue::new(Arc::clone(&on_drop));
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler(settings.share, settings.parent_based))
        .with_resource(resource)
        .with_span_processor(queue)
        .build();
    let scope = InstrumentationScope::builder(NAME).with_version(VERSION).with_schema_url(SCHEMA).build();
    let (host, port) = settings.broker;
    let tracer = Tracer { sdk: provider.tracer_with_scope(scope), broker: (host.into(), port) };
    Ok((Spans(Some(Arc::new(tracer))), Export::start(spans, otlp, waits, open, on_drop)))
}

fn resource(settings: &Settings) -> Resource {
    let more = settings.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let name = settings.service.iter().map(|name| KeyValue::new("service.name", name.clone()));
    // Of two that have one name the later stands.
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", NAME))
        .with_attribute(KeyValue::new("service.version", VERSION))
        .with_attribute(KeyValue::new("service.instance.id", settings.instance.clone()))
        .with_attributes(more)
        .with_attributes(name)
        .with_attribute(KeyValue::new("telemetry.sdk.language", "rust"))
        .with_attribute(KeyValue::new("telemetry.sdk.name", "opentelemetry"))
        .build()
}

fn sampler(share: f64, parent_based: bool) -> Sampler {
    let root = Sampler::TraceIdRatioBased(share);
    if parent_based { Sampler::ParentBased(Box::new(root)) } else { root }
}

fn traces(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

fn client(settings: &Settings) -> Result<Client, SetupError> {
    // An error says that somebody installed it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let extra = settings.ca_file.as_deref().map(trusted).transpose()?.unwrap_or_default();
    let builder = Client::builder()
        .user_agent(format!("{NAME}/{VERSION}"))
        .timeout(TIMEOUT)
        // A redirect would carry the headers elsewhere.
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never());
    builder.tls_certs_merge(extra).build().map_err(|error| SetupError::Client(error.without_url()))
}

fn trusted(path: &Path) -> Result<Vec<Certificate>, SetupError> {
    authorities::read(path).map_err(|source| SetupError::CaFile { path: path.into(), source })
}

fn headers(settings: &[(String, String)]) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    for (name, value) in settings {
        let mut value = HeaderValue::from_str(value).map_err(|_| SetupError::Header)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name).map_err(|_| SetupError::Header)?, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    Ok(headers)
}

/// The way to the collector.
pub(super) struct Otlp {
    client: Client,
    url: Url,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
}

/// Why spans were not taken.
pub(super) struct Failed {
    /// In words, without the URL.
    pub why: String,
    /// Whether to try again, and not before when.
    pub again: Option<Duration>,
}

impl Otlp {
    /// A batch as it is sent.
    pub(super) fn encode(&self, batch: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }

    /// Sends it once: how many spans the collector did not want.
    pub(super) async fn send(&self, body: Bytes) -> Result<u64, Failed> {
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers_mut().clone_from(&self.headers);
        *request.body_mut() = Some(body.into());
        match self.client.execute(request).await {
            Ok(answer) if answer.status().is_success() => Ok(rejected(answer).await),
            Ok(answer) => Err(refused(&answer)),
            Err(error) => Err(Failed { why: unanswered(&error).to_owned(), again: Some(Duration::ZERO) }),
        }
    }
}

fn unanswered(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "the collector does not answer in time"
    } else if error.is_connect() {
        "there is no connection to the collector"
    } else {
        "the connection to the collector broke"
    }
}

/// What is not to be tried again is what OTLP says: all but these four.
fn refused(answer: &Response) -> Failed {
    let status = answer.status();
    let passes = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let after = answer.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let again = passes.then(|| Duration::from_secs(after.unwrap_or_default()));
    Failed { why: format!("the collector answers {}", status.as_u16()), again }
}

async fn rejected(answer: Response) -> u64 {
    if answer.content_length().is_none_or(|length| length > LONGEST_ANSWER) {
        return 0;
    }
    let partial = match answer.bytes().await {
        Ok(body) => ExportTraceServiceResponse::decode(body).ok().and_then(|answer| answer.partial_success),
        Err(_) => None,
    };
    partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_below_the_endpoint() {
        for (endpoint, expected) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://otlp.example/here", "https://otlp.example/here/v1/traces"),
        ] {
            assert_eq!(traces(&Url::parse(endpoint).unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn headers_are_secret() {
        let headers = headers(&[("authorization".into(), "Bearer hunter2".into())]).unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
    }
}
