//! Who submits what: producers, their numbers, and their submissions.
//!
//! A **producer** numbers its submissions from 1 and repeats one, with the same number, until it is answered. The leader
//! remembers the last committed submission of each producer (see [`leader::Producers`](crate::leader::Producers)), so
//! that a repeat is answered and not done twice.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::{Identity, Index, Operation};

/// The most bytes of a producer's id.
pub const MAX_PRODUCER_ID_BYTES: usize = 64;

/// The name that a producer chose for itself, at random so that no two have the same. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(Arc<str>);

/// A text that is not a producer's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("a producer id has 1 to {MAX_PRODUCER_ID_BYTES} bytes; this one has {0}")]
pub struct InvalidProducerId(pub usize);

impl ProducerId {
    /// The producer called `id`.
    ///
    /// # Errors
    ///
    /// [`InvalidProducerId`] if it is empty or longer than [`MAX_PRODUCER_ID_BYTES`].
    pub fn new(id: &str) -> Result<Self, InvalidProducerId> {
        if id.is_empty() || id.len() > MAX_PRODUCER_ID_BYTES {
            return Err(InvalidProducerId(id.len()));
        }
        Ok(Self(id.into()))
    }

    /// The producer whose id is `random` in 32 hexadecimal digits.
    #[must_use]
    pub fn from_random(random: u128) -> Self {
        Self(format!("{random:032x}").into())
    }

    /// The id itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A producer's number for one submission; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An operation that somebody wants in the log, and under which conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission {
    /// What to do.
    pub operation: Operation,
    /// Who submits it, and as which of its submissions; without it a repeat is done twice.
    pub producer: Option<(ProducerId, Sequence)>,
    /// Do it only if this is the newest event of the log: compare-and-set.
    pub expected: Option<Index>,
    /// Who submits it, for people. `None` if they do not say.
    pub author: Option<Identity>,
}

/// Without a producer, a condition and an author.
impl From<Operation> for Submission {
    fn from(operation: Operation) -> Self {
        Self { operation, producer: None, expected: None, author: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_length() {
        assert_eq!(ProducerId::new(""), Err(InvalidProducerId(0)));
        assert_eq!(ProducerId::new(&"x".repeat(65)), Err(InvalidProducerId(65)));
        assert!(ProducerId::new(&"x".repeat(64)).is_ok());
    }
}
