//! A person's operations: the shipped [`Outbox`], and calls and answers that are late or lost.

use engine::leader::Rejection;
use engine::{Event, Index, Operation, ProducerError, ProducerId, Submission};
use follower::Outbox;
use follower::grpc::SubmitError;
use follower::producer::{Pending, Step};

use crate::leader::{Attempt, NOBODY, No};

/// The most operations that a person submits in one world.
pub(crate) const OPERATIONS: usize = 3;

/// Somebody who submits operations one after the other.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Client {
    outbox: Outbox,
    /// How many names it had.
    names: u8,
    /// Whether another process began the pending operation.
    inherited: bool,
    /// How many operations it began.
    begun: usize,
    /// The attempt that it waits for.
    awaits: Option<Attempt>,
    /// The answer to that attempt, on its way.
    answer: Option<Result<Event, No>>,
    /// On their way to a leader.
    calls: Vec<Call>,
    /// What became of each operation.
    fates: [Fate; OPERATIONS],
}

/// A submission on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) attempt: Attempt,
    pub(crate) submission: Submission,
}

/// What a person knows of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It was not submitted yet.
    Unborn,
    /// It is to come directly after this event, if that is said, and whether it is in the log is not known.
    Open { expected: Option<Index> },
    /// It is in the log.
    Done(Event),
    /// It is not in the log, and will never be.
    NotDone,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            outbox: Outbox::new(name(0)),
            names: 1,
            inherited: false,
            begun: 0,
            awaits: None,
            answer: None,
            calls: Vec::new(),
            fates: [Fate::Unborn; OPERATIONS],
        }
    }

    pub(crate) fn fate(&self, number: usize) -> Fate {
        self.fates[number]
    }

    pub(crate) fn set_fate(&mut self, number: usize, fate: Fate) {
        self.fates[number] = fate;
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(crate) fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.outbox.pending().is_some()
    }

    pub(crate) fn awaits(&self) -> Option<Attempt> {
        self.awaits
    }

    /// Nothing can come of the attempt that it waits for, if no leader has it either.
    pub(crate) fn waits_in_vain(&self) -> bool {
        self.answer.is_none() && self.calls.iter().all(|call| Some(call.attempt) != self.awaits)
    }

    /// Begins the next operation.
    pub(crate) fn begin(&mut self, operation: Operation, expected: Option<Index>) {
        self.outbox.begin(operation, expected);
        self.fates[self.begun] = Fate::Open { expected };
        self.begun += 1;
    }

    /// Sends what is pending as `attempt`.
    pub(crate) fn send(&mut self, attempt: Attempt) {
        if let Some(submission) = self.outbox.submission() {
            self.awaits = Some(attempt);
            self.put(Call { attempt, submission });
        }
    }

    /// Calls are kept in an order that does not depend on when they were made.
    fn put(&mut self, call: Call) {
        let key = |call: &Call| {
            let sequence = call.submission.producer.as_ref().map(|(_, sequence)| *sequence);
            (call.attempt, sequence, call.submission.operation.code())
        };
        let at = self.calls.partition_point(|other| key(other) < key(&call));
        self.calls.insert(at, call);
    }

    /// A call arrives at a leader.
    pub(crate) fn take_call(&mut self, at: usize) -> Call {
        self.calls.remove(at)
    }

    /// A leader answers.
    pub(crate) fn answer(&mut self, attempt: Attempt, answer: Result<Event, No>) {
        if self.awaits == Some(attempt) {
            self.answer = Some(answer);
        }
    }

    /// The answer arrives.
    pub(crate) fn handle_answer(&mut self) -> Option<Step> {
        let answer = self.answer.take()?;
        self.forget_attempt();
        self.handle(answer.map_err(|no| said(&no)))
    }

    /// The attempt is answered too late or not at all.
    pub(crate) fn handle_no_answer(&mut self) -> Option<Step> {
        self.forget_attempt();
        self.handle(Err(SubmitError::NoAnswer))
    }

    fn handle(&mut self, answer: Result<Event, SubmitError>) -> Option<Step> {
        let names = &mut self.names;
        let step = self.outbox.handle_answer(answer, || {
            *names += 1;
            name(*names - 1)
        });
        self.begin_anew();
        step
    }

    /// The operation is waited for no more. Returns whether it may be in the log, or get there later.
    pub(crate) fn give_up(&mut self) -> bool {
        if self.awaits.is_some() {
            self.outbox.lose_answer();
            self.forget_attempt();
        }
        let in_doubt = self.outbox.give_up();
        self.begin_anew();
        in_doubt
    }

    /// Its process is gone. The next one finds the pending operation as it was saved before the last attempt, settles that,
    /// and goes on under a name of its own.
    pub(crate) fn reload(&mut self) {
        self.forget_attempt();
        let saved = self.outbox.pending().copied();
        if let Some(Pending { operation, expected, .. }) = saved {
            self.outbox = Outbox::restore(self.outbox.id().clone(), self.outbox.sequence(), operation, expected);
            self.inherited = true;
        }
    }

    /// What it inherited is settled.
    fn begin_anew(&mut self) {
        if self.inherited && self.outbox.pending().is_none() {
            self.inherited = false;
            self.outbox = Outbox::new(name(self.names));
            self.names += 1;
        }
    }

    fn forget_attempt(&mut self) {
        self.answer = None;
        let Some(attempt) = self.awaits.take() else { return };
        if let Some(at) = self.calls.iter().position(|call| call.attempt == attempt) {
            let Call { submission, .. } = self.calls.remove(at);
            self.put(Call { attempt: NOBODY, submission });
        }
    }
}

fn name(number: u8) -> ProducerId {
    ProducerId::from_random(u128::from(number))
}

/// The answer as it reaches a producer. What people read in it makes no difference.
fn said(no: &No) -> SubmitError {
    let message = String::new();
    match no {
        No::Rejected(Rejection::Refused(_)) => SubmitError::Refused(message),
        No::Rejected(Rejection::Mismatch(mismatch)) => SubmitError::Mismatch { message, current: mismatch.current },
        No::Rejected(Rejection::Producer(ProducerError::Stale { .. })) => SubmitError::Stale(message),
        No::Rejected(Rejection::Producer(ProducerError::Reused { index, .. })) => {
            SubmitError::Reused { message, index: *index }
        }
        No::Rejected(Rejection::Producer(ProducerError::Unknown { .. })) => SubmitError::UnknownProducer(message),
        No::NotCommitted => SubmitError::NotCommitted(message),
        No::NotKnown => SubmitError::Failed(message),
    }
}
