//! The sandbox's connections: HTTP/1.1 over TCP, and real resets where a fault asks for one.

use super::{
    Shared,
    api::{self, Hangup},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{error::Error, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// How long calls under way may take once the sandbox stops.
const GRACE: Duration = Duration::from_secs(1);
/// The pause after a connection that could not be accepted: most likely there are too many.
const BREATH: Duration = Duration::from_millis(10);

/// Serves until `stop` changes or is dropped.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&shared), stop.clone()))),
                Err(_) => tokio::time::sleep(BREATH).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // A fault may never end: such a connection is cut.
    let _ = tokio::time::timeout(GRACE, all).await;
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    shared.state.connected();
    // It only costs time where it fails.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| api::route(&shared, request));
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut http => ended,
        _ = stop.changed() => {
            std::pin::Pin::new(&mut http).graceful_shutdown();
            (&mut http).await
        }
    };
    if ended.is_err_and(|error| is_reset(&error)) {
        // Nothing lingers: the kernel sends RST where it would send FIN.
        let _ = http.into_parts().io.into_inner().set_zero_linger();
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    error.source().and_then(|source| source.downcast_ref()) == Some(&Hangup::Reset)
}
