//! The demo's certificate for TLS, and the authority that signed it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// How long a certificate is valid. Some browsers take none that is valid for longer.
const VALID: Duration = Duration::from_secs(397 * 24 * 60 * 60);

/// The age at which a new one is made.
const OLD: Duration = Duration::from_secs(300 * 24 * 60 * 60);

/// The names and addresses under which this machine reaches itself.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate as files.
pub(crate) struct Certificate {
    /// The authority's certificate. Its key is kept nowhere, so it can sign no other.
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one in `folder`, unless there is one of an earlier demo: somebody may have told a browser to trust that.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        let file = |name: &str| folder.join(name);
        let certificate = Self { authority: file("ca.pem"), certificate: file("leader.pem"), key: file("leader.key") };
        if !certificate.is_there() {
            certificate.make().with_context(|| format!("cannot make a certificate in {}", folder.display()))?;
        }
        Ok(certificate)
    }

    fn is_there(&self) -> bool {
        [&self.authority, &self.certificate, &self.key].into_iter().all(|file| {
            let made = fs::metadata(file).and_then(|metadata| metadata.modified());
            made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < OLD))
        })
    }

    fn make(&self) -> Result<()> {
        let expires = SystemTime::now() + VALID;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "Distributed calculator, demo on this machine");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_after = expires.into();
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.not_after = expires.into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;

        fs::write(&self.authority, authority.pem())?;
        fs::write(&self.certificate, certificate.pem())?;
        write_secret(&self.key, &key.serialize_pem())
    }
}

/// Writes a file that only its owner may read.
fn write_secret(file: &Path, text: &str) -> Result<()> {
    // The permissions below are those of a new file.
    let _ = fs::remove_file(file);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_is_kept_and_an_old_or_incomplete_one_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let made = Certificate::in_folder(folder.path()).unwrap();
        let first = fs::read(&made.certificate).unwrap();
        assert_eq!(fs::metadata(&made.key).unwrap().permissions().mode() & 0o777, 0o600);
        let again = || fs::read(Certificate::in_folder(folder.path()).unwrap().certificate).unwrap();
        assert_eq!(again(), first);
        fs::remove_file(&made.key).unwrap();
        let second = again();
        assert_ne!(second, first);
        let file = fs::File::options().write(true).open(&made.authority).unwrap();
        file.set_modified(SystemTime::now() - OLD).unwrap();
        assert_ne!(again(), second);
    }
}
