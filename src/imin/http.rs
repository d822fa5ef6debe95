//! imin over HTTP: the one reqwest client, its settings, and what a call that broke means.
//!
//! Owns the request's headers and the question whether a call may have arrived. What an answer
//! means once it is here is `classify`'s; when to call again is nobody's in here: one call, one answer.

use super::{
    Accounts, ApiKey, Create,
    classify::{self, Heard},
    status_label,
};
use crate::{
    NAME, VERSION, authorities, clock,
    event::Trace,
    outcome::{Ambiguity, Answer, NotDone},
    spans::http::Target,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame, SizeHint};
use reqwest::{
    Certificate, Client, Request, Response,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use std::{
    borrow::Cow,
    convert::Infallible,
    error::Error,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use url::Url;

pub mod look;

/// The longest body of an answer that is read, in bytes; imin mirrors a request, which is far shorter.
const LONGEST_BODY: usize = 256 * 1024;
/// How long the body of an answer may take at the least: it is there with the status, and who asks may
/// have been stopped for a moment. The account it names cannot be asked for again.
const BODY: Duration = Duration::from_secs(1);
/// How long a connection may idle in the pool. Shorter than the five seconds after which common
/// servers hang up: a request that meets the hang-up halfway is ambiguous, a new connection is not.
const IDLE: Duration = Duration::from_secs(4);
/// Where the key goes.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Where the event's key goes (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How to reach imin. No `Debug`: the URL may hold a password.
#[derive(Clone)]
pub struct Settings {
    /// The API's root, `https://book.imin.co/api/v2`.
    pub base_url: Url,
    /// The longest a call may take, from the connection to the last byte of the answer; for the body of
    /// one that comes at the last moment, a second more.
    pub timeout: Duration,
    /// The longest that the connection and the TLS handshake may take.
    pub connect_timeout: Duration,
    /// A PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How many idle connections to keep: as many as there can be calls at once.
    pub pool: usize,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The base URL is not `http` or `https`. It may hold a password, so it is not shown.
    #[error("imin's base URL must be an http or https URL")]
    BaseUrl,
    /// The file of certificate authorities cannot be read.
    #[error("cannot read the certificate authorities in {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS, or the system's certificates, cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// imin, over HTTP.
pub struct Imin {
    client: Client,
    endpoint: Url,
    timeout: Duration,
    target: Target,
    key: watch::Receiver<ApiKey>,
}

impl Imin {
    /// A client that reads the key anew for every call. Opens no connection yet.
    pub fn new(settings: &Settings, key: watch::Receiver<ApiKey>) -> Result<Self, SetupError> {
        let endpoint = endpoint(&settings.base_url)?;
        let target = Target::new(&endpoint, "/customer-accounts");
        let client = client(settings, None)?;
        Ok(Self { client, endpoint, timeout: settings.timeout, target, key })
    }

    async fn call(&self, create: &Create) -> Answer {
        let sent = Sent::default();
        let mut span = create.parent.call(&self.target, create.resends);
        let trace = span.trace();
        let request = self.request(create, trace.as_ref().unwrap_or(&create.trace), &sent);
        let (status, answer) = match request {
            Some(request) => self.ask(request, &sent, &create.body).await,
            // A key that cannot stand in a header is as good as one that imin refuses.
            None => (None, Answer::Misconfigured { status: 401 }),
        };
        span.answered(status, || error_type(&answer));
        answer
    }

    async fn ask(&self, request: Request, sent: &Sent, body: &[u8]) -> (Option<u16>, Answer) {
        let deadline = Instant::now() + self.timeout;
        match timeout_at(deadline, self.client.execute(request)).await {
            Ok(Ok(response)) => (Some(response.status().as_u16()), hear(response, body, deadline).await),
            Ok(Err(error)) => (None, unanswered(&error.without_url(), sent)),
            Err(_) => (None, late(sent)),
        }
    }

    fn request(&self, create: &Create, trace: &Trace, sent: &Sent) -> Option<Request> {
        let mut key = HeaderValue::from_str(self.key.borrow().reveal()).ok()?;
        key.set_sensitive(true);
        let mut request = Request::new(reqwest::Method::POST, self.endpoint.clone());
        let headers = request.headers_mut();
        headers.insert(API_KEY, key);
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(&format!("\"{}\"", create.key)).ok()?);
        pass_on(trace, headers);
        let body = Watched { body: Some(create.body.clone()), sent: sent.clone() };
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        Some(request)
    }
}

impl Accounts for Imin {
    fn create(&self, request: Create) -> BoxFuture<'_, Answer> {
        Box::pin(async move { self.call(&request).await })
    }
}

/// A client whose requests may take this long as a whole.
fn client(settings: &Settings, timeout: Option<Duration>) -> Result<Client, SetupError> {
    // An error says that somebody installed it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json.clone()), (header::ACCEPT, json)]);
    let builder = Client::builder()
        .user_agent(format!("{NAME}/{VERSION}"))
        .default_headers(headers)
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(settings.pool)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        // A redirect would carry the key and the customer elsewhere.
        .redirect(redirect::Policy::none())
        .referer(false)
        // Whether to call again is for the one who counts the attempts.
        .retry(reqwest::retry::never());
    let extra = settings.ca_file.as_deref().map(trusted).transpose()?.unwrap_or_default();
    let builder = match timeout {
        Some(timeout) => builder.timeout(timeout),
        None => builder,
    };
    builder.tls_certs_merge(extra).build().map_err(|error| SetupError::Client(error.without_url()))
}

fn trusted(path: &Path) -> Result<Vec<Certificate>, SetupError> {
    authorities::read(path).map_err(|source| SetupError::CaFile { path: path.into(), source })
}

fn endpoint(base: &Url) -> Result<Url, SetupError> {
    let mut url = base.clone();
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SetupError::BaseUrl);
    }
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| SetupError::BaseUrl)?.pop_if_empty().push("customer-accounts");
    Ok(url)
}

fn pass_on(trace: &Trace, headers: &mut HeaderMap) {
    let fields = [("traceparent", &trace.parent), ("tracestate", &trace.state)];
    for (name, value) in fields {
        // A trace that cannot stand in a header is not worth a customer.
        if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

async fn hear(response: Response, request: &[u8], deadline: Instant) -> Answer {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| classify::retry_after(value.as_bytes(), clock::now()));
    let deadline = deadline.max(Instant::now() + BODY);
    let body = if classify::reads_body(status) {
        timeout_at(deadline, bounded(response)).await.ok().flatten()
    } else {
        None
    };
    classify::answer(&Heard { status, retry_after, body: body.as_deref() }, request)
}

/// The whole body, unless it is too long or breaks off.
async fn bounded(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > LONGEST_BODY {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// What a span says was wrong.
fn error_type(answer: &Answer) -> Option<Cow<'static, str>> {
    match answer {
        Answer::Created(_) => None,
        // Its status says that all is well.
        Answer::Unusable { .. } => Some("unusable_response".into()),
        _ => Some(status_label(answer)),
    }
}

/// What a call without an answer means.
fn unanswered(error: &reqwest::Error, sent: &Sent) -> Answer {
    tracing::debug!(sent = sent.perhaps(), error = chain(error), "no answer from imin");
    if sent.perhaps() {
        return Answer::Ambiguous { cause: Ambiguity::Reset };
    }
    let cause = if error.is_dns() {
        NotDone::Dns
    } else if is_tls(error) {
        NotDone::Tls
    } else {
        NotDone::Connect
    };
    Answer::NotDone { cause, retry_after: None }
}

/// What a call means whose time is over.
fn late(sent: &Sent) -> Answer {
    tracing::debug!(sent = sent.perhaps(), "no answer from imin in time");
    if sent.perhaps() {
        Answer::Ambiguous { cause: Ambiguity::Timeout }
    } else {
        Answer::NotDone { cause: NotDone::Connect, retry_after: None }
    }
}

/// The error and its causes, outermost first. An `io::Error` shows the causes of what it wraps,
/// but not that itself, which may be the very error of rustls.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

/// The error in words. No cause knows the key or the body, and the URL is off it.
fn chain(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = causes(error).map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(<dyn Error>::is::<rustls::Error>)
}

/// Whether the body has been handed over for sending. While it has not, imin has no customer to
/// make an account of, whatever the error says: this is what tells *not done* from *ambiguous*,
/// also where the total timeout ends a connect.
#[derive(Clone, Default)]
struct Sent(Arc<AtomicBool>);

impl Sent {
    fn perhaps(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A request body that notes when it is asked for its bytes.
struct Watched {
    body: Option<Bytes>,
    sent: Sent,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent.0.store(true, Ordering::Release);
        Poll::Ready(self.body.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_below_the_base() {
        for (base, expected) in [
            ("https://book.imin.co/api/v2", "https://book.imin.co/api/v2/customer-accounts"),
            ("https://book.imin.co/api/v2/", "https://book.imin.co/api/v2/customer-accounts"),
            ("http://127.0.0.1:1?x=1#y", "http://127.0.0.1:1/customer-accounts"),
        ] {
            assert_eq!(endpoint(&Url::parse(base).unwrap()).unwrap().as_str(), expected);
        }
        for bad in ["mailto:a@b.example", "ftp://x.example/", "data:,x"] {
            assert!(matches!(endpoint(&Url::parse(bad).unwrap()), Err(SetupError::BaseUrl)), "{bad}");
        }
    }

    #[test]
    fn a_trace_that_is_no_header_is_left_out() {
        let mut headers = HeaderMap::new();
        pass_on(&Trace { parent: Some("00-ab-cd-01".into()), state: Some("a\nb".into()) }, &mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["traceparent"], "00-ab-cd-01");
    }
}
