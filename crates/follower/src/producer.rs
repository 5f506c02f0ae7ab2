//! Submitting operations so that each is done exactly once.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use engine::{Event, Index, Operation, ProducerId, Sequence, Submission};

use crate::grpc::{Calls, SubmitError, Transport};
use crate::timer::Clock;

/// How long a submission is repeated if nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before the second attempt. It doubles with each, up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Anything that carries one submission to a leader.
#[expect(async_fn_in_trait, reason = "native futures must be Send and browser futures cannot be; each caller knows")]
pub trait Submit {
    /// One attempt.
    async fn submit(&self, submission: Submission) -> Result<Event, SubmitError>;
}

impl<T: Transport> Submit for Calls<T> {
    fn submit(&self, submission: Submission) -> impl Future<Output = Result<Event, SubmitError>> {
        Calls::submit(self, submission)
    }
}

/// Numbers operations and repeats each until it is answered, across lost answers, restarts and changes of the leader.
/// One at a time.
pub struct Producer<S> {
    calls: S,
    /// Makes a name that nobody else has.
    new_id: Box<dyn FnMut() -> ProducerId + Send>,
    id: ProducerId,
    next: Sequence,
    /// A submission was begun and has not returned: if another one finds it set, it was dropped, and its number may be
    /// taken.
    under_way: bool,
    patience: Duration,
}

impl<S: fmt::Debug> fmt::Debug for Producer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("calls", &self.calls)
            .field("id", &self.id)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl<S: Submit> Producer<S> {
    /// A producer that submits through `calls` under names of `new_id`, each at random and different from all others.
    pub fn new(calls: S, mut new_id: impl FnMut() -> ProducerId + Send + 'static) -> Self {
        let id = new_id();
        Self { calls, new_id: Box::new(new_id), id, next: Sequence(1), under_way: false, patience: PATIENCE }
    }

    /// Gives up on a submission after this long instead of after [`PATIENCE`]. An attempt that is under way is still
    /// waited for.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Puts an operation into the log once, and returns its event. With `expected`, only if that is the newest event.
    /// If this is dropped before it is done, the operation may or may not be in the log.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; after [`NoAnswer`](SubmitError::NoAnswer) and [`Failed`](SubmitError::Failed) the operation may
    /// be in the log.
    pub async fn submit(&mut self, operation: Operation, expected: Option<Index>) -> Result<Event, SubmitError> {
        if std::mem::replace(&mut self.under_way, true) {
            self.begin_anew();
        }
        let answer = self.submit_until_answered(operation, expected).await;
        self.under_way = false;
        answer
    }

    async fn submit_until_answered(
        &mut self,
        operation: Operation,
        expected: Option<Index>,
    ) -> Result<Event, SubmitError> {
        let clock = Clock::start();
        let give_up = clock.now().plus(self.patience);
        let mut pause = FIRST_PAUSE;
        // Whether an earlier attempt may have put it into the log.
        let mut in_doubt = None;
        loop {
            let producer = Some((self.id.clone(), self.next));
            let error = match self.calls.submit(Submission { operation, producer, expected }).await {
                Ok(event) => {
                    self.next = Sequence(self.next.0 + 1);
                    return Ok(event);
                }
                Err(error) => error,
            };
            match error {
                SubmitError::Busy(_) | SubmitError::NotCommitted(_) => {}
                SubmitError::NoAnswer | SubmitError::Failed(_) => in_doubt = Some(error.clone()),
                // Another log, or one that forgot this producer. What was in doubt stays so.
                SubmitError::UnknownProducer(_) if in_doubt.is_none() => {
                    self.begin_anew();
                    continue;
                }
                SubmitError::UnknownProducer(_) | SubmitError::Sequence(_) => {
                    self.begin_anew();
                    return Err(in_doubt.unwrap_or(error));
                }
                SubmitError::Refused(_) | SubmitError::Mismatch { .. } => {
                    // An earlier attempt may still be on its way, and arrive when it is no longer refused.
                    return match in_doubt {
                        Some(doubt) => {
                            self.begin_anew();
                            Err(doubt)
                        }
                        None => Err(error),
                    };
                }
            }
            if clock.now().plus(pause) >= give_up {
                if let Some(doubt) = in_doubt {
                    // The number may be taken, so nothing else may be submitted under it.
                    self.begin_anew();
                    return Err(doubt);
                }
                return Err(error);
            }
            clock.sleep_until(clock.now().plus(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn begin_anew(&mut self) {
        self.id = (self.new_id)();
        self.next = Sequence(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Never answers the first time.
    #[derive(Clone, Default)]
    struct Silent(Script);

    impl Submit for Silent {
        async fn submit(&self, submission: Submission) -> Result<Event, SubmitError> {
            let first = self.0.asked.lock().unwrap().is_empty();
            let answer = self.0.submit(submission).await;
            if first { std::future::pending().await } else { answer }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_submission_that_was_dropped_does_not_lend_its_number_to_the_next() {
        let script = Script { answers: Arc::new(Mutex::new(vec![Ok(EVENT), Ok(EVENT)].into())), ..Script::default() };
        let mut names = ["a", "b"].into_iter();
        let mut producer =
            Producer::new(Silent(script.clone()), move || ProducerId::new(names.next().unwrap()).unwrap());
        let dropped = tokio::time::timeout(Duration::from_secs(1), producer.submit(Operation::Add(1), None)).await;
        assert!(dropped.is_err());
        assert_eq!(producer.submit(Operation::Add(1), None).await, Ok(EVENT));
        assert_eq!(*script.asked.lock().unwrap(), asked(&[("a", 1), ("b", 1)]));
    }

    /// Answers as it was told to, and remembers what it was asked.
    #[derive(Clone, Default)]
    struct Script {
        answers: Arc<Mutex<VecDeque<Result<Event, SubmitError>>>>,
        asked: Arc<Mutex<Vec<(String, u64)>>>,
    }

    impl Submit for Script {
        async fn submit(&self, submission: Submission) -> Result<Event, SubmitError> {
            let (id, sequence) = submission.producer.unwrap();
            self.asked.lock().unwrap().push((id.as_str().to_owned(), sequence.0));
            self.answers.lock().unwrap().pop_front().unwrap()
        }
    }

    async fn play(answers: Vec<Result<Event, SubmitError>>) -> (Vec<Result<Event, SubmitError>>, Vec<(String, u64)>) {
        let script = Script { answers: Arc::new(Mutex::new(answers.into())), ..Script::default() };
        let mut names = ["a", "b", "c"].into_iter();
        let mut producer = Producer::new(script.clone(), move || ProducerId::new(names.next().unwrap()).unwrap());
        let mut outcomes = Vec::new();
        while !script.answers.lock().unwrap().is_empty() {
            outcomes.push(producer.submit(Operation::Add(1), None).await);
        }
        let asked = script.asked.lock().unwrap().clone();
        (outcomes, asked)
    }

    fn asked(asked: &[(&str, u64)]) -> Vec<(String, u64)> {
        asked.iter().map(|(id, sequence)| ((*id).to_owned(), *sequence)).collect()
    }

    const EVENT: Event = Event { index: Index(1), operation: Operation::Add(1), value: 1 };

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_repeated_with_the_same_number() {
        let failed = SubmitError::Failed("gone".to_owned());
        let busy = SubmitError::Busy("full".to_owned());
        let (outcomes, was_asked) =
            play(vec![Err(SubmitError::NoAnswer), Err(failed), Err(busy), Ok(EVENT), Ok(EVENT)]).await;
        assert_eq!(outcomes, [Ok(EVENT), Ok(EVENT)]);
        assert_eq!(was_asked, asked(&[("a", 1), ("a", 1), ("a", 1), ("a", 1), ("a", 2)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_the_number_free() {
        let refused = SubmitError::Refused("overflow".to_owned());
        let (outcomes, was_asked) = play(vec![Err(refused.clone()), Ok(EVENT)]).await;
        assert_eq!(outcomes, [Err(refused), Ok(EVENT)]);
        assert_eq!(was_asked, asked(&[("a", 1), ("a", 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_after_a_lost_answer_is_no_certainty() {
        let refused = Err(SubmitError::Refused("overflow".to_owned()));
        let (outcomes, was_asked) = play(vec![Err(SubmitError::NoAnswer), refused, Ok(EVENT)]).await;
        assert_eq!(outcomes, [Err(SubmitError::NoAnswer), Ok(EVENT)]);
        assert_eq!(was_asked, asked(&[("a", 1), ("a", 1), ("b", 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_does_not_know_the_producer_gets_a_new_one_unless_there_is_doubt() {
        let unknown = SubmitError::UnknownProducer("who?".to_owned());
        let (outcomes, was_asked) =
            play(vec![Err(unknown.clone()), Ok(EVENT), Err(SubmitError::NoAnswer), Err(unknown), Ok(EVENT)]).await;
        assert_eq!(outcomes, [Ok(EVENT), Err(SubmitError::NoAnswer), Ok(EVENT)]);
        assert_eq!(was_asked, asked(&[("a", 1), ("b", 1), ("b", 2), ("b", 2), ("c", 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_giving_up_in_doubt_the_number_is_not_used_again() {
        // Far more failures than there is patience for.
        let mut answers = vec![Err(SubmitError::NoAnswer); 14];
        answers.push(Ok(EVENT));
        let (outcomes, was_asked) = play(answers).await;
        assert_eq!(outcomes, [Err(SubmitError::NoAnswer), Ok(EVENT)]);
        assert_eq!(was_asked.first().unwrap().0, "a");
        assert_eq!(*was_asked.last().unwrap(), ("b".to_owned(), 1));
    }
}
