//! What an operator asks over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Owns the endpoints and the question that `healthcheck` puts to them. What is true is `health`'s
//! and `metrics`' to know.

use crate::{
    health::{Readiness, Reason},
    metrics::{self, Metrics},
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Serialize;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub mod ask;

/// How long `healthcheck` waits: less than Docker does.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the endpoints cannot be served, or did not say that the worker lives.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be listened on.
    #[error("ADMIN_ADDR {addr} cannot be listened on: {error}. Choose another address or port.")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Nobody answered.
    #[error("ADMIN_ADDR {addr} does not answer: {error}")]
    NoAnswer {
        /// The address.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Somebody else answered.
    #[error("ADMIN_ADDR {addr} answered, but not that the worker lives")]
    NotAlive {
        /// The address.
        addr: SocketAddr,
    },
}

/// What `/readyz` says.
#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Reason>,
}

/// Takes the address, so that one in use is an error at start.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(addr).await.map_err(|error| AdminError::Bind { addr, error })
}

/// Serves until `stop`, then ends the requests under way.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router(readiness, metrics)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"))
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    let causes = readiness.reasons();
    let ready = causes.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, causes }))
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.render())
}

/// Asks the worker that serves at `addr` whether it lives.
pub async fn check_alive(addr: SocketAddr) -> Result<(), AdminError> {
    let addr = reachable(addr);
    let answer =
        timeout(PATIENCE, status_line(addr)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match answer {
        Ok(line) if line.starts_with(b"HTTP/1.1 200 ") => Ok(()),
        Ok(_) => Err(AdminError::NotAlive { addr }),
        Err(error) => Err(AdminError::NoAnswer { addr, error }),
    }
}

/// The first bytes of the answer: a client of one request, so that no HTTP client is needed here.
async fn status_line(addr: SocketAddr) -> io::Result<[u8; 13]> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET /livez HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; 13];
    stream.read_exact(&mut line).await?;
    Ok(line)
}

/// Where one connects to that listens everywhere.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Cause;

    struct Served {
        url: String,
        addr: SocketAddr,
        readiness: Readiness,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<io::Result<()>>,
    }

    async fn served() -> Served {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let task = tokio::spawn(serve(listener, readiness.clone(), Metrics::new(), stop.clone()));
        Served { url: format!("http://{addr}"), addr, readiness, stop, task }
    }

    /// Status, content type and body.
    async fn get(url: String) -> (u16, String, String) {
        // The test's process may not have chosen rustls' provider yet.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("client");
        let answer = client.get(url).send().await.expect("answer");
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().expect("ASCII").to_owned());
        (answer.status().as_u16(), kind.unwrap_or_default(), answer.text().await.expect("body"))
    }

    #[tokio::test]
    async fn alive_even_when_not_ready() {
        let served = served().await;
        assert_eq!(get(format!("{}/livez", served.url)).await.0, 200);
        check_alive(served.addr).await.expect("alive");
    }

    #[tokio::test]
    async fn unready_says_why_and_since_when() {
        let served = served().await;
        served.readiness.clear(Cause::Starting);
        assert_eq!(get(format!("{}/readyz", served.url)).await.2, r#"{"ready":true}"#);
        assert_eq!(ask::causes(served.addr).await.expect("an answer"), Vec::<String>::new());

        served.readiness.set(Cause::Broker, "connection refused");
        let (status, kind, body) = get(format!("{}/readyz", served.url)).await;
        assert_eq!((status, &*kind), (503, "application/json"));
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["ready"], false);
        assert_eq!(body["causes"][0]["cause"], "broker");
        assert_eq!(body["causes"][0]["detail"], "connection refused");
        assert_eq!(ask::causes(served.addr).await.expect("an answer"), ["broker: connection refused"]);
        assert!(body["causes"][0]["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{body}");
    }

    #[tokio::test]
    async fn metrics_are_served_and_nothing_else() {
        let served = served().await;
        let (status, kind, body) = get(format!("{}/metrics", served.url)).await;
        assert_eq!((status, &*kind), (200, metrics::CONTENT_TYPE));
        assert!(body.contains("customer_worker_in_flight 0"));
        assert_eq!(get(format!("{}/", served.url)).await.0, 404);
    }

    #[tokio::test]
    async fn stops_when_told_and_says_who_is_in_the_way() {
        let served = served().await;
        let taken = bind(served.addr).await.expect_err("the port is taken").to_string();
        assert!(taken.contains("ADMIN_ADDR") && taken.contains(&served.addr.to_string()), "{taken}");
        served.stop.cancel();
        served.task.await.expect("no panic").expect("no error");
        let gone = check_alive(served.addr).await.expect_err("nobody is there");
        assert!(matches!(gone, AdminError::NoAnswer { .. }), "{gone}");
    }

    #[test]
    fn everywhere_is_reached_on_loopback() {
        for (listens, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listens.parse().expect("address")).to_string(), reached);
        }
    }
}
