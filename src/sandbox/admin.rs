//! `/sandbox/…`: what a test asks of the sandbox and tells it.

use super::{
    Shared, api,
    fault::Fault,
    reply::{self, Reply},
    state::Faults,
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use hyper::body::Incoming;
use std::collections::BTreeMap;

/// The longest list of faults that is read, in bytes.
const LONGEST_LIST: usize = 64 * 1024;

/// Answers a request for `/sandbox/name`.
pub(super) async fn route(shared: &Shared, name: &str, request: Request<Incoming>) -> Reply {
    let state = &shared.state;
    match (name, request.method().clone()) {
        ("accounts", Method::GET) => reply::own(&state.accounts()),
        ("accounts", Method::DELETE) => match state.forget() {
            Ok(()) => reply::own(&state.stats()),
            Err(error) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        ("accounts", _) => api::not_allowed("GET, DELETE"),
        ("stats", Method::GET) => reply::own(&state.stats()),
        ("stats" | "last-request", method) if method != Method::GET => api::not_allowed("GET"),
        ("last-request", _) => reply::own(&last(shared)),
        ("faults", Method::GET) => reply::own(&state.faults()),
        ("faults", Method::PUT) => put(shared, request.into_body()).await,
        ("faults", Method::DELETE) => {
            state.set_faults(Vec::new(), 0);
            state.heed_addresses(true);
            reply::own(&state.faults())
        }
        ("faults", _) => api::not_allowed("GET, PUT, DELETE"),
        _ => reply::text(StatusCode::NOT_FOUND, "accounts, stats, faults or last-request\n".into()),
    }
}

/// The headers of the last call of the create endpoint, by name.
fn last(shared: &Shared) -> BTreeMap<String, String> {
    let headers = shared.state.last_headers();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

async fn put(shared: &Shared, body: Incoming) -> Reply {
    match read(body).await {
        Ok((faults, asked)) => {
            shared.state.set_faults(faults, asked.seed);
            shared.state.heed_addresses(asked.addresses);
            reply::own(&shared.state.faults())
        }
        Err(problem) => reply::text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
    }
}

async fn read(body: Incoming) -> Result<(Vec<Fault>, Faults), String> {
    let body =
        axum::body::to_bytes(Body::new(body), LONGEST_LIST).await.map_err(|error| error.to_string())?;
    let asked: Faults = serde_json::from_slice(&body)
        .map_err(|error| format!("{error}; wanted is {{\"faults\": [\"503x2\"], \"seed\": 0}}"))?;
    let faults: Result<Vec<Fault>, _> = asked.faults.iter().map(|fault| fault.parse()).collect();
    Ok((faults.map_err(|error| error.to_string())?, asked))
}
