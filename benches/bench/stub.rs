//! A lean imin: takes a create, waits, mirrors the request with an identifier. Nothing else.
//!
//! `imin-sandbox` keeps books of every account, which costs it more than some contenders spend on a
//! message; on a machine with few cores that would be measured too. It is there by `--api sandbox`.

use anyhow::Result;
use std::{
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// tokio's timer counts whole milliseconds and rounds up: half of one too much on average.
const ROUNDED: Duration = Duration::from_micros(500);
/// How many accounts were made.
static ACCOUNTS: AtomicU64 = AtomicU64::new(0);

/// Serves on a free port, says which, and goes on until it is killed.
pub(crate) async fn serve(latency: Duration) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let latency = latency.saturating_sub(ROUNDED);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A contender that ends in the middle of a call is no error.
            let _ = converse(stream, latency).await;
        });
    }
}

async fn converse(mut stream: TcpStream, latency: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut received, mut answer) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    while stream.read_buf(&mut received).await? > 0 {
        let Some(length) = request(&received) else { continue };
        if received.starts_with(b"POST ") {
            if !latency.is_zero() {
                sleep(latency).await;
            }
            created(&received[length.head..length.whole], &mut answer)?;
        } else {
            books(&mut answer)?;
        }
        stream.write_all(&answer).await?;
        received.drain(..length.whole);
    }
    Ok(())
}

/// How long a request is.
struct Length {
    head: usize,
    whole: usize,
}

/// The first request's lengths, once all of it is there.
fn request(received: &[u8]) -> Option<Length> {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let body = received[..head].split(|byte| *byte == b'\n').find_map(content_length).unwrap_or(0);
    (received.len() >= head + body).then_some(Length { head, whole: head + body })
}

fn content_length(line: &[u8]) -> Option<usize> {
    let name = b"content-length:";
    let value = line.get(name.len()..).filter(|_| line[..name.len()].eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// The request, with an `@id` and an identifier of the length of imin's own.
fn created(body: &[u8], answer: &mut Vec<u8>) -> Result<()> {
    let number = ACCOUNTS.fetch_add(1, Ordering::Relaxed);
    let open = body.trim_ascii_end().strip_suffix(b"}").unwrap_or(b"{");
    let added = format!(
        r#","@id":"https://book.imin.co/api/v2/customer-accounts/{number:011}","identifier":"{number:011}"}}"#
    );
    answer.clear();
    let length = open.len() + added.len();
    write!(
        answer,
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )?;
    answer.extend_from_slice(open);
    answer.extend_from_slice(added.as_bytes());
    Ok(())
}

/// `GET /sandbox/stats`, as far as the driver asks for it.
fn books(answer: &mut Vec<u8>) -> Result<()> {
    let body = format!(r#"{{"accounts":{}}}"#, ACCOUNTS.load(Ordering::Relaxed));
    answer.clear();
    write!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
