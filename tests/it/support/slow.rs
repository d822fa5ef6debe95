//! An imin that answers when it is told to: a call under way for exactly as long as a test wants.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};

use super::worker::PATIENCE;

/// The imin; dropped, it stops.
pub(crate) struct Slow {
    addr: SocketAddr,
    calls: Arc<Calls>,
    serving: JoinHandle<()>,
}

struct Calls {
    arrived: watch::Sender<usize>,
    answers: Semaphore,
    traceparents: Mutex<Vec<String>>,
}

impl Slow {
    /// One that answers nobody yet.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let calls = Arc::new(Calls {
            arrived: watch::Sender::new(0),
            answers: Semaphore::new(0),
            traceparents: Mutex::default(),
        });
        let routes = Router::new().route("/customer-accounts", post(answer)).with_state(Arc::clone(&calls));
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { addr, calls, serving }
    }

    /// What to put into `IMIN_BASE_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Waits until so many calls have arrived in all.
    pub(crate) async fn arrived(&self, count: usize) {
        let mut arrived = self.calls.arrived.subscribe();
        let reached = arrived.wait_for(|now| *now >= count);
        timeout(PATIENCE, reached).await.expect("the calls arrive").expect("the imin lives");
    }

    /// How many calls have arrived.
    pub(crate) fn calls(&self) -> usize {
        *self.calls.arrived.borrow()
    }

    /// The `traceparent` of each call that had one.
    pub(crate) fn traceparents(&self) -> Vec<String> {
        self.calls.traceparents.lock().expect("no panic under it").clone()
    }

    /// Lets so many calls be answered: an account made.
    pub(crate) fn answer(&self, count: usize) {
        self.calls.answers.add_permits(count);
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(calls): State<Arc<Calls>>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    if let Some(parent) = headers.get("traceparent").and_then(|parent| parent.to_str().ok()) {
        calls.traceparents.lock().expect("no panic under it").push(parent.to_owned());
    }
    calls.arrived.send_modify(|arrived| *arrived += 1);
    calls.answers.acquire().await.expect("never closed").forget();
    (StatusCode::CREATED, Json(json!({"identifier": "slow-but-sure"})))
}
