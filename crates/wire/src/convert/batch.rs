//! `Batch`.

use engine::{Batch, Digest, Index, Operation, Term, Timestamp};

use super::{DecodeError, IndexRange, authors};
use crate::pb;

impl From<&Batch> for pb::Batch {
    fn from(batch: &Batch) -> Self {
        let (authors, author_runs) = authors::to_wire(batch.authors());
        Self {
            term: batch.term().0,
            first_index: batch.first().0,
            operations: batch.operations().iter().copied().map(Into::into).collect(),
            digest: batch.digest().0,
            committed_at_us: batch.committed_at().0,
            authors,
            author_runs,
        }
    }
}

impl TryFrom<pb::Batch> for Batch {
    type Error = DecodeError;

    fn try_from(batch: pb::Batch) -> Result<Self, Self::Error> {
        let events = batch.operations.len();
        let range = IndexRange { first: batch.first_index, events };
        if batch.first_index == 0 || batch.first_index.checked_add(events as u64).is_none() {
            return Err(range.into());
        }
        let authors = authors::from_wire(batch.authors, batch.author_runs);
        let operations = batch.operations.into_iter().map(Operation::try_from).collect::<Result<_, _>>()?;
        let batch = Self::new(
            Term(batch.term),
            Index(batch.first_index),
            operations,
            Digest(batch.digest),
            Timestamp(batch.committed_at_us),
        )?;
        Ok(batch.with_authors(authors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_batch_says_what_is_wrong() {
        let batch = pb::Batch { first_index: 1, ..Default::default() };
        let empty = Batch::try_from(batch.clone()).unwrap_err();
        assert_eq!(empty.to_string(), "the batch that starts at index 1 holds no events");

        let unset = pb::Batch { operations: vec![pb::Operation { kind: None }], ..batch };
        assert_eq!(Batch::try_from(unset.clone()).unwrap_err().to_string(), "operation.kind is not set");

        for first_index in [0, u64::MAX] {
            let out_of_range = pb::Batch { first_index, ..unset.clone() };
            let expected = IndexRange { first: first_index, events: 1 };
            assert_eq!(Batch::try_from(out_of_range), Err(expected.into()));
        }
    }
}
