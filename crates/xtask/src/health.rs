//! Whether the demo's leader answers, over cleartext or TLS.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A leader that takes longer has a problem.
const READY_LIMIT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);
const HEALTH_LIMIT: Duration = Duration::from_secs(1);

/// Asks a leader for its health.
pub(crate) struct Health {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Health {
    /// Of the leader at `address`, which speaks TLS with a certificate of `authority` if there is one.
    pub(crate) fn of(address: SocketAddr, authority: Option<&Path>) -> Result<Self> {
        let tls = authority.map(|file| connector(file).with_context(|| format!("cannot use {}", file.display())));
        Ok(Self { address, tls: tls.transpose()? })
    }

    /// Waits until it is well.
    pub(crate) async fn becomes_ready(&self) -> Result<()> {
        let ready = async {
            while !self.is_well().await {
                sleep(READY_POLL).await;
            }
        };
        let waited = timeout(READY_LIMIT, ready).await;
        waited.with_context(|| format!("the leader did not answer {}/healthz within {READY_LIMIT:?}", self.address))
    }

    async fn is_well(&self) -> bool {
        let asked = async {
            let stream = TcpStream::connect(self.address).await?;
            match &self.tls {
                None => self.ask(stream).await,
                Some(tls) => {
                    self.ask(tls.connect(ServerName::IpAddress(self.address.ip().into()), stream).await?).await
                }
            }
        };
        timeout(HEALTH_LIMIT, asked).await.is_ok_and(|answer| answer.unwrap_or(false))
    }

    async fn ask(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<bool> {
        const WANTED: &[u8] = b"HTTP/1.1 200 ";
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; WANTED.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer == WANTED)
    }
}

fn connector(authority: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(authority)?)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config).into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::certificate::Certificate;

    async fn answer(mut stream: impl AsyncWrite + Unpin, status: &str) {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_a_200_is_healthy() {
        for (status, healthy) in [("200 OK", true), ("503 Service Unavailable", false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let health = Health::of(listener.local_addr().unwrap(), None).unwrap();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                answer(&mut stream, status).await;
                stream
            });
            assert_eq!(health.is_well().await, healthy);
            server.await.unwrap();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn over_tls_only_the_demos_own_leader_is_healthy() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [own, other] = folders.each_ref().map(|folder| Certificate::in_folder(folder.path()).unwrap());
        for (shown, healthy) in [(&own, true), (&other, false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let health = Health::of(listener.local_addr().unwrap(), Some(&own.authority)).unwrap();
            let chain = vec![CertificateDer::from_pem_file(&shown.certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&shown.key).unwrap();
            let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
            let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    answer(&mut stream, "200 OK").await;
                }
            });
            assert_eq!(health.is_well().await, healthy);
            server.await.unwrap();
        }
    }
}
