//! Batches: consecutive events committed together.

use thiserror::Error;

use crate::{Authors, Digest, Index, Operation, Position, Refusal, Term, Timestamp, apply};

/// Consecutive events that were committed together: the unit of durability, of sending and of applying. Immutable,
/// never empty.
///
/// ```
/// use engine::{Batch, Digest, Index, Operation, Term, Timestamp};
///
/// let (before, value) = (Digest(1), 10);
/// let operations = vec![Operation::Add(5), Operation::SquareRoot];
/// let digest = before.after(Index(8), operations[0], 15).after(Index(9), operations[1], 3);
/// let batch = Batch::new(Term(1), Index(8), operations, digest, Timestamp(0))?;
/// assert_eq!(batch.last(), Index(9));
/// assert_eq!(batch.replay(value, before), Ok((3, batch.digest())));
/// let values: Vec<i64> = batch.events(value).map(|event| event.value).collect();
/// assert_eq!(values, [15, 3]);
/// # Ok::<(), engine::EmptyBatch>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    term: Term,
    first: Index,
    operations: Vec<Operation>,
    digest: Digest,
    committed_at: Timestamp,
    authors: Authors,
}

/// A batch without events. No leader makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("the batch that starts at index {first} holds no events")]
pub struct EmptyBatch {
    /// Where the batch claims to start.
    pub first: Index,
}

/// One event of a batch with the value it yielded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// The event's place in the log.
    pub index: Index,
    /// What was done.
    pub operation: Operation,
    /// The calculator's value after it.
    pub value: i64,
}

impl Batch {
    /// A batch of `operations` whose first event is at `first` and whose digest after the last event is `digest`. All of it
    /// is the generator's.
    ///
    /// # Errors
    ///
    /// [`EmptyBatch`] if there are no operations.
    pub fn new(
        term: Term,
        first: Index,
        operations: Vec<Operation>,
        digest: Digest,
        committed_at: Timestamp,
    ) -> Result<Self, EmptyBatch> {
        if operations.is_empty() {
            return Err(EmptyBatch { first });
        }
        Ok(Self { term, first, operations, digest, committed_at, authors: Authors::default() })
    }

    /// The batch with `authors`, who submitted its events.
    #[must_use]
    pub fn with_authors(self, authors: Authors) -> Self {
        Self { authors, ..self }
    }

    /// Who submitted the events. No digest covers it.
    #[must_use]
    pub fn authors(&self) -> &Authors {
        &self.authors
    }

    /// The term of the leader that committed the batch.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The index of the first event (inclusive).
    #[must_use]
    pub fn first(&self) -> Index {
        self.first
    }

    /// The index of the last event (inclusive).
    #[must_use]
    pub fn last(&self) -> Index {
        self.first.plus(self.operations.len() as u64 - 1)
    }

    /// The operations in order; never empty.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The digest after the last event.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The position after the last event.
    #[must_use]
    pub fn end(&self) -> Position {
        Position { index: self.last(), digest: self.digest }
    }

    /// When the leader committed the batch, by its clock.
    #[must_use]
    pub fn committed_at(&self) -> Timestamp {
        self.committed_at
    }

    /// The batch's events, each with the value it yields when `value` stood before the first. The iterator ends early
    /// if an operation does not apply, which a log never contains.
    pub fn events(&self, value: i64) -> impl Iterator<Item = Event> + '_ {
        let mut value = value;
        let mut index = self.first;
        self.operations.iter().map_while(move |&operation| {
            value = apply(value, operation).ok()?;
            let event = Event { index, operation, value };
            index = index.next();
            Some(event)
        })
    }

    /// Computes the value and digest that the batch leads to from `value` and `before`, the digest before its first
    /// event.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first operation that does not apply.
    pub fn replay(&self, mut value: i64, before: Digest) -> Result<(i64, Digest), Refusal> {
        let mut digest = before;
        let mut index = self.first;
        for &operation in &self.operations {
            value = apply(value, operation)?;
            digest = digest.after(index, operation, value);
            index = index.next();
        }
        Ok((value, digest))
    }
}
