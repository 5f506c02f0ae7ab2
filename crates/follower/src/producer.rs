//! Submits operations so that each is in the log exactly once.

mod outbox;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use engine::{Event, Identity, Index, Moment, Operation, ProducerId, Submission};

use crate::grpc::{Calls, SubmitError};
use crate::timer::Clock;

pub use outbox::{Outbox, Pending, Settled, Step};

/// How long a submission is repeated by default.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before the second attempt. It doubles with each, up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Carries one submission to a leader.
#[expect(async_fn_in_trait, reason = "native futures must be Send and browser futures cannot be; each caller knows")]
pub trait Submit {
    /// One attempt.
    async fn submit(&self, submission: Submission) -> Result<Event, SubmitError>;
}

impl Submit for Calls {
    fn submit(&self, submission: Submission) -> impl Future<Output = Result<Event, SubmitError>> {
        Calls::submit(self, submission)
    }
}

/// Numbers operations and repeats each until it is answered, across lost answers and restarts or changes of the leader.
///
/// It submits one operation at a time. One that is in doubt stays [pending](Self::outbox) and is settled before another is
/// sent.
///
/// ```no_run
/// use engine::{Operation, ProducerId};
/// use follower::{Producer, connect};
/// use wire::Identity;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let calls = connect("localhost:8080", Identity::default())?.calls();
/// // A program draws 128 random bits here.
/// let mut producer = Producer::new(calls, || ProducerId::from_random(0x7f3a));
/// let event = producer.submit(Operation::Multiply(2), None).await?;
/// println!("in the log once, as event {}", event.index);
/// # Ok(())
/// # }
/// ```
pub struct Producer<S> {
    calls: S,
    /// Makes an id that no other producer has.
    new_id: Box<dyn FnMut() -> ProducerId + Send>,
    outbox: Outbox,
    /// Set while an attempt runs. An attempt that finds it set knows that the one before was dropped.
    under_way: bool,
    patience: Duration,
    author: Option<Identity>,
    /// The author that the first attempt of the pending operation named, so that each repeat names the same.
    named: Option<Option<Identity>>,
}

impl<S: fmt::Debug> fmt::Debug for Producer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("calls", &self.calls).field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

impl<S: Submit> Producer<S> {
    /// A producer that submits through `calls`. `new_id` makes an id that no other producer has, such as a random one.
    pub fn new(calls: S, mut new_id: impl FnMut() -> ProducerId + Send + 'static) -> Self {
        let outbox = Outbox::new(new_id());
        Self {
            calls,
            new_id: Box::new(new_id),
            outbox,
            under_way: false,
            patience: PATIENCE,
            author: None,
            named: None,
        }
    }

    /// Goes on with `outbox`, which replaces the producer's own.
    pub fn resume(&mut self, outbox: Outbox) {
        self.outbox = outbox;
        self.named = None;
    }

    /// Gives up on a submission after `patience` instead of [`PATIENCE`], at the end of an attempt.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Says who submits, for people who look at the log. Without it, or with `None`, a submission does not say. An operation
    /// whose first attempt was sent keeps its author.
    pub fn set_author(&mut self, author: Option<Identity>) {
        self.author = author;
    }

    /// What to save, so that a new process or page can go on.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Makes `operation` the pending one; [`attempt`](Self::attempt) sends it. Returns `false` and does nothing if another
    /// one is pending.
    pub fn begin(&mut self, operation: Operation, expected: Option<Index>) -> bool {
        self.outbox.begin(operation, expected)
    }

    /// Sends the pending operation once and returns what to do next; `None` if nothing is pending. The caller pauses
    /// between attempts.
    pub async fn attempt(&mut self) -> Option<Step> {
        let submission = self.outbox.submission()?;
        let author = self.named.get_or_insert_with(|| self.author.clone()).clone();
        let submission = Submission { author, ..submission };
        if std::mem::replace(&mut self.under_way, true) {
            self.outbox.lose_answer();
        }
        let answer = self.calls.submit(submission).await;
        self.under_way = false;
        let step = self.outbox.handle_answer(answer, &mut self.new_id);
        if self.outbox.pending().is_none() {
            self.named = None;
        }
        step
    }

    /// Gives the pending operation up. Returns whether it may be in the log, or get there later.
    pub fn give_up(&mut self) -> bool {
        if std::mem::take(&mut self.under_way) {
            self.outbox.lose_answer();
        }
        self.named = None;
        self.outbox.give_up()
    }

    /// Takes a new id, unless an operation is pending.
    pub fn take_new_id(&mut self) {
        if self.outbox.pending().is_none() {
            self.outbox = Outbox::new((self.new_id)());
        }
    }

    /// Submits an operation and returns its event once it is durable. With `expected`, the leader takes it only if that
    /// is the newest event.
    ///
    /// If this is dropped before it returns, or fails in doubt, the operation stays pending: the same call again repeats
    /// it, and a call with another operation settles it first.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; after [`NoAnswer`](SubmitError::NoAnswer) and [`Failed`](SubmitError::Failed) the operation may
    /// be in the log.
    pub async fn submit(&mut self, operation: Operation, expected: Option<Index>) -> Result<Event, SubmitError> {
        let clock = Clock::start();
        let give_up = clock.now().plus(self.patience);
        let is_repeat = |pending: &Pending| (pending.operation, pending.expected) == (operation, expected);
        if self.outbox.pending().is_some_and(|pending| !is_repeat(pending)) {
            // Nobody asks for its outcome any more, but it must have one.
            let _ = self.settle(clock, give_up).await;
        }
        if !self.begin(operation, expected) && !self.outbox.pending().is_some_and(is_repeat) {
            return Err(SubmitError::Unsettled);
        }
        self.settle(clock, give_up).await
    }

    /// Repeats the pending operation until it is settled or patience ends.
    async fn settle(&mut self, clock: Clock, give_up: Moment) -> Result<Event, SubmitError> {
        let mut pause = FIRST_PAUSE;
        // Why the newest attempt that may have reached the log got no answer.
        let mut doubt = SubmitError::NoAnswer;
        while let Some(step) = self.attempt().await {
            match step {
                Step::Settled(Settled::Done { event, .. }) => return Ok(event),
                Step::Settled(Settled::Refused(error)) => return Err(error),
                Step::Settled(Settled::RefusedForNow(_) | Settled::NotKnown(_)) => break,
                Step::Again { because, .. } => {
                    if matches!(because, SubmitError::NoAnswer | SubmitError::Failed(_)) {
                        doubt = because.clone();
                    }
                    if clock.now().plus(pause) >= give_up {
                        if self.outbox.pending().is_some_and(|pending| pending.in_doubt) {
                            break;
                        }
                        self.give_up();
                        return Err(because);
                    }
                }
            }
            clock.sleep_until(clock.now().plus(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(doubt)
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
    async fn a_dropped_submission_is_settled_before_the_next() {
        let script =
            Script { answers: Arc::new(Mutex::new(vec![Ok(EVENT), Ok(EVENT), Ok(EVENT)].into())), ..Script::default() };
        let mut producer = Producer::new(Silent(script.clone()), || ProducerId::new("a").unwrap());
        let dropped = tokio::time::timeout(Duration::from_secs(1), producer.submit(Operation::Add(1), None)).await;
        assert!(dropped.is_err());
        assert_eq!(producer.submit(Operation::Add(2), None).await, Ok(EVENT));
        assert_eq!(*script.asked.lock().unwrap(), asked(&[("a", 1), ("a", 1), ("a", 2)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_names_the_author_of_the_first_attempt() {
        /// Records who was named, and answers the third call and those after it.
        #[derive(Clone, Default)]
        struct Names(Arc<Mutex<Vec<Option<String>>>>);

        impl Submit for Names {
            async fn submit(&self, submission: Submission) -> Result<Event, SubmitError> {
                let mut names = self.0.lock().unwrap();
                names.push(submission.author.map(|author| author.name));
                if names.len() < 3 { Err(SubmitError::NoAnswer) } else { Ok(EVENT) }
            }
        }

        let named = |name: &str| Some(Identity { name: name.to_owned(), ..Identity::default() });
        let names = Names::default();
        let mut producer = Producer::new(names.clone(), || ProducerId::new("a").unwrap()).with_patience(Duration::ZERO);
        for (author, operation) in [(None, 1), (named("ada"), 2), (named("bob"), 3)] {
            producer.set_author(author);
            let _ = producer.submit(Operation::Add(operation), None).await;
        }
        let expected = [None, None, None, Some("bob".to_owned())];
        assert_eq!(*names.0.lock().unwrap(), expected, "the first operation is settled before the third is sent");
    }

    /// Gives the answers of a script, and records what it was asked.
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

    fn unknown() -> SubmitError {
        SubmitError::UnknownProducer("unknown producer".to_owned())
    }

    const EVENT: Event = Event { index: Index(1), operation: Operation::Add(1), value: 1 };

    #[tokio::test(start_paused = true)]
    async fn an_unanswered_submission_is_repeated_with_the_same_number() {
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
    async fn a_refusal_after_a_lost_answer_leaves_doubt() {
        let refused = Err(SubmitError::Refused("overflow".to_owned()));
        let (outcomes, was_asked) = play(vec![Err(SubmitError::NoAnswer), refused, Ok(EVENT)]).await;
        assert_eq!(outcomes, [Err(SubmitError::NoAnswer), Ok(EVENT)]);
        assert_eq!(was_asked, asked(&[("a", 1), ("a", 1), ("a", 1)]), "only one of both can get in");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_does_not_know_the_producer_gets_a_new_one_unless_there_is_doubt() {
        let (outcomes, was_asked) =
            play(vec![Err(unknown()), Ok(EVENT), Err(SubmitError::NoAnswer), Err(unknown()), Ok(EVENT)]).await;
        assert_eq!(outcomes, [Ok(EVENT), Err(SubmitError::NoAnswer), Ok(EVENT)]);
        assert_eq!(was_asked, asked(&[("a", 1), ("b", 1), ("b", 2), ("b", 2), ("c", 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_knows_no_producer_is_asked_with_pauses_and_given_up() {
        let script = Script::default();
        script.answers.lock().unwrap().extend(vec![Err(unknown()); 10_000]);
        let mut number = 0;
        let mut producer = Producer::new(script.clone(), move || {
            number += 1;
            ProducerId::from_random(number)
        });
        let began = tokio::time::Instant::now();
        assert_eq!(producer.submit(Operation::Add(1), None).await, Err(unknown()));
        assert!(began.elapsed() <= PATIENCE);
        let asked = script.asked.lock().unwrap().len();
        assert!((5..=20).contains(&asked), "asked {asked} times in {:?}", began.elapsed());
        assert_eq!(producer.outbox().pending(), None, "it is certainly not in the log");
    }

    #[tokio::test(start_paused = true)]
    async fn after_patience_ends_in_doubt_the_same_call_is_a_repeat() {
        // Far more failures than there is patience for.
        let mut answers = vec![Err(SubmitError::NoAnswer); 14];
        answers.push(Ok(EVENT));
        let (outcomes, was_asked) = play(answers).await;
        assert_eq!(outcomes, [Err(SubmitError::NoAnswer), Ok(EVENT)]);
        assert!(was_asked.iter().all(|asked| *asked == ("a".to_owned(), 1)), "{was_asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_in_doubt_is_settled_before_another_is_sent() {
        let script = Script::default();
        script.answers.lock().unwrap().extend(vec![Err(SubmitError::NoAnswer); 40]);
        let mut producer = Producer::new(script.clone(), || ProducerId::new("a").unwrap());
        assert_eq!(producer.submit(Operation::Add(1), None).await, Err(SubmitError::NoAnswer));
        assert_eq!(producer.submit(Operation::Add(2), None).await, Err(SubmitError::Unsettled));
        assert_eq!(producer.outbox().pending().unwrap().operation, Operation::Add(1));
        *script.answers.lock().unwrap() = vec![Ok(EVENT), Ok(EVENT)].into();
        assert_eq!(producer.submit(Operation::Add(2), None).await, Ok(EVENT));
        let asked = script.asked.lock().unwrap().clone();
        assert_eq!(asked.last(), Some(&("a".to_owned(), 2)));
        assert!(asked[..asked.len() - 1].iter().all(|(_, sequence)| *sequence == 1), "{asked:?}");
    }
}
