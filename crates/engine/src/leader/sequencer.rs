//! The one place where a log grows.

use thiserror::Error;

use super::producers::{Before, Producers};
use crate::fault::{self, Fault};
use crate::{
    Authors, Batch, Event, Index, LogId, Operation, Position, ProducerChanges, ProducerError, Refusal, Snapshot,
    Submission, Submitted, Term, Timestamp, apply,
};

/// The most events that one batch holds. Encoded, an event takes at most 13 bytes and all authors at most
/// [`MAX_AUTHOR_BYTES`](crate::author::MAX_AUTHOR_BYTES), so that the weakest supported link, of 4 kB/s, gets through a full
/// batch in less than four seconds.
pub const MAX_BATCH_EVENTS: usize = 1_024;

/// Validates operations one by one and seals them into batches: the one place where a log grows.
///
/// It can run ahead of the store: [`propose`](Self::propose) applies to the newest value, committed or not.
/// [`roll_back`](Self::roll_back) undoes what the store did not take.
///
/// ```
/// use engine::leader::{Proposed, Sequencer};
/// use engine::{Author, LogId, Operation, Position, ProducerId, Sequence, Snapshot, Submission, Term, Timestamp};
///
/// let log = LogId(7);
/// let mut sequencer = Sequencer::new(Term(1), Snapshot::take(log, Position::origin(log), 0), []);
/// let producer = ProducerId::new("me").expect("two bytes");
/// let submission = Submission { producer: Some((producer, Sequence(1))), ..Operation::Add(5).into() };
/// let Proposed::New(event) = sequencer.submit(&submission)? else { panic!("it is new") };
/// // A repeat is the same event.
/// assert_eq!(sequencer.submit(&submission)?, Proposed::Repeated(event));
///
/// let batch = sequencer.seal(Timestamp(0)).expect("one operation was proposed");
/// assert_eq!((batch.operations(), batch.authors().author_of(0)), (&[Operation::Add(5)][..], Author::Unnamed));
/// // … the store makes it durable …
/// sequencer.commit();
/// assert_eq!(sequencer.committed().value(), 5);
/// # Ok::<(), engine::leader::ProposeError>(())
/// ```
#[derive(Clone, Debug, Hash)]
pub struct Sequencer {
    log: LogId,
    term: Term,
    /// Where the durable log ends, and the value there.
    committed: (Position, i64),
    /// The end of everything that was sealed or proposed, and the value there.
    newest: (Position, i64),
    /// Proposed since the last seal.
    open: Vec<Operation>,
    /// Who submitted those.
    authors: Authors,
    /// Who submitted what last, up to the newest event.
    producers: Producers,
    /// What `producers` held before each change since the last commit, in order.
    changed: Vec<Before>,
}

/// The batch under construction is full: seal it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("the open batch holds {MAX_BATCH_EVENTS} events, or as many authors as fit; seal it before proposing more")]
pub struct BatchFull;

/// The newest event is not the one that a submission expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("the log is at index {current}, not at {expected} as expected; look at what happened since and submit again")]
pub struct IndexMismatch {
    /// What the submission expected.
    pub expected: Index,
    /// The newest event.
    pub current: Index,
}

/// What came of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proposed {
    /// It is the newest event.
    New(Event),
    /// It is a repeat of one that came to this event before, which may not be durable yet.
    Repeated(Event),
}

/// Why a submission is not done. It is not in the log as a result of this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum Rejection {
    /// The producer's sequence is not the next one.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The log is not where the submission expected it.
    #[error(transparent)]
    Mismatch(#[from] IndexMismatch),
    /// The calculator cannot do this to its present value.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why [`Sequencer::submit`] or [`Sequencer::propose`] took nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum ProposeError {
    /// The submission cannot be done.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// There is no room in the open batch.
    #[error(transparent)]
    Full(#[from] BatchFull),
}

impl Sequencer {
    /// Continues the log whose durable end is `tail`, as the leader of `term`. `producers` are those that the log
    /// remembers.
    #[must_use]
    pub fn new(term: Term, tail: Snapshot, producers: impl IntoIterator<Item = Submitted>) -> Self {
        let end = (tail.position(), tail.value());
        let producers =
            if fault::active(Fault::ForgetProducers) { Producers::default() } else { Producers::restore(producers) };
        Self {
            log: tail.log(),
            term,
            committed: end,
            newest: end,
            open: Vec::new(),
            authors: Authors::default(),
            producers,
            changed: Vec::new(),
        }
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.producers.len()
    }

    /// Applies a submission to the newest value and adds it to the open batch, unless it is a repeat.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if it is refused or the batch is full; nothing has changed then.
    pub fn submit(&mut self, submission: &Submission) -> Result<Proposed, ProposeError> {
        if let Some((producer, sequence)) = &submission.producer
            && let Some(event) =
                self.producers.judge(producer, *sequence, submission.operation).map_err(Rejection::from)?
        {
            return Ok(Proposed::Repeated(event));
        }
        let current = self.newest.0.index;
        if let Some(expected) = submission.expected.filter(|expected| *expected != current)
            && !fault::active(Fault::IgnoreExpectedIndex)
        {
            return Err(Rejection::from(IndexMismatch { expected, current }).into());
        }
        let offset = self.open.len();
        if !self.authors.has_room(offset, submission.author.as_ref()) {
            return Err(BatchFull.into());
        }
        let event = self.propose(submission.operation)?;
        let offset = offset + usize::from(fault::active(Fault::MisplaceAuthors));
        self.authors.add(offset, submission.author.as_ref());
        if let Some((producer, sequence)) = submission.producer.clone() {
            let (before, forgotten) = self.producers.record(Submitted { producer, sequence, event });
            self.changed.push(before);
            self.changed.extend(forgotten);
        }
        Ok(Proposed::New(event))
    }

    /// Applies `operation`, which nobody submitted, to the newest value and adds it to the open batch.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if the operation is refused or the batch is full; nothing has changed then.
    pub fn propose(&mut self, operation: Operation) -> Result<Event, ProposeError> {
        if self.open.len() >= MAX_BATCH_EVENTS {
            return Err(BatchFull.into());
        }
        let (end, value) = self.newest;
        let value = apply(value, operation).map_err(Rejection::from)?;
        let index = end.index.next();
        let digest = end.digest.after(index, operation, value);
        self.newest = (Position { index, digest }, value);
        self.open.push(operation);
        self.assert_order();
        Ok(Event { index, operation, value })
    }

    /// Closes the open batch, to be made durable; `None` if nothing was proposed.
    pub fn seal(&mut self, committed_at: Timestamp) -> Option<Batch> {
        let operations = std::mem::take(&mut self.open);
        let authors = std::mem::take(&mut self.authors);
        let end = self.newest.0;
        let first = Index(end.index.0 - operations.len() as u64).next();
        let batch = Batch::new(self.term, first, operations, end.digest, committed_at).ok()?;
        Some(batch.with_authors(authors))
    }

    /// The store has made everything sealed so far durable.
    pub fn commit(&mut self) {
        assert!(self.open.is_empty(), "only sealed batches can be committed");
        self.committed = self.newest;
        self.changed.clear();
        self.assert_order();
    }

    /// The store did not take what was sealed: forgets everything after the durable end.
    pub fn roll_back(&mut self) {
        if fault::active(Fault::KeepRolledBack) {
            return;
        }
        self.newest = self.committed;
        self.open.clear();
        self.authors = Authors::default();
        while let Some(before) = self.changed.pop() {
            self.producers.undo(before);
        }
    }

    /// What changed since the last commit in what the log remembers of producers: to be made durable with the batch.
    #[must_use]
    pub fn producer_changes(&self) -> ProducerChanges {
        self.producers.changes(&self.changed)
    }

    /// The newest state, durable or not: what the next operation meets.
    #[must_use]
    pub fn newest(&self) -> Snapshot {
        Snapshot::take(self.log, self.newest.0, self.newest.1)
    }

    /// The durable end of the log and the value there.
    #[must_use]
    pub fn committed(&self) -> Snapshot {
        Snapshot::take(self.log, self.committed.0, self.committed.1)
    }

    fn assert_order(&self) {
        assert!(self.committed.0.index <= self.newest.0.index, "the durable end lies beyond the newest event");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Author, Digest, Identity, ProducerId, Sequence};

    const LOG: LogId = LogId(1);

    fn sequencer() -> Sequencer {
        Sequencer::new(Term(1), Snapshot::take(LOG, Position::origin(LOG), 0), [])
    }

    #[test]
    fn a_refused_operation_leaves_no_trace() {
        let mut sequencer = sequencer();
        sequencer.propose(Operation::Add(7)).unwrap();
        assert!(matches!(sequencer.propose(Operation::Divide(0)), Err(ProposeError::Rejected(Rejection::Refused(_)))));
        let event = sequencer.propose(Operation::PowerOfTwo).unwrap();
        assert_eq!(event, Event { index: Index(2), operation: Operation::PowerOfTwo, value: 49 });
        let batch = sequencer.seal(Timestamp(5)).unwrap();
        assert_eq!(batch.operations(), [Operation::Add(7), Operation::PowerOfTwo]);
        assert_eq!(batch.replay(0, Digest::of_log(LOG)), Ok((49, batch.digest())));
    }

    #[test]
    fn batches_follow_each_other_without_a_hole() {
        let mut sequencer = sequencer();
        assert_eq!(sequencer.seal(Timestamp(0)), None);
        for round in 0..3_u64 {
            for _ in 0..=round {
                sequencer.propose(Operation::Add(1)).unwrap();
            }
            let batch = sequencer.seal(Timestamp(0)).unwrap();
            assert_eq!(batch.first(), sequencer.committed().position().index.next());
            sequencer.commit();
            assert_eq!(batch.end(), sequencer.committed().position());
        }
        assert_eq!(sequencer.committed().position().index, Index(6));
    }

    #[test]
    fn what_the_store_did_not_take_is_undone() {
        let mut sequencer = sequencer();
        sequencer.propose(Operation::Add(1)).unwrap();
        sequencer.seal(Timestamp(0)).unwrap();
        sequencer.commit();
        sequencer.propose(Operation::Add(10)).unwrap();
        sequencer.seal(Timestamp(0)).unwrap();
        sequencer.propose(Operation::Add(100)).unwrap();
        sequencer.roll_back();
        assert_eq!((sequencer.newest().value(), sequencer.seal(Timestamp(0))), (1, None));
        assert_eq!(sequencer.propose(Operation::Add(2)).unwrap().index, Index(2));
    }

    fn by(producer: &str, sequence: u64, operation: Operation) -> Submission {
        let producer = Some((ProducerId::new(producer).unwrap(), Sequence(sequence)));
        Submission { producer, ..operation.into() }
    }

    #[test]
    fn a_repeat_is_not_done_twice_durable_or_not() {
        let mut sequencer = sequencer();
        let Ok(Proposed::New(event)) = sequencer.submit(&by("a", 1, Operation::Add(5))) else { panic!("new") };
        assert_eq!(sequencer.submit(&by("a", 1, Operation::Add(5))), Ok(Proposed::Repeated(event)));
        sequencer.seal(Timestamp(0)).unwrap();
        let changes = sequencer.producer_changes();
        sequencer.commit();
        assert_eq!(sequencer.submit(&by("a", 1, Operation::Add(5))), Ok(Proposed::Repeated(event)));
        assert_eq!(sequencer.producer_changes(), ProducerChanges::default(), "all of it is durable");

        let mut next_life = Sequencer::new(Term(2), sequencer.committed(), changes.written);
        assert_eq!(next_life.submit(&by("a", 1, Operation::Add(5))), Ok(Proposed::Repeated(event)));
        assert!(matches!(next_life.submit(&by("a", 2, Operation::Add(5))), Ok(Proposed::New(_))));
    }

    #[test]
    fn what_is_rolled_back_or_refused_leaves_the_sequence_free() {
        let mut sequencer = sequencer();
        assert!(sequencer.submit(&by("a", 1, Operation::Divide(0))).is_err());
        sequencer.submit(&by("a", 1, Operation::Add(1))).unwrap();
        sequencer.submit(&by("a", 2, Operation::Add(1))).unwrap();
        sequencer.seal(Timestamp(0)).unwrap();
        sequencer.roll_back();
        assert_eq!(sequencer.newest(), sequencer.committed());
        let again = sequencer.submit(&by("a", 1, Operation::Add(7))).unwrap();
        assert_eq!(again, Proposed::New(Event { index: Index(1), operation: Operation::Add(7), value: 7 }));
    }

    #[test]
    fn an_expected_index_is_compared_with_the_newest_event() {
        let mut sequencer = sequencer();
        let at = |expected| Submission { expected: Some(Index(expected)), ..Operation::Add(1).into() };
        assert!(sequencer.submit(&at(0)).is_ok());
        let mismatch = IndexMismatch { expected: Index(0), current: Index(1) };
        assert_eq!(sequencer.submit(&at(0)), Err(Rejection::from(mismatch).into()));
        assert!(sequencer.submit(&at(1)).is_ok());
        // A repeat is answered before its condition is looked at: it held when the submission was done.
        let conditional = |expected| Submission { expected: Some(Index(expected)), ..by("a", 1, Operation::Add(1)) };
        assert!(matches!(sequencer.submit(&conditional(2)), Ok(Proposed::New(_))));
        assert!(matches!(sequencer.submit(&conditional(2)), Ok(Proposed::Repeated(_))));
    }

    #[test]
    fn a_batch_names_who_submitted_each_event() {
        let mut sequencer = sequencer();
        let me = Identity { name: "me".to_owned(), ..Identity::default() };
        let mine = |operation: Operation| Submission { author: Some(me.clone()), ..operation.into() };
        sequencer.propose(Operation::Add(1)).unwrap();
        assert!(sequencer.submit(&mine(Operation::Divide(0))).is_err(), "a refused operation has no author");
        sequencer.submit(&mine(Operation::Add(2))).unwrap();
        sequencer.submit(&Operation::Add(3).into()).unwrap();
        sequencer.roll_back();
        sequencer.propose(Operation::Add(1)).unwrap();
        sequencer.submit(&mine(Operation::Add(2))).unwrap();
        let batch = sequencer.seal(Timestamp(0)).unwrap();
        sequencer.commit();
        assert_eq!(batch.authors().each().take(2).collect::<Vec<_>>(), [Author::Generator, Author::Named(&me)]);
        sequencer.submit(&Operation::Add(3).into()).unwrap();
        let batch = sequencer.seal(Timestamp(0)).unwrap();
        assert_eq!(batch.authors().author_of(0), Author::Unnamed);
    }

    #[test]
    fn authors_that_do_not_fit_close_the_batch() {
        let mut sequencer = sequencer();
        let by = |number: usize| {
            let author = Identity { name: format!("{number:064}"), ..Identity::default() };
            Submission { author: Some(author), ..Operation::Add(1).into() }
        };
        let mut number = 0;
        while sequencer.submit(&by(number)) != Err(BatchFull.into()) {
            number += 1;
        }
        assert!((10..100).contains(&number), "{number}");
        let batch = sequencer.seal(Timestamp(0)).unwrap();
        assert_eq!((batch.operations().len(), batch.authors().dictionary().len()), (number, number));
        assert!(matches!(sequencer.submit(&by(number)), Ok(Proposed::New(_))));
    }

    #[test]
    fn a_full_batch_takes_no_more_until_it_is_sealed() {
        let mut sequencer = sequencer();
        for _ in 0..MAX_BATCH_EVENTS {
            sequencer.propose(Operation::Add(0)).unwrap();
        }
        assert_eq!(sequencer.propose(Operation::Add(0)), Err(ProposeError::Full(BatchFull)));
        assert_eq!(sequencer.seal(Timestamp(0)).unwrap().operations().len(), MAX_BATCH_EVENTS);
        assert!(sequencer.propose(Operation::Add(0)).is_ok());
    }
}
