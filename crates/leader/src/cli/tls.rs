//! The flags of TLS.

use std::path::PathBuf;

use crate::http::tls::TlsFiles;

/// The flags of TLS.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Speak TLS with this certificate: a PEM file with it, and then those between it and a root. The leader takes over a
    /// changed file within seconds
    #[arg(long, value_name = "FILE", env = "CALCULATOR_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", env = "CALCULATOR_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Serve only clients with a certificate that one of these has signed; a PEM file
    #[arg(long, value_name = "FILE", env = "CALCULATOR_TLS_CLIENT_CA", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    pub(super) fn files(&self) -> Option<TlsFiles> {
        let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) else { return None };
        Some(TlsFiles { certificate, key, client_ca: self.tls_client_ca.clone() })
    }
}
