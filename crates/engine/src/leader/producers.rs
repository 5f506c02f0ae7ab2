//! The table of producers: who submitted what last, so that a repeated submission is answered and not done twice.
//!
//! The leader commits a producer's last submission together with its event. So a repeat is answered with the event
//! that is already in the log, also by a leader that started since.
//!
//! The table is bounded by [`MAX_PRODUCERS`]: it forgets the producer whose last event is the oldest. A producer that is not
//! in the table must begin with sequence 1, so that a forgotten one gets an error instead of having its repeat done twice.
//! One case remains: a *first* submission, repeated after 10,000 other producers wrote in between.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::fault::{self, Fault};
use crate::{Event, Index, Operation, ProducerId, Sequence};

/// How many producers a log remembers.
pub const MAX_PRODUCERS: usize = 10_000;

/// The last committed submission of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submitted {
    /// Who submitted it.
    pub producer: ProducerId,
    /// As which of its submissions.
    pub sequence: Sequence,
    /// What came of it.
    pub event: Event,
}

/// Why a producer's submission was not taken. It is not in the log as a result of this call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum ProducerError {
    /// A later submission of the producer is in the log already.
    #[error("sequence {got} is stale: the last of producer {producer} in the log is {last}")]
    Stale {
        /// The producer.
        producer: ProducerId,
        /// Its last sequence in the log.
        last: Sequence,
        /// What was submitted.
        got: Sequence,
    },
    /// The producer's last submission had the same sequence and another operation.
    #[error(
        "producer {producer} used sequence {sequence} for another operation, at index {index}; a new operation needs the next sequence"
    )]
    Reused {
        /// The producer.
        producer: ProducerId,
        /// The sequence.
        sequence: Sequence,
        /// Where the other operation is.
        index: Index,
    },
    /// The log does not know the producer, which does not begin with 1.
    #[error(
        "this log does not know producer {producer}, which does not begin with sequence 1 but {got}; begin anew with another producer id"
    )]
    Unknown {
        /// The producer.
        producer: ProducerId,
        /// What was submitted.
        got: Sequence,
    },
}

/// The last submission of each producer, bounded by [`MAX_PRODUCERS`].
#[derive(Clone, Debug, Default, Hash)]
pub struct Producers {
    last: BTreeMap<ProducerId, (Sequence, Event)>,
    /// Whose last event lies where: the first is forgotten first.
    by_index: BTreeMap<Index, ProducerId>,
}

/// What changed in the table, to be made durable with the batch that changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerChanges {
    /// Producers with a new last submission, ordered by id.
    pub written: Vec<Submitted>,
    /// Producers that are remembered no more, ordered by id.
    pub forgotten: Vec<ProducerId>,
}

/// One entry as it was before a change.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Before {
    producer: ProducerId,
    entry: Option<(Sequence, Event)>,
}

impl Producers {
    /// The table that holds `submitted`. Of more than the bound the newest are kept.
    #[must_use]
    pub fn restore(submitted: impl IntoIterator<Item = Submitted>) -> Self {
        let mut producers = Self::default();
        for Submitted { producer, sequence, event } in submitted {
            producers.put(producer, Some((sequence, event)));
        }
        while producers.last.len() > MAX_PRODUCERS {
            producers.forget_oldest();
        }
        producers
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Whether a submission is new (`None`), or a repeat of the last one, and then what came of it.
    ///
    /// # Errors
    ///
    /// [`ProducerError`] if it is neither.
    pub fn judge(
        &self,
        producer: &ProducerId,
        sequence: Sequence,
        operation: Operation,
    ) -> Result<Option<Event>, ProducerError> {
        let Some(&(last, event)) = self.last.get(producer) else {
            if sequence == Sequence(1) {
                return Ok(None);
            }
            return Err(ProducerError::Unknown { producer: producer.clone(), got: sequence });
        };
        if sequence > last
            || (sequence == last && fault::active(Fault::AcceptRepeats))
            || (sequence < last && fault::active(Fault::AcceptStaleSequence))
        {
            Ok(None)
        } else if sequence < last {
            Err(ProducerError::Stale { producer: producer.clone(), last, got: sequence })
        } else if event.operation != operation {
            Err(ProducerError::Reused { producer: producer.clone(), sequence, index: event.index })
        } else {
            Ok(Some(event))
        }
    }

    /// Notes a new last submission, and says what was there before: for the producer, and for the one that was
    /// forgotten to make room.
    pub(crate) fn record(&mut self, submitted: Submitted) -> (Before, Option<Before>) {
        let Submitted { producer, sequence, event } = submitted;
        let before = self.put(producer, Some((sequence, event)));
        let forgotten = (self.last.len() > MAX_PRODUCERS).then(|| self.forget_oldest()).flatten();
        (before, forgotten)
    }

    /// Undoes one change. Changes are undone last first.
    pub(crate) fn undo(&mut self, Before { producer, entry }: Before) {
        self.put(producer, entry);
    }

    /// What the entries that `changed` names hold now.
    pub(crate) fn changes<'a>(&self, changed: impl IntoIterator<Item = &'a Before>) -> ProducerChanges {
        let names: BTreeSet<_> = changed.into_iter().map(|before| &before.producer).collect();
        let mut changes = ProducerChanges::default();
        for name in names {
            match self.last.get(name) {
                Some(&(sequence, event)) => {
                    changes.written.push(Submitted { producer: name.clone(), sequence, event });
                }
                None => changes.forgotten.push(name.clone()),
            }
        }
        changes
    }

    fn put(&mut self, producer: ProducerId, entry: Option<(Sequence, Event)>) -> Before {
        let before = self.last.remove(&producer);
        if let Some((_, event)) = before {
            self.by_index.remove(&event.index);
        }
        if let Some((sequence, event)) = entry {
            self.by_index.insert(event.index, producer.clone());
            self.last.insert(producer.clone(), (sequence, event));
        }
        Before { producer, entry: before }
    }

    fn forget_oldest(&mut self) -> Option<Before> {
        let (_, producer) = self.by_index.first_key_value()?;
        let producer = producer.clone();
        Some(self.put(producer, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProducerId {
        ProducerId::new(name).unwrap()
    }

    fn submitted(name: &str, sequence: u64, index: u64) -> Submitted {
        let event = Event { index: Index(index), operation: Operation::Add(1), value: i64::try_from(index).unwrap() };
        Submitted { producer: id(name), sequence: Sequence(sequence), event }
    }

    #[test]
    fn a_repeat_is_answered_and_everything_else_that_is_not_new_is_refused() {
        let producers = Producers::restore([submitted("a", 5, 9)]);
        let judge = |name, sequence, operation| producers.judge(&id(name), Sequence(sequence), operation);
        let event = submitted("a", 5, 9).event;
        assert_eq!(judge("a", 5, Operation::Add(1)), Ok(Some(event)));
        assert_eq!(judge("a", 6, Operation::Add(1)), Ok(None));
        assert_eq!(judge("a", 9, Operation::Add(1)), Ok(None), "sequences may skip");
        assert_eq!(
            judge("a", 4, Operation::Add(1)),
            Err(ProducerError::Stale { producer: id("a"), last: Sequence(5), got: Sequence(4) })
        );
        assert_eq!(
            judge("a", 5, Operation::Add(2)),
            Err(ProducerError::Reused { producer: id("a"), sequence: Sequence(5), index: Index(9) })
        );
        assert_eq!(judge("b", 1, Operation::Add(1)), Ok(None));
        assert_eq!(
            judge("b", 2, Operation::Add(1)),
            Err(ProducerError::Unknown { producer: id("b"), got: Sequence(2) })
        );
    }

    #[test]
    fn the_producer_that_wrote_longest_ago_is_forgotten_first() {
        let all = (1..=MAX_PRODUCERS as u64).map(|n| submitted(&format!("p{n}"), 1, n));
        let mut producers = Producers::restore(all);
        // The first one writes again, so the second is now the oldest.
        let (_, forgotten) = producers.record(submitted("p1", 2, 100_000));
        assert!(forgotten.is_none());
        let (before, forgotten) = producers.record(submitted("new", 1, 100_001));
        let forgotten = forgotten.unwrap();
        assert_eq!((forgotten.producer.as_str(), producers.last.len()), ("p2", MAX_PRODUCERS));
        let changes = producers.changes([&before, &forgotten]);
        assert_eq!((changes.written, changes.forgotten), (vec![submitted("new", 1, 100_001)], vec![id("p2")]));

        producers.undo(forgotten);
        producers.undo(before);
        assert!(producers.judge(&id("p2"), Sequence(1), Operation::Add(1)).unwrap().is_some());
        assert_eq!(producers.judge(&id("new"), Sequence(1), Operation::Add(1)), Ok(None));
        assert_eq!(producers.by_index.len(), producers.last.len());
    }

    #[test]
    fn of_too_many_producers_the_newest_are_restored() {
        let restored = |count: u64| Producers::restore((1..=count).map(|n| submitted(&format!("p{n}"), 1, n)));
        let bound = MAX_PRODUCERS as u64;
        let full = restored(bound);
        assert_eq!((full.last.len(), full.last.contains_key(&id("p1"))), (MAX_PRODUCERS, true));
        let more = restored(bound + 2);
        assert_eq!((more.last.len(), more.by_index.len()), (MAX_PRODUCERS, MAX_PRODUCERS));
        assert!(!more.last.contains_key(&id("p2")) && more.last.contains_key(&id("p3")));
    }
}
