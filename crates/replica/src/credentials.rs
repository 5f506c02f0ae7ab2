//! What a leader is shown, and how it is verified: flags and environment.

use std::env::{self, VarError};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use follower::{Address, Options, Tls, Token};

const TOKEN: &str = "CALCULATOR_TOKEN";

/// The flags. The token itself is no flag, because every user of a machine can read the flags of a program.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS and tokens")]
pub struct Credentials {
    /// Trust a leader whose certificate one of these has signed, instead of those that the system trusts; a PEM file
    #[arg(long, value_name = "FILE", env = "CALCULATOR_TLS_CA")]
    tls_ca: Option<PathBuf>,

    /// Show this certificate to a leader that asks for one; a PEM file
    #[arg(long, value_name = "FILE", env = "CALCULATOR_REPLICA_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", env = "CALCULATOR_REPLICA_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Show the leader the token in this file
    #[arg(long, value_name = "FILE", env = "CALCULATOR_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    /// Send the token in cleartext to another machine, where all machines in between can read it
    #[arg(long)]
    cleartext_token: bool,
}

impl Credentials {
    /// Reads the files, for the leader at `address`.
    ///
    /// # Errors
    ///
    /// If a file or the token cannot be used, or the token would be sent in cleartext to another machine.
    pub fn options(&self, address: &str) -> anyhow::Result<Options> {
        let mut tls = Tls::default();
        if let Some(file) = &self.tls_ca {
            tls = tls.trust(file)?;
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.identify(certificate, key)?;
        }
        let token = self.token()?;
        if token.is_set() && !self.cleartext_token && address.parse::<Address>()?.is_exposed() {
            bail!(
                "the token would travel in cleartext to {address}: use an https:// address, or --cleartext-token if the \
                 way there is safe"
            );
        }
        Ok(Options { token, tls })
    }

    fn token(&self) -> anyhow::Result<Token> {
        let (text, from) = match (&self.token_file, env::var(TOKEN)) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                (text, file.display().to_string())
            }
            (None, Ok(text)) => (text, TOKEN.to_owned()),
            (None, Err(VarError::NotPresent)) => return Ok(Token::default()),
            (None, Err(VarError::NotUnicode(_))) => bail!("{TOKEN} holds no token: it is not text"),
        };
        let token = Token::default();
        token.set(&text).map_err(|invalid| anyhow!("{from} holds no token: {invalid}"))?;
        if token.is_set() { Ok(token) } else { bail!("{from} holds no token: it is empty") }
    }
}
