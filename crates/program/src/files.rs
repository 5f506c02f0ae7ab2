//! How many files a process may have open.

use std::error::Error;
use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of open files is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewFiles {
    /// How many files the process may have open.
    pub allowed: u64,
    /// How many files it needs.
    pub needed: u64,
}

impl fmt::Display for TooFewFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, needed } = self;
        write!(
            f,
            "this process may have only {allowed} open files and needs {needed}: raise the limit with `ulimit -n`"
        )
    }
}

impl Error for TooFewFiles {}

/// Raises the limit of open files as far as the system allows. A shell usually allows a thousand, the system many more.
///
/// # Errors
///
/// [`TooFewFiles`] if the process may have fewer than `needed`, so that it says so before it runs out of them.
pub fn allow_many_files(needed: u64) -> Result<(), TooFewFiles> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let allowed = if raised.is_ok() { limit.maximum } else { limit.current };
    match allowed {
        Some(allowed) if allowed < needed => Err(TooFewFiles { allowed, needed }),
        _ => Ok(()),
    }
}
