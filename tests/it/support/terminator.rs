//! TLS in front of a service that speaks none.

use super::authority::Identity;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// The names of this machine, for a certificate.
pub(crate) const HERE: &[&str] = &["127.0.0.1", "localhost"];

/// Speaks TLS with this identity, and passes on what comes to `target`; where it listens.
pub(crate) async fn terminator(identity: &Identity, target: SocketAddr) -> SocketAddr {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, target, acceptor.clone()));
        }
    });
    address
}

async fn serve(stream: TcpStream, target: SocketAddr, acceptor: TlsAcceptor) {
    // A client that does not trust us hangs up here.
    let Ok(mut inside) = acceptor.accept(stream).await else { return };
    let mut outside = TcpStream::connect(target).await.unwrap();
    if copy_bidirectional(&mut inside, &mut outside).await.is_err() {
        // A reset is passed on as one.
        inside.get_ref().0.set_zero_linger().unwrap();
    }
}
