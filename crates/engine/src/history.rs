//! Pages of history, and their check.

use thiserror::Error;

use crate::{Authors, Digest, Event, Index, Operation, Position, Refusal, Snapshot, Term, Timestamp, apply};

/// Consecutive events that were read from a leader's history, with what it takes to check them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The index of the first event.
    pub first: Index,
    /// The events' operations; empty if `first` lies beyond the tail.
    pub operations: Vec<Operation>,
    /// The state before the first event. `None` if the leader cannot know it or does not say.
    pub before: Option<Snapshot>,
    /// The ends of all batches of which the page holds an event, in order. The last may end beyond the page. Empty if the
    /// leader does not say.
    pub batches: Vec<BatchEnd>,
    /// Who submitted the events.
    pub authors: Authors,
    /// The newest committed event.
    pub tail: Index,
    /// Events at or below it were compacted away.
    pub floor: Index,
}

/// Where a batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchEnd {
    /// The position after its last event.
    pub end: Position,
    /// The term of the leader that committed it.
    pub term: Term,
    /// When, by that leader's clock.
    pub committed_at: Timestamp,
}

/// Why a page is not the history that follows a state: the leader's storage is damaged, or the page was altered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WrongHistory {
    /// The page does not begin where the state is.
    #[error("the page begins at event {got}, expected {expected}")]
    Elsewhere {
        /// The event after the state.
        expected: Index,
        /// Where the page begins.
        got: Index,
    },
    /// The page names another state before its first event.
    #[error(
        "before event {} the leader names the value {} and the digest {}; here they are {} and {}",
        own.position().index.next(), leader.value(), leader.position().digest, own.value(), own.position().digest
    )]
    Before {
        /// The state that it names.
        leader: Snapshot,
        /// The state that it should follow.
        own: Snapshot,
    },
    /// The calculator refuses an operation.
    #[error("event {at} cannot be applied: {refusal}")]
    Refused {
        /// Where the operation is.
        at: Index,
        /// Why.
        refusal: Refusal,
    },
    /// The digest at the end of a batch differs.
    #[error("after event {at} the leader names the digest {leader}; here it is {own}")]
    Digest {
        /// Where the batch ends.
        at: Index,
        /// What the page names.
        leader: Digest,
        /// What the events yield.
        own: Digest,
    },
}

impl HistoryPage {
    /// The event after the last one of the page.
    #[must_use]
    pub fn next(&self) -> Index {
        self.first.plus(self.operations.len() as u64)
    }

    /// The end of the batch that holds the event at `index`, if the page names it.
    #[must_use]
    pub fn batch_of(&self, index: Index) -> Option<&BatchEnd> {
        self.batches.get(self.batches.partition_point(|batch| batch.end.index < index))
    }

    /// Computes the state after each event, from `before`, and compares it with what the page says. Stops after the first
    /// error.
    ///
    /// ```
    /// use engine::{Authors, HistoryPage, Index, LogId, Operation, Position, Snapshot};
    ///
    /// let log = LogId(7);
    /// let before = Snapshot::take(log, Position::origin(log), 0);
    /// let operations = vec![Operation::Add(6), Operation::Multiply(7)];
    /// let (tail, floor) = (Index(2), Index(0));
    /// let (batches, authors) = (Vec::new(), Authors::default());
    /// let page = HistoryPage { first: Index(1), operations, before: Some(before), batches, authors, tail, floor };
    /// let states: Vec<_> = page.replay(before).collect::<Result<_, _>>()?;
    /// assert_eq!(states.iter().map(|(event, _)| event.value).collect::<Vec<_>>(), [6, 42]);
    /// # Ok::<(), engine::WrongHistory>(())
    /// ```
    pub fn replay(&self, before: Snapshot) -> impl Iterator<Item = Result<(Event, Digest), WrongHistory>> + '_ {
        let mut at = Ok((before.position(), before.value()));
        let expected = before.position().index.next();
        if expected != self.first {
            at = Err(WrongHistory::Elsewhere { expected, got: self.first });
        } else if let Some(leader) = self.before.filter(|leader| *leader != before) {
            at = Err(WrongHistory::Before { leader, own: before });
        }
        let mut operations = self.operations.iter();
        let mut batches = self.batches.iter().peekable();
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let step = at.clone().and_then(|(end, value)| {
                let Some(&operation) = operations.next() else { return Ok(None) };
                let index = end.index.next();
                let value = apply(value, operation).map_err(|refusal| WrongHistory::Refused { at: index, refusal })?;
                let digest = end.digest.after(index, operation, value);
                if let Some(batch) = batches.next_if(|batch| batch.end.index == index)
                    && batch.end.digest != digest
                {
                    return Err(WrongHistory::Digest { at: index, leader: batch.end.digest, own: digest });
                }
                at = Ok((Position { index, digest }, value));
                Ok(Some((Event { index, operation, value }, digest)))
            });
            failed = step.is_err();
            step.transpose()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogId;

    const LOG: LogId = LogId(7);

    /// Events 1 to 5 in the batches 1 to 2, 3 to 5, and the state before them.
    fn page() -> (HistoryPage, Snapshot) {
        use Operation::{Add, Divide, Multiply, PowerOfTwo, Subtract};
        let before = Snapshot::take(LOG, Position::origin(LOG), 0);
        let mut page = HistoryPage {
            first: Index(1),
            operations: vec![Add(6), Multiply(7), Subtract(2), Divide(4), PowerOfTwo],
            before: Some(before),
            batches: Vec::new(),
            authors: Authors::default(),
            tail: Index(5),
            floor: Index(0),
        };
        let states: Vec<_> = page.replay(before).collect::<Result<_, _>>().unwrap();
        for last in [1, 4] {
            let (event, digest) = states[last];
            let end = Position { index: event.index, digest };
            page.batches.push(BatchEnd { end, term: Term(1), committed_at: Timestamp(last as u64) });
        }
        (page, before)
    }

    fn replay(page: &HistoryPage, before: Snapshot) -> Result<Vec<i64>, WrongHistory> {
        page.replay(before).map(|step| step.map(|(event, _)| event.value)).collect()
    }

    #[test]
    fn a_sound_page_yields_its_values() {
        let (page, before) = page();
        assert_eq!(replay(&page, before), Ok(vec![6, 42, 40, 10, 100]));
        assert_eq!(page.next(), Index(6));
        let batches = [1, 2, 3, 5, 6].map(|index| page.batch_of(Index(index)).map(|batch| batch.end.index.0));
        assert_eq!(batches, [Some(2), Some(2), Some(5), Some(5), None]);
    }

    #[test]
    fn whatever_is_altered_in_a_page_is_found() {
        let (sound, before) = page();
        let mut operation = sound.clone();
        operation.operations[2] = Operation::Subtract(3);
        assert!(matches!(replay(&operation, before), Err(WrongHistory::Digest { at: Index(5), .. })));
        let mut impossible = sound.clone();
        impossible.operations[3] = Operation::Divide(0);
        assert!(matches!(replay(&impossible, before), Err(WrongHistory::Refused { at: Index(4), .. })));
        let mut digest = sound.clone();
        digest.batches[0].end.digest.0 ^= 1;
        assert!(matches!(replay(&digest, before), Err(WrongHistory::Digest { at: Index(2), .. })));
        let mut value = sound.clone();
        value.before = Some(Snapshot::take(LOG, before.position(), 1));
        assert!(matches!(replay(&value, before), Err(WrongHistory::Before { .. })));
        let mut elsewhere = sound.clone();
        elsewhere.first = Index(2);
        let expected = WrongHistory::Elsewhere { expected: Index(1), got: Index(2) };
        assert_eq!(replay(&elsewhere, before), Err(expected));
        // Without a name for the state before, only the digests show that it is wrong.
        let wrong = Snapshot::take(LOG, before.position(), 1);
        let unnamed = HistoryPage { before: None, ..sound };
        assert!(matches!(replay(&unnamed, wrong), Err(WrongHistory::Digest { at: Index(2), .. })));
    }

    #[test]
    fn a_replay_ends_with_its_first_error() {
        let (mut page, before) = page();
        page.batches[0].end.digest.0 ^= 1;
        let steps: Vec<_> = page.replay(before).map(|step| step.is_ok()).collect();
        assert_eq!(steps, [true, false]);
    }
}
