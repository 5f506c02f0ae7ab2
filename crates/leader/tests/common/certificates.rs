//! Certificates that a test makes for itself.

use std::path::{Path, PathBuf};

use leader::http::tls::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority, and the files that it wrote.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Authorities of one name would be taken for each other.
        params.distinguished_name.push(DnType::CommonName, format!("authority {:016x}", rand::random::<u64>()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, directory: tempfile::tempdir().unwrap() };
        std::fs::write(authority.ca(), authority.issuer.pem()).unwrap();
        authority
    }

    /// The authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Writes a new certificate for this machine, and its key.
    pub fn certify(&self, name: &str) -> TlsFiles {
        let directory = self.directory.path();
        let files = TlsFiles {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
            client_ca: None,
        };
        self.write(&files.certificate, &files.key);
        files
    }

    /// Writes a new certificate for this machine into the files.
    pub fn write(&self, certificate: &Path, key: &Path) {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let pair = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(names).unwrap().signed_by(&pair, &self.issuer).unwrap();
        std::fs::write(certificate, signed.pem()).unwrap();
        std::fs::write(key, pair.serialize_pem()).unwrap();
    }
}
