//! The flags of tokens.

use std::path::PathBuf;

use crate::http::tokens::{TokenFileError, Tokens};

/// The flags of tokens.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Tokens")]
pub struct TokenArgs {
    /// Take operations, and changes to the generator, only from callers with a token of this file: one a line, for example
    /// made with `openssl rand -base64 24`. They may also read. The leader takes over a changed file within seconds
    #[arg(long, value_name = "FILE", env = "CALCULATOR_WRITE_TOKEN_FILE")]
    write_token_file: Option<PathBuf>,

    /// Answer only callers with a token of this file or the other one. The page's files and health need none
    #[arg(long, value_name = "FILE", env = "CALCULATOR_READ_TOKEN_FILE")]
    read_token_file: Option<PathBuf>,

    /// A proxy ends TLS, so tokens may come in cleartext from other machines
    #[arg(long)]
    pub tls_ends_at_proxy: bool,
}

impl TokenArgs {
    pub(super) fn are_given(&self) -> bool {
        self.write_token_file.is_some() || self.read_token_file.is_some()
    }

    pub(super) fn load(&self) -> Result<Tokens, TokenFileError> {
        Tokens::load(self.write_token_file.as_deref(), self.read_token_file.as_deref())
    }
}
