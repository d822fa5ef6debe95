//! A TCP proxy between a worker and its broker, for a test to break while it runs.
//!
//! Owns what a network can do to a connection. A direction that hangs keeps its bytes and its end to
//! itself, as a partition does, and hands them over when it passes again.

use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What becomes of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// They arrive.
    Pass,
    /// They arrive this much later.
    Delay(Duration),
    /// They do not arrive, and nobody is told.
    Hang,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Where new connections lead.
    target: SocketAddr,
    /// From the worker to the broker.
    requests: Way,
    /// From the broker to the worker.
    answers: Way,
    /// New connections are reset.
    refuses: bool,
    /// How often everything was cut.
    cuts: u64,
}

/// The proxy; dropped, it cuts everything.
pub(crate) struct Proxy {
    url: String,
    target: SocketAddr,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of the server of a URL with a user.
    pub(crate) async fn to(url: &str) -> Self {
        let (front, rest) = url.split_once('@').expect("user and password");
        let (target, vhost) = rest.split_once('/').expect("a vhost");
        let target: SocketAddr = target.parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{front}@{}/{vhost}", listener.local_addr().expect("bound"));
        let state = State { target, requests: Way::Pass, answers: Way::Pass, refuses: false, cuts: 0 };
        let (state, seen) = watch::channel(state);
        let accepting = tokio::spawn(accept(listener, seen));
        Self { url, target, state, accepting }
    }

    /// What to put into `AMQP_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Everything arrives, in both directions.
    pub(crate) fn pass(&self) {
        self.ways(Way::Pass, Way::Pass);
    }

    /// What becomes of the bytes to the broker, and of those from it.
    pub(crate) fn ways(&self, requests: Way, answers: Way) {
        self.state.send_modify(|state| (state.requests, state.answers) = (requests, answers));
    }

    /// Resets every connection there is; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// New connections lead elsewhere.
    pub(crate) fn mislead(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }

    /// New connections are welcome, and lead where they should; everything arrives.
    pub(crate) fn mend(&self) {
        self.refuse(false);
        self.mislead(self.target);
        self.pass();
    }

    /// Whether new connections are reset.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.state.send_modify(|state| state.refuses = refuses);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: watch::Receiver<State>) {
    loop {
        let (client, _) = listener.accept().await.expect("accepts");
        if state.borrow().refuses {
            client.set_zero_linger().expect("an open socket");
            continue;
        }
        tokio::spawn(serve(client, state.clone()));
    }
}

async fn serve(mut client: TcpStream, mut state: watch::Receiver<State>) {
    let State { cuts, target, .. } = *state.borrow();
    // Nobody there: the client sees its connection end.
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (up, down) = (state.clone(), state.clone());
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = relay(from_client, to_server, |state| state.requests, up) => return,
            () = relay(from_server, to_client, |state| state.answers, down) => return,
            _ = state.wait_for(|state| state.cuts != cuts) => {}
        }
    }
    for stream in [client, server] {
        stream.set_zero_linger().expect("an open socket");
    }
}

/// Hands bytes over until either side ends.
async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: fn(&State) -> Way,
    mut state: watch::Receiver<State>,
) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        let now = way(&state.borrow());
        if let Way::Delay(time) = now {
            tokio::time::sleep(time).await;
        }
        // An end does not arrive either while the direction hangs.
        if state.wait_for(|state| way(state) != Way::Hang).await.is_err() || read == 0 {
            return;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}
