//! Who may read and who may write, by the token that a call shows.
//!
//! Without a file of tokens, everyone may. A token that may write may also read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;
use tokio::sync::watch;
use tonic::Code;
use wire::status::status;

use super::follow_file::follow;
use crate::rpc::edge::Form;

/// The shortest token, in bytes. 22 characters of base64 hold 128 random bits.
const SHORTEST: usize = 16;

/// The longest token, in bytes.
const LONGEST: usize = 512;

/// The calls that change something.
const WRITING: [&str; 2] =
    ["/calculator.v1.CalculatorService/Submit", "/calculator.v1.CalculatorService/ControlGenerator"];

/// The beginnings of the paths of all others that need a token, if reading does. Health and the page need none.
const READING: [&str; 3] = ["/calculator.v1.CalculatorService/", "/sharedcalculator.Leader/", "/metrics"];

/// The tokens of a leader. Cheap to clone: all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Those that may write and read. `None`: whoever may read may write.
    write: Option<TokenFile>,
    /// Those that may read. `None`: everyone may.
    read: Option<TokenFile>,
}

/// A file with a token on each line.
#[derive(Clone, Debug)]
struct TokenFile {
    path: Arc<PathBuf>,
    newest: watch::Sender<Lines>,
}

/// The tokens of a file.
#[derive(Clone, PartialEq, Eq)]
struct Lines(Arc<Vec<Vec<u8>>>);

impl std::fmt::Debug for Lines {
    /// Shows none of them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// A file of tokens cannot be used.
#[derive(Debug, Error)]
#[error("{}: {problem}", file.display())]
pub struct TokenFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: TokenFileProblem,
}

/// What is wrong with a file of tokens. Does not repeat what the file holds.
#[derive(Debug, Error)]
pub enum TokenFileProblem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It has no token.
    #[error("holds no token; write one on a line of its own, for example with `openssl rand -base64 24`")]
    Empty,
    /// A line is not a token.
    #[error(
        "line {0} is not a token: one has {SHORTEST} to {LONGEST} characters: letters, digits and any of - . _ ~ + / ="
    )]
    Invalid(usize),
}

impl Tokens {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TokenFileError`] names the first file that cannot be used.
    pub fn load(write: Option<&Path>, read: Option<&Path>) -> Result<Self, TokenFileError> {
        let load = |path: Option<&Path>| path.map(TokenFile::load).transpose();
        Ok(Self { write: load(write)?, read: load(read)? })
    }

    /// Whether any call needs a token.
    #[must_use]
    pub fn are_needed(&self) -> bool {
        self.write.is_some() || self.read.is_some()
    }

    /// Takes over changed files, for as long as it runs.
    pub(crate) async fn follow_files(self) {
        let following = [self.write, self.read].map(|file| async {
            if let Some(TokenFile { path, newest }) = file {
                follow(move || Lines::load(&path), newest, "file of tokens").await;
            }
        });
        let [write, read] = following;
        tokio::join!(write, read);
    }

    /// Judges a request.
    ///
    /// # Errors
    ///
    /// [`NotAllowed`] if it needs a token that it does not show.
    pub fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), NotAllowed> {
        let writes = WRITING.contains(&uri.path());
        let reads = writes || READING.iter().any(|beginning| uri.path().starts_with(beginning));
        let needed = if writes { self.write.as_ref().or(self.read.as_ref()) } else { self.read.as_ref() };
        if needed.is_none() || !reads {
            return Ok(());
        }
        let shown = shown(headers).ok_or(NotAllowed::Missing)?;
        let has = |file: &Option<TokenFile>| file.as_ref().is_some_and(|file| file.newest.borrow().has(shown));
        // Looks at both, so that the time does not tell which one a token is in.
        let (may_write, may_read) = (has(&self.write), has(&self.read));
        match (may_write, may_read) {
            (true, _) => Ok(()),
            (false, true) if writes && self.write.is_some() => Err(NotAllowed::OnlyReads),
            (false, true) => Ok(()),
            (false, false) => Err(NotAllowed::Unknown),
        }
    }
}

impl TokenFile {
    fn load(path: &Path) -> Result<Self, TokenFileError> {
        Ok(Self { newest: watch::Sender::new(Lines::load(path)?), path: Arc::new(path.to_owned()) })
    }
}

impl Lines {
    fn load(path: &Path) -> Result<Self, TokenFileError> {
        let failed = |problem| TokenFileError { file: path.to_owned(), problem };
        let text = std::fs::read(path).map_err(|error| failed(error.into()))?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        let mut tokens = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
            if !(SHORTEST..=LONGEST).contains(&line.len()) || !line.iter().all(valid) {
                return Err(failed(TokenFileProblem::Invalid(number + 1)));
            }
            tokens.push(line.to_vec());
        }
        if tokens.is_empty() { Err(failed(TokenFileProblem::Empty)) } else { Ok(Self(Arc::new(tokens))) }
    }

    /// Compares in a time that depends on lengths alone.
    fn has(&self, shown: &[u8]) -> bool {
        self.0.iter().fold(Choice::from(0), |found, token| found | token.as_slice().ct_eq(shown)).into()
    }
}

/// The token in a request's headers.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    let only = headers.next().filter(|_| headers.next().is_none())?;
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAllowed {
    /// It shows no token.
    #[error("this needs a token: send the header `authorization: Bearer TOKEN`")]
    Missing,
    /// It shows another token than those that are allowed.
    #[error("this leader does not know the token; ask its operator for one")]
    Unknown,
    /// Its token may only read.
    #[error("the token may only read; to change something, use one that may write")]
    OnlyReads,
}

impl NotAllowed {
    fn answer(self, form: Option<Form>) -> Response {
        let (code, http, reason) = match self {
            Self::Missing => (Code::Unauthenticated, StatusCode::UNAUTHORIZED, "TOKEN_MISSING"),
            Self::Unknown => (Code::Unauthenticated, StatusCode::UNAUTHORIZED, "TOKEN_UNKNOWN"),
            Self::OnlyReads => (Code::PermissionDenied, StatusCode::FORBIDDEN, "TOKEN_ONLY_READS"),
        };
        let Some(form) = form else {
            let mut response = (http, format!("Not allowed: {self}.\n")).into_response();
            if http == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return response;
        };
        form.answer(status(code, reason, &[], &self.to_string()))
    }
}

/// Refuses requests without the token that they need.
pub(crate) async fn guard(State(tokens): State<Tokens>, request: Request, next: Next) -> Response {
    match tokens.judge(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.answer(Form::of_request(request.headers())),
    }
}
