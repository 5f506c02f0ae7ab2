//! `ReadEventsResponse`, and its message `BatchEnd`.

use engine::{Authors, BatchEnd, Digest, HistoryPage, Index, Operation, Position, Resume, Snapshot, Term, Timestamp};

use super::{DecodeError, IndexRange, UnorderedBatches, authors};
use crate::pb;

impl From<HistoryPage> for pb::ReadEventsResponse {
    fn from(page: HistoryPage) -> Self {
        let before = page.before.map(|before| Resume { log: before.log(), position: before.position() }.into());
        let (authors, author_runs) = authors::to_wire(&page.authors);
        Self {
            first_index: page.first.0,
            next_index: page.next().0,
            operations: page.operations.into_iter().map(Into::into).collect(),
            tail: page.tail.0,
            floor: page.floor.0,
            before,
            value_before: page.before.map_or(0, |before| before.value()),
            authors,
            author_runs,
            batches: page.batches.into_iter().map(Into::into).collect(),
        }
    }
}

/// Refuses a page that does not fit together. Whether it is the log's history shows [`HistoryPage::replay`].
impl TryFrom<pb::ReadEventsResponse> for HistoryPage {
    type Error = DecodeError;

    fn try_from(page: pb::ReadEventsResponse) -> Result<Self, Self::Error> {
        let events = page.operations.len();
        let range = IndexRange { first: page.first_index, events };
        let next = page.first_index.checked_add(events as u64).filter(|_| page.first_index > 0).ok_or(range)?;
        let before = page.before.map(Resume::try_from).transpose()?;
        let batches: Vec<BatchEnd> = page.batches.into_iter().map(Into::into).collect();
        let is_ordered = batches.is_sorted_by(|before, after| before.end.index < after.end.index)
            && batches.first().is_none_or(|batch| batch.end.index.0 >= page.first_index)
            && batches.last().is_none_or(|batch| batch.end.index.next().0 >= next);
        if !is_ordered {
            return Err(UnorderedBatches { first: page.first_index }.into());
        }
        // A leader that does not know the fields names no batches, so that its page does not pass for the generator's.
        let authors = if batches.is_empty() {
            Authors::unknown(events)
        } else {
            authors::from_wire(page.authors, page.author_runs)
        };
        Ok(Self {
            first: Index(page.first_index),
            operations: page.operations.into_iter().map(Operation::try_from).collect::<Result<_, _>>()?,
            before: before.map(|Resume { log, position }| Snapshot::take(log, position, page.value_before)),
            batches,
            authors,
            tail: Index(page.tail),
            floor: Index(page.floor),
        })
    }
}

impl From<BatchEnd> for pb::BatchEnd {
    fn from(batch: BatchEnd) -> Self {
        Self {
            index: batch.end.index.0,
            digest: batch.end.digest.0,
            term: batch.term.0,
            committed_at_us: batch.committed_at.0,
        }
    }
}

impl From<pb::BatchEnd> for BatchEnd {
    fn from(batch: pb::BatchEnd) -> Self {
        Self {
            end: Position { index: Index(batch.index), digest: Digest(batch.digest) },
            term: Term(batch.term),
            committed_at: Timestamp(batch.committed_at_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{Identity, LogId};

    use super::*;

    fn page() -> HistoryPage {
        let end = |index| Position { index: Index(index), digest: Digest(index * 3) };
        let mut authors = Authors::default();
        authors.add(1, Some(&Identity { name: "me".to_owned(), ..Identity::default() }));
        let batch = |index| BatchEnd { end: end(index), term: Term(2), committed_at: Timestamp(index) };
        HistoryPage {
            first: Index(7),
            operations: vec![Operation::Divide(-3), Operation::PowerOfTwo],
            before: Some(Snapshot::take(LogId(5), end(6), -70)),
            batches: vec![batch(7), batch(9)],
            authors,
            tail: Index(26),
            floor: Index(5),
        }
    }

    #[test]
    fn a_page_survives_the_wire() {
        let full = page();
        let older = HistoryPage { before: None, batches: Vec::new(), authors: Authors::unknown(2), ..page() };
        let (batches, authors) = (Vec::new(), Authors::unknown(0));
        let beyond_the_tail = HistoryPage { operations: Vec::new(), batches, authors, ..page() };
        for page in [full, older, beyond_the_tail] {
            assert_eq!(pb::ReadEventsResponse::from(page.clone()).try_into(), Ok(page));
        }
    }

    #[test]
    fn a_page_that_does_not_fit_together_is_refused() {
        let altered = |alter: fn(&mut pb::ReadEventsResponse)| {
            let mut message = page().into();
            alter(&mut message);
            HistoryPage::try_from(message).unwrap_err()
        };
        let range = |first, events| DecodeError::from(IndexRange { first, events });
        assert_eq!(altered(|page| page.first_index = 0), range(0, 2));
        assert_eq!(altered(|page| page.first_index = u64::MAX), range(u64::MAX, 2));
        let unordered = DecodeError::from(UnorderedBatches { first: 7 });
        assert_eq!(altered(|page| page.batches.swap(0, 1)), unordered);
        assert_eq!(altered(|page| page.batches[0].index = 6), unordered, "it ends before the page");
        assert_eq!(altered(|page| page.batches.truncate(1)), unordered, "the last event is in no batch");
        assert!(matches!(altered(|page| page.operations[0].kind = None), DecodeError::Missing(_)));
        assert!(matches!(altered(|page| page.before.as_mut().unwrap().log_id.clear()), DecodeError::LogId(_)));
    }
}
