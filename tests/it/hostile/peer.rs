//! An HTTP server below all libraries: it shows a request's bytes as they came, and answers with any.

use crate::support::worker::PATIENCE;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// The server. It answers every request with the same bytes, and hangs up.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    requests: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Peer {
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (heard, requests) = mpsc::unbounded_channel();
        let answer: Arc<[u8]> = answer.into().into();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), heard.clone()));
            }
        });
        Self { addr, requests }
    }

    /// For `IMIN_BASE_URL`.
    pub(super) fn url(&self) -> String {
        format!("http://{}/api", self.addr)
    }

    /// The next request: its head and its body.
    pub(super) async fn request(&mut self) -> (String, Vec<u8>) {
        let request = timeout(PATIENCE, self.requests.recv()).await.expect("a request").expect("it serves");
        let end = head_end(&request).expect("a whole head");
        (String::from_utf8(request[..end].to_vec()).expect("ASCII"), request[end..].to_vec())
    }

    /// How many requests nobody has looked at.
    pub(super) fn unread(&mut self) -> usize {
        std::iter::from_fn(|| self.requests.try_recv().ok()).count()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<[u8]>, heard: mpsc::UnboundedSender<Vec<u8>>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let _ = heard.send(request);
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

fn head_end(request: &[u8]) -> Option<usize> {
    request.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = head_end(request) else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    request.len() >= end + length.unwrap_or(0)
}
