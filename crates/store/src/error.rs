//! Why a commit was not made, and why history cannot be read.

use std::path::PathBuf;

use engine::{Index, Term};
use thiserror::Error;

/// Why a commit was not made durable. It is not in the log, unless the error says that this is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Another leader opened the log; this one must stop leading.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The files of the log are not those that were opened; this leader must stop leading.
    #[error(transparent)]
    Replaced(#[from] Replaced),
    /// The batch does not follow the tail.
    #[error(transparent)]
    NotNext(#[from] NotNext),
    /// The store takes no commit at present, for the reason given. A later one may be taken.
    #[error("the log cannot be written: {0}")]
    Unavailable(String),
    /// What is stored is not what was committed; this leader must stop leading.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The store failed at a moment when the commit may or may not have become durable. Opening the log again shows
    /// which. The leader must not go on with either guess.
    #[error(
        "the log failed while it was written, and whether the last operations are in it shows at the next start: {0}"
    )]
    OutcomeUnknown(String),
}

/// Another leader opened the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("another leader took over the log with term {by}; this one has term {own}")]
pub struct Fenced {
    /// This leader's term.
    pub own: Term,
    /// The other's.
    pub by: Term,
}

/// A file of the log was removed, moved away or replaced while it was open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{} {} while the leader had it open", path.display(),
    if *removed { "was removed or moved away" } else { "was replaced by another" }
)]
pub struct Replaced {
    /// Where it was.
    pub path: PathBuf,
    /// Whether the path is empty. If not, another file is there.
    pub removed: bool,
}

/// A batch that does not follow the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a batch that starts at index {got} cannot follow the tail at {tail}")]
pub struct NotNext {
    /// The log's tail.
    pub tail: Index,
    /// Where the batch starts.
    pub got: Index,
}

/// Why history cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It was compacted away.
    #[error(transparent)]
    Compacted(#[from] Compacted),
    /// What is stored is not what was committed.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The store cannot be read at present, for the reason given.
    #[error("the log cannot be read: {0}")]
    Unavailable(String),
}

/// What is stored is not what was committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the stored log is damaged at index {index}: {what}")]
pub struct Corrupt {
    /// The first event that cannot be trusted; 0 if the whole log cannot.
    pub index: Index,
    /// What is wrong there.
    pub what: String,
}

/// Damaged events that the value does not depend on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("events {first} to {last}: {what}")]
pub struct Damage {
    /// The first event that cannot be read (inclusive).
    pub first: Index,
    /// The last one (inclusive).
    pub last: Index,
    /// What is wrong.
    pub what: String,
}

/// The history asked for was compacted away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the event at index {asked} was compacted away; history starts at index {}", floor.next())]
pub struct Compacted {
    /// What was asked for.
    pub asked: Index,
    /// Events at or below it are gone.
    pub floor: Index,
}
