//! What an operator's command asks of the worker that serves at `ADMIN_ADDR`.

use super::{AdminError, PATIENCE, reachable};
use serde::Deserialize;
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The longest answer that is read.
const LONGEST: u64 = 64 * 1024;

#[derive(Deserialize)]
struct Ready {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    cause: String,
    detail: String,
}

/// Why the worker is not at work, in its own words; none where it is.
pub async fn causes(addr: SocketAddr) -> Result<Vec<String>, AdminError> {
    let addr = reachable(addr);
    let no_answer = |error| AdminError::NoAnswer { addr, error };
    let asked = timeout(PATIENCE, readyz(addr)).await;
    let answer = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(no_answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let ready: Ready = serde_json::from_str(body).map_err(|_| AdminError::NotAlive { addr })?;
    Ok(ready.causes.into_iter().map(|cause| format!("{}: {}", cause.cause, cause.detail)).collect())
}

/// The whole answer: a client of one request, so that no HTTP client is needed here.
async fn readyz(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).await?;
    Ok(answer)
}
