//! TLS of a port: its files, and the configuration that follows them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore};
use tokio_rustls::server::TlsStream;

use super::follow_file::follow;
use super::peer::PeerIo;

/// The protocols on offer, in this order. Over HTTP/2, a browser needs one connection for all of its tabs.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The largest record, in bytes. A client sees none of its bytes before the last one has come. On a link of 4 kB/s one of 16
/// KiB, as is usual, would take longer than a client waits for a sign of life.
const RECORD: usize = 2 << 10;

/// Encrypted bytes of a connection that may wait for the system to take them.
const UNSENT: usize = 16 << 10;

/// The files that TLS needs, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The leader's certificate, and then those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of which one must have signed each client's. `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// A file that TLS cannot use.
#[derive(Debug, Error)]
#[error("{}: {problem}", file.display())]
pub struct TlsError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: TlsProblem,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum TlsProblem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is not PEM.
    #[error("is not a PEM file: {0:?}")]
    NotPem(pem::Error),
    /// It is PEM, but has no certificate.
    #[error("holds no certificate; a PEM file with one has a line that says BEGIN CERTIFICATE")]
    NoCertificate,
    /// It is PEM, but has no key that can be used.
    #[error(
        "holds no private key; a PEM file with one has a line that says BEGIN PRIVATE KEY. A key with a password cannot be \
         used: remove the password first (openssl pkey)"
    )]
    NoKey,
    /// The key is of no use with the certificate.
    #[error("does not fit the certificate in {}: {error}", certificate.display())]
    Key {
        /// The certificate's file.
        certificate: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// A certificate cannot be used to verify those of clients.
    #[error("cannot verify clients: {0}")]
    Root(rustls::Error),
    /// The certificates together cannot be used to verify those of clients.
    #[error("cannot verify clients: {0}")]
    Roots(VerifierBuilderError),
}

/// TLS with the newest files that could be used. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    files: Arc<TlsFiles>,
    newest: watch::Sender<Loaded>,
}

#[derive(Clone, Debug)]
struct Loaded {
    contents: Arc<Contents>,
    config: Arc<ServerConfig>,
}

impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

/// What was in the files.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Contents {
    /// Shows nothing, because the key is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the first file that cannot be used.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = load(&files)?;
        Ok(Self { files: Arc::new(files), newest: watch::Sender::new(loaded) })
    }

    /// What the next connection is accepted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.newest.borrow().config).into()
    }

    /// Takes over changed files for later connections, for as long as it runs.
    pub(crate) async fn follow_files(self) {
        let Self { files, newest } = self;
        follow(move || load(&files), newest, "TLS certificate or key").await;
    }
}

/// What a program that speaks HTTP without TLS is answered.
const SPEAKS_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
                          This port speaks TLS: use https://\n";

/// The first byte of every TLS connection: a record with a handshake message.
const HANDSHAKE: u8 = 0x16;

/// Makes the handshake.
pub(crate) async fn accept(tls: &TlsAcceptor, io: PeerIo) -> io::Result<TlsStream<PeerIo>> {
    let mut first = [0];
    if io.socket.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        let mut io = io;
        io.write_all(SPEAKS_TLS.as_bytes()).await?;
        io.shutdown().await?;
        return Err(io::Error::other("the client does not speak TLS"));
    }
    tls.accept_with(io, |connection| connection.set_buffer_limit(Some(UNSENT))).await
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let contents = Contents::read(files)?;
    let config = configure(files, &contents)?;
    Ok(Loaded { contents: Arc::new(contents), config })
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |file: &Path| std::fs::read(file).map_err(|error| problem(file, TlsProblem::Unreadable(error)));
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

fn configure(files: &TlsFiles, contents: &Contents) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| match error {
        pem::Error::NoItemsFound => problem(&files.key, TlsProblem::NoKey),
        error => problem(&files.key, TlsProblem::NotPem(error)),
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    // The provider has cipher suites for both default versions of TLS.
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| key_problem(files, error))?;
    let builder = match (&files.client_ca, &contents.client_ca) {
        (Some(file), Some(contents)) => {
            let roots = certificates(file, contents)?;
            builder.with_client_cert_verifier(client_verifier(file, roots, provider)?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| key_problem(files, error))?;
    config.max_fragment_size = Some(RECORD);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

fn certificates(file: &Path, contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(contents).collect();
    let found = found.map_err(|error| problem(file, TlsProblem::NotPem(error)))?;
    if found.is_empty() { Err(problem(file, TlsProblem::NoCertificate)) } else { Ok(found) }
}

fn client_verifier(
    file: &Path,
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| problem(file, TlsProblem::Root(error)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.build().map_err(|error| problem(file, TlsProblem::Roots(error)))
}

fn key_problem(files: &TlsFiles, error: rustls::Error) -> TlsError {
    problem(&files.key, TlsProblem::Key { certificate: files.certificate.clone(), error })
}

fn problem(file: &Path, problem: TlsProblem) -> TlsError {
    TlsError { file: file.to_owned(), problem }
}
