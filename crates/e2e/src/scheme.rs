//! Whether a test runs over TLS, and the certificate for it.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, CertifiedKey, KeyPair, PublicKeyData as _};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;

/// Names the scheme of the run: `https`, or `http` as without it.
pub const VARIABLE: &str = "CALCULATOR_SCHEME";

/// How a leader is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In cleartext: browsers use HTTP/1.1.
    Http,
    /// Over TLS: browsers use HTTP/2.
    Https,
}

impl Scheme {
    /// The scheme of this run of the tests.
    #[must_use]
    pub fn of_run() -> Self {
        if std::env::var_os(VARIABLE).is_some_and(|scheme| scheme == "https") { Self::Https } else { Self::Http }
    }

    /// The scheme of this URL.
    #[must_use]
    pub fn of(url: &str) -> Self {
        if url.starts_with("https:") { Self::Https } else { Self::Http }
    }

    /// As in a URL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The certificate of all leaders of this run. No client trusts it by itself.
fn certificate() -> anyhow::Result<&'static CertifiedKey<KeyPair>> {
    static CERTIFICATE: OnceLock<CertifiedKey<KeyPair>> = OnceLock::new();
    if let Some(certificate) = CERTIFICATE.get() {
        return Ok(certificate);
    }
    let signing_key = KeyPair::generate().context("no key")?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let cert =
        CertificateParams::new(names).and_then(|params| params.self_signed(&signing_key)).context("no certificate")?;
    Ok(CERTIFICATE.get_or_init(|| CertifiedKey { cert, signing_key }))
}

/// What browsers call the key of the certificate: a hash of it.
pub(crate) fn key_hash() -> anyhow::Result<String> {
    let key = certificate()?.signing_key.subject_public_key_info();
    Ok(BASE64_STANDARD.encode(digest(&SHA256, &key)))
}

/// The certificate and its key as files. They are deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn write() -> anyhow::Result<Self> {
        let files = Self(tempfile::tempdir().context("no folder for the certificate")?);
        let CertifiedKey { cert, signing_key } = certificate()?;
        std::fs::write(files.certificate(), cert.pem())?;
        std::fs::write(files.key(), signing_key.serialize_pem())?;
        Ok(files)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// The certificate as a root for tonic.
    pub(crate) fn root(&self) -> anyhow::Result<tonic::transport::Certificate> {
        Ok(tonic::transport::Certificate::from_pem(std::fs::read(self.certificate())?))
    }
}

/// What a client of a leader at `url` must know to verify it.
///
/// # Errors
///
/// If there is no certificate.
pub fn options_for(url: &str) -> anyhow::Result<follower::Options> {
    let mut options = follower::Options::default();
    if Scheme::of(url) == Scheme::Https {
        options.tls = options.tls.trust(&Files::write()?.certificate())?;
    }
    Ok(options)
}
