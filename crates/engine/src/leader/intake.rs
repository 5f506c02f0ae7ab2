//! All that a leader decides about submissions: what enters the log, in which batch, and when each caller is answered.

use super::{BatchFull, PendingAnswers, ProposeError, Proposed, Rejection, Sequencer};
use crate::{Batch, Event, Operation, ProducerChanges, Snapshot, Submission, Timestamp};

/// A [`Sequencer`] with its [`PendingAnswers`].
///
/// `C` names a caller. `E` is what a caller gets instead of an event: a [`Rejection`], or what its owner gives for a commit
/// that failed.
#[derive(Clone, Debug, Hash)]
pub struct Intake<C, E> {
    log: Sequencer,
    pending: PendingAnswers<C, E>,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Taken<C, E> {
    /// The caller can be answered at once.
    Answered(C, Result<Event, E>),
    /// The caller is answered when the open batch is durable, or has failed.
    Waits,
    /// The open batch is full: commit it and submit again.
    Full(C),
}

/// What becomes durable together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sealed {
    /// The batch.
    pub batch: Batch,
    /// The state after it.
    pub tail: Snapshot,
    /// What it changes in the table of producers.
    pub producers: ProducerChanges,
}

impl<C, E: From<Rejection> + Clone> Intake<C, E> {
    /// Continues `log`, of which everything is durable.
    #[must_use]
    pub fn new(log: Sequencer) -> Self {
        let pending = PendingAnswers::new(log.committed().position().index);
        Self { log, pending }
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.log.producers()
    }

    /// Judges a submission and adds it to the open batch.
    #[must_use]
    pub fn submit(&mut self, submission: &Submission, caller: C) -> Taken<C, E> {
        let answer = match self.log.submit(submission) {
            Ok(Proposed::New(event) | Proposed::Repeated(event)) => self.pending.accept(event, caller),
            Err(ProposeError::Full(BatchFull)) => return Taken::Full(caller),
            Err(ProposeError::Rejected(why)) => {
                self.pending.reject(why.into(), self.log.newest().position().index, caller)
            }
        };
        answer.map_or(Taken::Waits, |(caller, answer)| Taken::Answered(caller, answer))
    }

    /// Adds an operation for which nobody waits to the open batch.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if the operation is refused or the batch is full; nothing has changed then.
    pub fn propose(&mut self, operation: Operation) -> Result<Event, ProposeError> {
        self.log.propose(operation)
    }

    /// Closes the open batch, to be made durable; `None` if it is empty. One batch is under way at a time: call
    /// [`durable`](Self::durable) or [`failed`](Self::failed) before the next one.
    #[must_use]
    pub fn seal(&mut self, committed_at: Timestamp) -> Option<Sealed> {
        let batch = self.log.seal(committed_at)?;
        Some(Sealed { batch, tail: self.log.newest(), producers: self.log.producer_changes() })
    }

    /// The sealed batch is durable. Returns who is answered, and how.
    #[must_use]
    pub fn durable(&mut self) -> Vec<(C, Result<Event, E>)> {
        self.log.commit();
        self.pending.durable(self.log.committed().position().index)
    }

    /// The open batch and the sealed one are given up: the log ends where it was durable. Returns who is answered with `why`.
    #[must_use]
    pub fn failed(&mut self, why: &E) -> Vec<(C, Result<Event, E>)> {
        self.log.roll_back();
        self.pending.failed(why)
    }

    /// The durable end of the log and the value there.
    #[must_use]
    pub fn committed(&self) -> Snapshot {
        self.log.committed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leader::MAX_BATCH_EVENTS;
    use crate::{Index, LogId, Position, ProducerId, Sequence, Term};

    #[derive(Clone, Debug, PartialEq, Eq)]
    enum No {
        Rejected(Rejection),
        DiskFull,
    }

    impl From<Rejection> for No {
        fn from(why: Rejection) -> Self {
            Self::Rejected(why)
        }
    }

    fn intake() -> Intake<&'static str, No> {
        let log = LogId(1);
        Intake::new(Sequencer::new(Term(1), Snapshot::take(log, Position::origin(log), 0), []))
    }

    fn by_producer(operation: Operation) -> Submission {
        let producer = ProducerId::new("p").unwrap();
        Submission { producer: Some((producer, Sequence(1))), ..operation.into() }
    }

    #[test]
    fn a_refusal_is_answered_with_the_batch_that_it_was_judged_by() {
        let mut intake = intake();
        let refused = intake.submit(&Operation::Divide(0).into(), "before");
        assert!(matches!(refused, Taken::Answered("before", Err(No::Rejected(Rejection::Refused(_))))));
        assert_eq!(intake.submit(&Operation::Add(7).into(), "adds"), Taken::Waits);
        assert_eq!(intake.submit(&Operation::Divide(0).into(), "divides"), Taken::Waits);
        let sealed = intake.seal(Timestamp(1)).unwrap();
        assert_eq!((sealed.batch.last(), sealed.tail.value()), (Index(1), 7));
        let answers = intake.durable();
        assert!(matches!(answers[..], [("adds", Ok(Event { value: 7, .. })), ("divides", Err(No::Rejected(_)))]));
        assert_eq!(intake.committed().value(), 7);
    }

    #[test]
    fn what_failed_is_as_if_it_had_never_been_submitted() {
        let mut intake = intake();
        let submission = by_producer(Operation::Add(7));
        assert_eq!(intake.submit(&submission, "first"), Taken::Waits);
        assert_eq!(intake.submit(&submission, "repeat"), Taken::Waits);
        let sealed = intake.seal(Timestamp(1)).unwrap();
        assert_eq!(sealed.producers.written.len(), 1);
        assert_eq!(intake.failed(&No::DiskFull), [("first", Err(No::DiskFull)), ("repeat", Err(No::DiskFull))]);
        assert_eq!((intake.committed().value(), intake.seal(Timestamp(2))), (0, None));
        assert_eq!(intake.submit(&submission, "again"), Taken::Waits, "it is new");
        assert!(intake.seal(Timestamp(3)).is_some());
        let [("again", Ok(event))] = intake.durable()[..] else { panic!("no answer") };
        assert_eq!(intake.submit(&submission, "late"), Taken::Answered("late", Ok(event)));
    }

    #[test]
    fn a_full_batch_gives_the_caller_back() {
        let mut intake = intake();
        for _ in 0..MAX_BATCH_EVENTS {
            intake.propose(Operation::Add(0)).unwrap();
        }
        assert_eq!(intake.submit(&Operation::Add(1).into(), "late"), Taken::Full("late"));
        assert!(intake.seal(Timestamp(1)).is_some());
        assert_eq!(intake.durable(), []);
        assert_eq!(intake.submit(&Operation::Add(1).into(), "late"), Taken::Waits);
    }
}
