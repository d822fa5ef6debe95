//! A tap on the line to the broker: sees the first acknowledgement the moment it is written.
//!
//! The broker tells nobody when a message was acknowledged; the frames do.

use anyhow::{Context, Result, anyhow};
use std::{collections::VecDeque, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, tcp},
    sync::mpsc,
    time::Instant,
};
use url::Url;

/// The protocol header before a client's first frame.
const GREETING: usize = 8;
/// Type, channel and size before a frame's payload.
const HEAD: usize = 7;
/// `basic.ack`: class 60, method 80.
const ACK: [u8; 4] = [0, 60, 0, 80];

/// A tap that runs as long as its runtime.
pub(crate) struct Tap {
    /// The broker's URL, through the tap.
    pub(crate) url: String,
    acks: mpsc::UnboundedReceiver<Instant>,
}

impl Tap {
    /// On the line to the broker at `url`.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let mut url: Url = url.parse()?;
        let host = url.host_str().context("a host")?;
        let broker: SocketAddr = format!("{host}:{}", url.port().context("a port")?).parse()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        url.set_port(Some(listener.local_addr()?.port())).map_err(|()| anyhow!("no port fits {url}"))?;
        let (sender, acks) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, broker, sender.clone()));
            }
        });
        Ok(Self { url: url.into(), acks })
    }

    /// When the first acknowledgement passed.
    pub(crate) async fn first_ack(&mut self) -> Result<Instant> {
        self.acks.recv().await.context("the tap is closed")
    }
}

async fn pass(client: TcpStream, broker: SocketAddr, acks: mpsc::UnboundedSender<Instant>) -> Result<()> {
    let broker = TcpStream::connect(broker).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    tokio::spawn(async move { copy(&mut from_broker, &mut to_client).await });
    listen(&mut from_client, &mut to_broker, &acks).await
}

async fn listen(
    client: &mut tcp::OwnedReadHalf,
    broker: &mut tcp::OwnedWriteHalf,
    acks: &mpsc::UnboundedSender<Instant>,
) -> Result<()> {
    let (mut buffer, mut unread) = (vec![0; 64 * 1024], VecDeque::new());
    let mut skip = GREETING;
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        unread.extend(&buffer[..length]);
        for _ in 0..count_acks(&mut unread, &mut skip) {
            acks.send(Instant::now())?;
        }
        broker.write_all(&buffer[..length]).await?;
    }
}

/// Takes whole frames off `unread`, after `skip` bytes, and counts those that acknowledge.
fn count_acks(unread: &mut VecDeque<u8>, skip: &mut usize) -> usize {
    let mut count = 0;
    loop {
        let gone = unread.len().min(*skip);
        unread.drain(..gone);
        *skip -= gone;
        if unread.len() < HEAD {
            return count;
        }
        let size = (3..HEAD).fold(0, |size, at| size << 8 | usize::from(unread[at]));
        if unread.len() < HEAD + size {
            return count;
        }
        let is_method = unread[0] == 1;
        if is_method && (0..ACK.len()).all(|at| unread.get(HEAD + at) == Some(&ACK[at])) {
            count += 1;
        }
        // The payload and the octet that ends a frame.
        *skip = HEAD + size + 1;
    }
}
