//! How a native replica verifies its leader, and what it shows of itself.

use std::io;
use std::path::{Path, PathBuf};

use http::Uri;
use thiserror::Error;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// How a leader with an `https://` address is verified. By default, it needs a certificate that the system trusts.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    roots: Option<Certificate>,
    identity: Option<Identity>,
}

/// A file cannot be used for TLS.
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
    #[error("holds no private key without a password; a PEM file with one has a line that says BEGIN PRIVATE KEY")]
    NoKey,
    /// A certificate in it cannot verify others.
    #[error("cannot verify a leader: {0}")]
    Root(rustls::Error),
}

impl Tls {
    /// Trusts leaders whose certificates one of those in this PEM file has signed, instead of those that the system trusts.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn trust(self, file: &Path) -> Result<Self, TlsError> {
        let pem = read(file)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file, &pem)? {
            roots.add(certificate).map_err(|error| problem(file, TlsProblem::Root(error)))?;
        }
        Ok(Self { roots: Some(Certificate::from_pem(pem)), ..self })
    }

    /// Shows this certificate to leaders that ask for one. Both files are PEM.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn identify(self, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (chain, secret) = (read(certificate)?, read(key)?);
        certificates(certificate, &chain)?;
        PrivateKeyDer::from_pem_slice(&secret).map_err(|error| match error {
            pem::Error::NoItemsFound => problem(key, TlsProblem::NoKey),
            error => problem(key, TlsProblem::NotPem(error)),
        })?;
        Ok(Self { identity: Some(Identity::from_pem(chain, secret)), ..self })
    }

    /// An endpoint for `leader`. An error means that the system trusts nobody, or that the key does not fit the certificate.
    pub(crate) fn endpoint(&self, leader: &Uri) -> Result<Endpoint, tonic::transport::Error> {
        let endpoint = Endpoint::from(leader.clone());
        if leader.scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        // Certificates name IPv6 addresses without brackets.
        let host = leader.host().unwrap_or_default().trim_matches(['[', ']']);
        let config = ClientTlsConfig::new().domain_name(host);
        let config = match &self.roots {
            Some(roots) => config.ca_certificate(roots.clone()),
            None => config.with_native_roots(),
        };
        endpoint.tls_config(match &self.identity {
            Some(identity) => config.identity(identity.clone()),
            None => config,
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| problem(file, TlsProblem::Unreadable(error)))
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| problem(file, TlsProblem::NotPem(error)))?;
    if found.is_empty() { Err(problem(file, TlsProblem::NoCertificate)) } else { Ok(found) }
}

fn problem(file: &Path, problem: TlsProblem) -> TlsError {
    TlsError { file: file.to_owned(), problem }
}
