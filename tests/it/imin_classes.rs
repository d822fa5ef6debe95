//! Every class of the design's table, through the real adapter, against the sandbox.

use bytes::Bytes;
use imin_customer_worker::{
    event::{EventKey, Trace},
    imin::{
        Accounts, ApiKey, Create,
        http::{Imin, Settings},
        status_label,
    },
    outcome::{Account, Ambiguity, Answer, NotDone},
    sandbox::{Options, Sandbox},
    spans::Parent,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::sync::watch;
use url::Url;
use uuid::Uuid;

const KEY: &str = "test-key";
const EVENT: EventKey = EventKey(Uuid::from_u128(0x1234_5678_9abc_def0));
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const ONE_ACCOUNT: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 18\r\n\r\n{\"identifier\":\"a\"}";

/// The adapter and the sandbox that it calls.
struct Bench {
    sandbox: Sandbox,
    imin: Imin,
    key: watch::Sender<ApiKey>,
}

fn settings(base_url: &str) -> Settings {
    Settings {
        base_url: Url::parse(base_url).unwrap(),
        // Far longer than any test takes that does not wait for it.
        timeout: Duration::from_mins(1),
        connect_timeout: Duration::from_secs(10),
        ca_file: None,
        pool: 4,
    }
}

fn adapter(settings: &Settings) -> (Imin, watch::Sender<ApiKey>) {
    let (key, keys) = watch::channel(ApiKey::new(KEY).unwrap());
    (Imin::new(settings, keys).unwrap(), key)
}

async fn bench_with(timeout: Duration) -> Bench {
    let options = Options { api_key: Some(KEY.into()), ..Options::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let (imin, key) = adapter(&Settings { timeout, ..settings(sandbox.base_url()) });
    Bench { sandbox, imin, key }
}

async fn bench() -> Bench {
    bench_with(Duration::from_mins(1)).await
}

/// The documented example, with an e-mail address that may ask for faults.
fn body(email: &str) -> Bytes {
    let body = json!({
        "@context": "https://openactive.io/",
        "@type": "CustomerAccount",
        "customer": {"@type": "Person", "email": email, "givenName": "Geoff", "familyName": "Capes"},
    });
    body.to_string().into()
}

fn request(email: &str) -> Create {
    let trace = Trace { parent: Some(TRACE.into()), state: Some("vendor=1".into()) };
    Create { key: EVENT, body: body(email), trace, parent: Parent::default(), resends: 0 }
}

impl Bench {
    async fn meets(&self, fault: &str) -> Answer {
        self.imin.create(request(&format!("geoffcapes+fault-{fault}@example.com"))).await
    }

    async fn until_called(&self) {
        while self.sandbox.stats().in_flight == 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn until_idle(&self) {
        while self.sandbox.stats().in_flight > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// How often the adapter called, and how many accounts that made.
    fn tally(&self) -> (u32, u32) {
        let tally = self.sandbox.accounts().keys.get(&EVENT.to_string()).copied().unwrap_or_default();
        (tally.calls, tally.accounts)
    }
}

fn not_done(status: u16, retry_after: Option<u64>) -> Answer {
    Answer::NotDone { cause: NotDone::Status(status), retry_after: retry_after.map(Duration::from_secs) }
}

fn ambiguous(cause: Ambiguity) -> Answer {
    Answer::Ambiguous { cause }
}

fn not_sent(cause: NotDone) -> Answer {
    Answer::NotDone { cause, retry_after: None }
}

#[tokio::test]
async fn created_by_201_and_by_200() {
    let bench = bench().await;
    for email in ["geoffcapes@example.com", "geoffcapes+fault-200@example.com"] {
        let answer = bench.imin.create(request(email)).await;
        let made = bench.sandbox.accounts().accounts.pop().unwrap();
        let id = Some(format!("{}/customer-accounts/{}", bench.sandbox.base_url(), made.identifier));
        assert_eq!(answer, Answer::Created(Account { identifier: made.identifier, id }));
        assert_eq!(status_label(&answer), "201");
    }
}

#[tokio::test]
async fn the_headers_are_the_documented_ones() {
    let bench = bench().await;
    bench.imin.create(request("geoffcapes@example.com")).await;
    let headers = bench.sandbox.last_headers();
    let length = body("geoffcapes@example.com").len().to_string();
    let agent = concat!("imin-customer-worker/", env!("CARGO_PKG_VERSION"));
    let expected = [
        ("x-api-key", KEY),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("user-agent", agent),
        ("idempotency-key", "\"00000000-0000-0000-1234-56789abcdef0\""),
        ("traceparent", TRACE),
        ("tracestate", "vendor=1"),
        ("content-length", &length),
        ("host", bench.sandbox.base_url().split('/').nth(2).unwrap()),
    ];
    for (name, value) in expected {
        assert_eq!(headers[name], value, "{name}");
    }
    assert_eq!(headers.len(), expected.len(), "{headers:?}");
}

#[tokio::test]
async fn a_trace_is_not_made_up() {
    let bench = bench().await;
    let untraced = Create { trace: Trace::default(), ..request("geoffcapes@example.com") };
    bench.imin.create(untraced).await;
    let headers = bench.sandbox.last_headers();
    assert!(!headers.contains_key("traceparent") && !headers.contains_key("tracestate"));
}

#[tokio::test]
async fn a_2xx_without_an_identifier_is_unusable() {
    let bench = bench().await;
    for fault in ["garbage", "no-identifier", "huge", "endless", "cut", "gzip"] {
        assert_eq!(bench.meets(fault).await, Answer::Unusable { status: 201 }, "{fault}");
    }
    for status in [202, 203, 204, 206] {
        assert_eq!(bench.meets(&status.to_string()).await, Answer::Unusable { status });
    }
    assert_eq!(bench.tally(), (10, 10), "the accounts exist, and nobody called twice");
}

#[tokio::test]
async fn a_2xx_that_comes_too_slowly_is_unusable() {
    let bench = bench_with(Duration::from_millis(500)).await;
    assert_eq!(bench.meets("drip").await, Answer::Unusable { status: 201 });
    assert_eq!(bench.tally(), (1, 1));
}

#[tokio::test]
async fn other_4xx_are_rejected_with_their_words() {
    let bench = bench().await;
    for status in [400, 402, 406, 409, 410, 413, 415, 418, 422, 451] {
        let Answer::Rejected { status: heard, kind, description } = bench.meets(&status.to_string()).await
        else {
            panic!("{status}");
        };
        assert_eq!(heard, status);
        assert!(kind.unwrap().ends_with("Error"));
        assert_eq!(description.as_deref(), Some("As asked for."));
    }
    assert_eq!(
        bench.meets("400-html").await,
        Answer::Rejected { status: 400, kind: None, description: None }
    );
    assert_eq!(bench.tally().1, 0);
}

#[tokio::test]
async fn a_rejection_loses_the_values_it_repeats() {
    let bench = bench().await;
    let rejected = |description: &str| Answer::Rejected {
        status: 422,
        kind: Some("OpenBookingError".into()),
        description: Some(description.into()),
    };
    assert_eq!(bench.meets("422-echo").await, rejected("No account for … … <…>."));
}

#[tokio::test]
async fn a_missing_field_is_rejected() {
    let bench = bench().await;
    let incomplete = Create { body: Bytes::from_static(b"{}"), ..request("") };
    let Answer::Rejected { status: 400, kind, description } = bench.imin.create(incomplete).await else {
        panic!("not rejected");
    };
    assert_eq!(kind.as_deref(), Some("IncompleteCustomerDetailsError"));
    assert!(description.unwrap().contains("customer.email"));
}

#[tokio::test]
async fn some_statuses_say_that_nothing_was_done() {
    let bench = bench().await;
    for status in [408, 425, 429, 503] {
        assert_eq!(bench.meets(&status.to_string()).await, not_done(status, None));
    }
    assert_eq!(bench.meets("429-retry-after-2x1").await, not_done(429, Some(2)));
    assert_eq!(bench.meets("503-retry-after-0-html").await, not_done(503, Some(0)));
    let by_date = bench.meets("503-retry-after-date-3600").await;
    let Answer::NotDone { cause: NotDone::Status(503), retry_after: Some(wait) } = by_date else {
        panic!("{by_date:?}");
    };
    // A date has whole seconds, and some time has passed.
    assert!((3500..=3600).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(bench.tally().1, 0);
}

#[tokio::test]
async fn an_answer_may_come_at_the_third_attempt() {
    let bench = bench().await;
    assert_eq!(bench.meets("503x2").await, not_done(503, None));
    assert_eq!(bench.meets("503x2").await, not_done(503, None));
    assert!(matches!(bench.meets("503x2").await, Answer::Created(_)));
    assert_eq!(bench.tally(), (3, 1));
}

#[tokio::test]
async fn a_wrong_key_or_url_is_misconfigured() {
    let bench = bench().await;
    for status in [401, 403, 404, 405, 300, 301, 302, 303, 304, 308] {
        assert_eq!(bench.meets(&status.to_string()).await, Answer::Misconfigured { status });
    }
    let (elsewhere, _key) = adapter(&settings(&bench.sandbox.base_url().replace("v2", "v1")));
    let lost = elsewhere.create(request("geoffcapes@example.com")).await;
    assert_eq!(lost, Answer::Misconfigured { status: 404 });
}

#[tokio::test]
async fn a_key_can_change_while_it_runs() {
    let bench = bench().await;
    bench.key.send(ApiKey::new("wrong").unwrap()).unwrap();
    let refused = bench.imin.create(request("geoffcapes@example.com")).await;
    assert_eq!(refused, Answer::Misconfigured { status: 401 });
    bench.key.send(ApiKey::new(KEY).unwrap()).unwrap();
    assert!(matches!(bench.imin.create(request("geoffcapes@example.com")).await, Answer::Created(_)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let bench = bench().await;
    assert_eq!(bench.meets("redirectx1").await, Answer::Misconfigured { status: 307 });
    assert_eq!(bench.tally(), (1, 0), "a second call would have made the account");
}

#[tokio::test]
async fn other_5xx_are_ambiguous_whatever_they_did() {
    let bench = bench().await;
    for status in [500, 501, 502, 504, 507, 599] {
        let expected = ambiguous(Ambiguity::Status(status));
        assert_eq!(bench.meets(&status.to_string()).await, expected);
        assert_eq!(bench.meets(&format!("{status}-after")).await, expected);
    }
    assert_eq!(bench.tally(), (12, 6));
}

#[tokio::test]
async fn a_broken_connection_is_ambiguous_and_not_called_again() {
    let bench = bench().await;
    let faults = ["reset-before", "reset-after", "close-before", "close-after"];
    for fault in faults {
        // The second meets the fault on a connection that has served before.
        for email in ["", "x1+fault-201"] {
            assert_eq!(bench.meets(&format!("{fault}{email}")).await, ambiguous(Ambiguity::Reset), "{fault}");
            assert!(matches!(bench.meets("201").await, Answer::Created(_)));
        }
    }
    assert_eq!(bench.tally(), (16, 12));
    assert_eq!(bench.sandbox.stats().calls["reset"], 4);
}

#[tokio::test]
async fn no_answer_in_time_is_ambiguous() {
    let bench = bench_with(Duration::from_millis(200)).await;
    for fault in ["timeout-before", "timeout-after", "delay-5s"] {
        assert_eq!(bench.meets(fault).await, ambiguous(Ambiguity::Timeout), "{fault}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_not_done() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (imin, _key) = adapter(&settings(&format!("http://{port}")));
    assert_eq!(imin.create(request("geoffcapes@example.com")).await, not_sent(NotDone::Connect));
}

#[tokio::test]
async fn an_unknown_name_is_not_done() {
    let (imin, _key) = adapter(&settings("https://imin.invalid/api/v2"));
    assert_eq!(imin.create(request("geoffcapes@example.com")).await, not_sent(NotDone::Dns));
}

#[tokio::test]
async fn a_failed_handshake_is_not_done() {
    let bench = bench().await;
    let (imin, _key) = adapter(&settings(&bench.sandbox.base_url().replace("http:", "https:")));
    assert_eq!(imin.create(request("geoffcapes@example.com")).await, not_sent(NotDone::Tls));
    assert_eq!(bench.tally(), (0, 0));
}

/// A peer on a thread of its own that takes one connection.
fn peer(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    addr
}

#[tokio::test]
async fn a_handshake_that_hangs_is_not_done_by_either_timeout() {
    let hang = |mut stream: TcpStream| drop(stream.read_to_end(&mut Vec::new()));
    for (timeout, connect_timeout) in [(60_000, 100), (100, 60_000)] {
        let settings = Settings {
            timeout: Duration::from_millis(timeout),
            connect_timeout: Duration::from_millis(connect_timeout),
            ..settings(&format!("https://{}", peer(hang)))
        };
        let (imin, _key) = adapter(&settings);
        assert_eq!(imin.create(request("geoffcapes@example.com")).await, not_sent(NotDone::Connect));
    }
}

/// The account is made: its identifier is worth a moment more than the time that the call had.
#[tokio::test]
async fn the_rest_of_an_answer_is_waited_for_beyond_the_timeout() {
    let slow = |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]);
        let (head, rest) = ONE_ACCOUNT.split_at(ONE_ACCOUNT.len() - 5);
        stream.write_all(head).unwrap();
        thread::sleep(Duration::from_millis(600));
        let _ = stream.write_all(rest);
    };
    let timeout = Duration::from_millis(300);
    let settings = Settings { timeout, ..settings(&format!("http://{}", peer(slow))) };
    let (imin, _key) = adapter(&settings);
    let account = Account { identifier: "a".into(), id: None };
    assert_eq!(imin.create(request("geoffcapes@example.com")).await, Answer::Created(account));
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_ambiguous() {
    let babble = |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"SSH-2.0-babble\r\n\r\n");
    };
    let (imin, _key) = adapter(&settings(&format!("http://{}", peer(babble))));
    assert_eq!(imin.create(request("geoffcapes@example.com")).await, ambiguous(Ambiguity::Reset));
}

#[tokio::test]
async fn a_retry_after_that_makes_no_sense_is_none() {
    for value in ["-1", "soon", "1e3", "99999999999999999999999", ""] {
        let answer = format!("HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
        let busy = move |mut stream: TcpStream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        };
        let (imin, _key) = adapter(&settings(&format!("http://{}", peer(busy))));
        assert_eq!(imin.create(request("geoffcapes@example.com")).await, not_done(503, None), "{value}");
    }
}

#[tokio::test]
async fn a_connection_is_kept() {
    let bench = bench().await;
    for email in ["a@example.com", "b+fault-400@example.com", "c+fault-503@example.com", "d@example.com"] {
        bench.imin.create(request(email)).await;
    }
    assert_eq!(bench.sandbox.stats().connections, 1);
}

#[tokio::test]
async fn calls_run_at_once() {
    let bench = bench().await;
    let calls =
        (0..8).map(|n| bench.imin.create(request(&format!("geoff{n}+fault-delay-200ms@example.com"))));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Created(_))), "{answers:?}");
    assert_eq!(bench.sandbox.stats().max_in_flight, 8);
}

/// A kept connection on which the server hangs up over the second call: the request may have
/// arrived, so nobody sends it again on a new connection.
#[tokio::test]
async fn a_kept_connection_that_breaks_is_not_replaced_under_a_call() {
    let once = |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(ONE_ACCOUNT);
        let _ = stream.read(&mut [0; 4096]);
    };
    let (imin, _key) = adapter(&settings(&format!("http://{}", peer(once))));
    assert!(matches!(imin.create(request("geoffcapes@example.com")).await, Answer::Created(_)));
    assert_eq!(imin.create(request("geoffcapes@example.com")).await, ambiguous(Ambiguity::Reset));
}

#[tokio::test]
async fn a_dropped_call_is_abandoned() {
    let bench = bench().await;
    let mut call = Box::pin(bench.meets("timeout-before"));
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        () = bench.until_called() => {}
    }
    drop(call);
    bench.until_idle().await;
    assert_eq!(bench.sandbox.stats().calls["timeout"], 1);
}

/// A TLS server on a thread of its own: one connection, one 201.
fn tls_peer() -> SocketAddr {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    peer(move |stream| {
        let mut tls = rustls::StreamOwned::new(session, stream);
        // A client that does not trust us hangs up here.
        if tls.read(&mut [0; 4096]).is_ok() {
            let _ = tls.write_all(ONE_ACCOUNT);
        }
    })
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let ca_file = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem").into());
    let (trusting, _key) = adapter(&Settings { ca_file, ..settings(&format!("https://{}", tls_peer())) });
    let answer = trusting.create(request("geoffcapes@example.com")).await;
    assert_eq!(answer, Answer::Created(Account { identifier: "a".into(), id: None }));
    let (wary, _key) = adapter(&settings(&format!("https://{}", tls_peer())));
    assert_eq!(wary.create(request("geoffcapes@example.com")).await, not_sent(NotDone::Tls));
}
