//! What a producer must remember, and what each answer means.

use engine::{Event, Index, Operation, ProducerId, Sequence, Submission};

use crate::grpc::SubmitError;

/// A producer's id, its number, and the operation whose outcome is not known yet.
///
/// It is a plain value that can be saved: write it before an attempt is sent, and read it back with
/// [`restore`](Self::restore).
///
/// A number belongs to one operation until the outcome of that operation is known. So a repeat is answered with the event
/// that is already in the log, however late the first attempt arrives.
///
/// ```
/// use engine::{Event, Index, Operation, ProducerId, Sequence};
/// use follower::Outbox;
/// use follower::grpc::SubmitError;
/// use follower::producer::{Settled, Step};
///
/// let new_id = || ProducerId::from_random(2);
/// let mut outbox = Outbox::new(ProducerId::from_random(1));
/// outbox.begin(Operation::Add(5), None);
///
/// // No answer came, so the same number is sent again.
/// let step = outbox.handle_answer(Err(SubmitError::NoAnswer), new_id);
/// assert!(matches!(step, Some(Step::Again { .. })));
/// assert_eq!(outbox.sequence(), Sequence(1));
///
/// let event = Event { index: Index(7), operation: Operation::Add(5), value: 12 };
/// let step = outbox.handle_answer(Ok(event), new_id);
/// assert_eq!(step, Some(Step::Settled(Settled::Done { event, abandoned: None })));
/// assert_eq!(outbox.sequence(), Sequence(2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outbox {
    id: ProducerId,
    /// The number of the pending operation, or of the next one.
    sequence: Sequence,
    pending: Option<Pending>,
    /// An operation that was sent under `sequence` and then given up. It may still reach the log.
    abandoned: Option<Operation>,
}

/// An operation whose outcome is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The operation.
    pub operation: Operation,
    /// The leader takes it only if this is the newest event.
    pub expected: Option<Index>,
    /// Whether an attempt got no answer. The operation may be in the log, or get there later.
    pub in_doubt: bool,
}

/// What to do after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Pause, then send the pending operation again.
    Again {
        /// Why the attempt did not settle it.
        because: SubmitError,
        /// The index of an abandoned operation, if the answer shows that it is in the log.
        abandoned_at: Option<Index>,
    },
    /// The operation is no longer pending.
    Settled(Settled),
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is in the log, once.
    Done {
        /// Its event.
        event: Event,
        /// The abandoned operation with the same number, which can no longer get into the log. If it is the same
        /// operation, the event may be that one.
        abandoned: Option<Operation>,
    },
    /// It is not in the log, for this reason.
    Refused(SubmitError),
    /// It was refused and is not in the log. An earlier attempt may still arrive, when the leader no longer refuses it.
    RefusedForNow(SubmitError),
    /// It may or may not be in the log, and no answer will ever tell.
    NotKnown(SubmitError),
}

impl Outbox {
    /// The outbox of the new producer `id`, with nothing pending.
    #[must_use]
    pub fn new(id: ProducerId) -> Self {
        Self { id, sequence: Sequence(1), pending: None, abandoned: None }
    }

    /// An outbox that was saved with a pending operation. An attempt may have been sent since.
    #[must_use]
    pub fn restore(id: ProducerId, sequence: Sequence, operation: Operation, expected: Option<Index>) -> Self {
        Self { id, sequence, pending: Some(Pending { operation, expected, in_doubt: true }), abandoned: None }
    }

    /// The producer's id.
    #[must_use]
    pub fn id(&self) -> &ProducerId {
        &self.id
    }

    /// The number of the pending operation, or of the next one.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The operation whose outcome is not known yet.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// Makes `operation` the pending one. Returns `false` and does nothing if another one is pending.
    pub fn begin(&mut self, operation: Operation, expected: Option<Index>) -> bool {
        if self.pending.is_some() {
            return false;
        }
        self.pending = Some(Pending { operation, expected, in_doubt: false });
        true
    }

    /// The submission of the pending operation, without an author.
    #[must_use]
    pub fn submission(&self) -> Option<Submission> {
        let Pending { operation, expected, .. } = self.pending?;
        Some(Submission { producer: Some((self.id.clone(), self.sequence)), expected, ..operation.into() })
    }

    /// An attempt was sent whose answer is lost.
    pub fn lose_answer(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.in_doubt = true;
        }
    }

    /// An attempt was answered, or got no answer. `new_id` makes an id that no other producer has.
    ///
    /// Returns what to do next, or `None` if nothing is pending.
    pub fn handle_answer(
        &mut self,
        answer: Result<Event, SubmitError>,
        new_id: impl FnOnce() -> ProducerId,
    ) -> Option<Step> {
        let Pending { operation, in_doubt, .. } = self.pending?;
        let error = match answer {
            Ok(event) => {
                let abandoned = self.abandoned;
                self.take_next_number();
                self.pending = None;
                return Some(Step::Settled(Settled::Done { event, abandoned }));
            }
            Err(error) => error,
        };
        let again = |because| Step::Again { because, abandoned_at: None };
        Some(match error {
            // This attempt did not put it into the log.
            SubmitError::Busy(_) | SubmitError::NotCommitted(_) | SubmitError::Unsettled => again(error),
            SubmitError::NoAnswer | SubmitError::Failed(_) => {
                self.lose_answer();
                again(error)
            }
            // The log has another operation under the number, so this one is not in the log and cannot get there under it.
            SubmitError::Reused { index, .. } => {
                let was_abandoned = self.abandoned.is_some();
                if was_abandoned {
                    self.take_next_number();
                } else {
                    self.take_new_id(new_id());
                }
                if let Some(pending) = &mut self.pending {
                    pending.in_doubt = false;
                }
                Step::Again { because: error, abandoned_at: was_abandoned.then_some(index) }
            }
            // The log forgot the producer, or is another log; or a copy of this outbox went on to a later number.
            SubmitError::UnknownProducer(_) | SubmitError::Stale(_) => {
                self.take_new_id(new_id());
                if in_doubt { self.settle(Settled::NotKnown(error)) } else { again(error) }
            }
            SubmitError::Refused(_) | SubmitError::NotAllowed(_) | SubmitError::Mismatch { .. } if in_doubt => {
                self.abandoned = Some(operation);
                self.settle(Settled::RefusedForNow(error))
            }
            SubmitError::Refused(_) | SubmitError::NotAllowed(_) | SubmitError::Mismatch { .. } => {
                self.settle(Settled::Refused(error))
            }
        })
    }

    /// Gives the pending operation up. Returns whether it may be in the log, or get there later.
    ///
    /// The next operation takes the same number, so the log takes only one of the two, and the answer says which.
    pub fn give_up(&mut self) -> bool {
        match self.pending.take() {
            Some(Pending { operation, in_doubt: true, .. }) => {
                self.abandoned = Some(operation);
                true
            }
            Some(_) | None => false,
        }
    }

    fn settle(&mut self, settled: Settled) -> Step {
        self.pending = None;
        Step::Settled(settled)
    }

    fn take_next_number(&mut self) {
        self.sequence = Sequence(self.sequence.0 + 1);
        self.abandoned = None;
    }

    fn take_new_id(&mut self, id: ProducerId) {
        self.id = id;
        self.sequence = Sequence(1);
        self.abandoned = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: Operation = Operation::Add(1);
    const EVENT: Event = Event { index: Index(7), operation: ADD, value: 1 };

    fn named(id: &str) -> ProducerId {
        ProducerId::new(id).unwrap()
    }

    /// An outbox with `ADD` pending as "a", 3.
    fn pending(in_doubt: bool) -> Outbox {
        let mut outbox = Outbox::restore(named("a"), Sequence(3), ADD, None);
        outbox.pending = Some(Pending { operation: ADD, expected: None, in_doubt });
        outbox
    }

    fn again(because: SubmitError) -> Step {
        Step::Again { because, abandoned_at: None }
    }

    fn answer(outbox: &mut Outbox, error: SubmitError) -> Step {
        outbox.handle_answer(Err(error), || named("b")).unwrap()
    }

    fn numbered(outbox: &Outbox) -> (&str, u64) {
        (outbox.id.as_str(), outbox.sequence.0)
    }

    fn refused() -> SubmitError {
        SubmitError::Refused("overflow".to_owned())
    }

    fn unknown() -> SubmitError {
        SubmitError::UnknownProducer("who?".to_owned())
    }

    fn stale() -> SubmitError {
        SubmitError::Stale("3 is stale".to_owned())
    }

    fn reused() -> SubmitError {
        SubmitError::Reused { message: "used".to_owned(), index: Index(5) }
    }

    #[test]
    fn a_pending_operation_keeps_its_id_and_number_through_every_lost_answer() {
        let mut outbox = pending(false);
        let first = outbox.submission();
        for error in [
            SubmitError::NoAnswer,
            SubmitError::Failed("gone".to_owned()),
            SubmitError::Busy("full".to_owned()),
            SubmitError::NotCommitted("stopping".to_owned()),
        ] {
            assert_eq!(answer(&mut outbox, error.clone()), again(error));
            assert_eq!(outbox.submission(), first);
            assert!(!outbox.begin(Operation::Add(2), None), "no other operation may begin before");
        }
        let done = outbox.handle_answer(Ok(EVENT), || named("b"));
        assert_eq!(done, Some(Step::Settled(Settled::Done { event: EVENT, abandoned: None })));
        assert_eq!((numbered(&outbox), outbox.pending()), (("a", 4), None));
    }

    #[test]
    fn a_refusal_is_final_only_if_no_answer_was_lost() {
        let mut outbox = pending(false);
        assert_eq!(answer(&mut outbox, refused()), Step::Settled(Settled::Refused(refused())));
        assert_eq!(numbered(&outbox), ("a", 3));
        let mut outbox = pending(true);
        assert_eq!(answer(&mut outbox, refused()), Step::Settled(Settled::RefusedForNow(refused())));
        assert_eq!(
            numbered(&outbox),
            ("a", 3),
            "the next operation takes the number, so that only one of the two gets in"
        );
    }

    #[test]
    fn a_forgotten_producer_takes_a_new_id_and_an_operation_in_doubt_stays_unknown() {
        for error in [unknown(), stale()] {
            let mut outbox = pending(false);
            assert_eq!(answer(&mut outbox, error.clone()), again(error.clone()));
            assert_eq!((numbered(&outbox), outbox.pending().is_some()), (("b", 1), true));
            let mut outbox = pending(true);
            assert_eq!(answer(&mut outbox, error.clone()), Step::Settled(Settled::NotKnown(error)));
            assert_eq!((numbered(&outbox), outbox.pending().is_some()), (("b", 1), false));
        }
    }

    #[test]
    fn a_number_used_by_another_operation_proves_that_this_one_is_not_in_the_log() {
        let mut outbox = pending(true);
        assert_eq!(answer(&mut outbox, reused()), again(reused()));
        assert_eq!(numbered(&outbox), ("b", 1));
        assert!(!outbox.pending().unwrap().in_doubt);
    }

    #[test]
    fn the_next_operation_finds_an_abandoned_one() {
        let mut outbox = pending(true);
        assert!(outbox.give_up());
        assert!(outbox.begin(Operation::Add(2), None));
        assert_eq!(numbered(&outbox), ("a", 3));
        assert_eq!(answer(&mut outbox, reused()), Step::Again { because: reused(), abandoned_at: Some(Index(5)) });
        assert_eq!(numbered(&outbox), ("a", 4));

        let mut outbox = pending(true);
        assert!(outbox.give_up());
        assert!(outbox.begin(ADD, None));
        let done = outbox.handle_answer(Ok(EVENT), || named("b"));
        assert_eq!(done, Some(Step::Settled(Settled::Done { event: EVENT, abandoned: Some(ADD) })));
    }

    #[test]
    fn giving_up_without_doubt_leaves_nothing_behind() {
        let mut outbox = pending(false);
        assert!(!outbox.give_up());
        assert_eq!(outbox, Outbox { pending: None, ..pending(false) });
    }

    #[test]
    fn an_answer_without_a_pending_operation_is_no_step() {
        let mut outbox = Outbox::new(named("a"));
        assert_eq!(outbox.submission(), None);
        assert_eq!(outbox.handle_answer(Ok(EVENT), || named("b")), None);
    }
}
