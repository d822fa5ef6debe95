//! A port that refuses until it is opened, and then leads elsewhere: a service that is not there yet.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
};

/// The port. Taken from the start, so that nobody else can come to listen there.
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    socket: TcpSocket,
}

impl Door {
    /// A closed one.
    pub(crate) fn closed() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        Self { addr: socket.local_addr().expect("an address"), socket }
    }

    /// Opens it: from now on it leads to `target`.
    pub(crate) fn open(self, target: SocketAddr) {
        let listener = self.socket.listen(64).expect("the port is ours");
        tokio::spawn(forward(listener, target));
    }
}

async fn forward(listener: TcpListener, target: SocketAddr) {
    while let Ok((mut near, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut far = TcpStream::connect(target).await?;
            copy_bidirectional(&mut near, &mut far).await
        });
    }
}
