//! The one writer: a task that turns operations into committed batches.
//!
//! Commands wait in one bounded queue. The task takes all that wait, validates them one by one, seals what was accepted
//! into a batch, encodes it, makes it durable, publishes it and only then answers. While the store works, the queue
//! fills with the next batch: group commit without a timer.
//!
//! A refusal waits too, if what it was judged by is not durable yet: nobody learns of anything that a crash can undo.
//!
//! Once the feed is closed, or the store has noticed that this leader must stop, nothing is acknowledged any more.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::fault::{self, Fault};
use engine::leader::{BatchFull, IndexMismatch, Intake, ProposeError, Rejection, Sealed, Sequencer, Taken};
use engine::{Event, ProducerError, Refusal, Submission, Timestamp};
use feed::Feed;
use rand::SeedableRng;
use rand::rngs::StdRng;
use store::{AppendError, Commit, LogWriter, Lost, Opened, StoredBatch};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::generator;
use crate::writing::{self, Noted, Writing};

/// Commands that may wait for the sequencer. A full queue is some milliseconds of work. Beyond that people are told to try
/// again rather than left waiting.
const QUEUE: usize = 8_192;

/// How often a store that took nothing is asked again while nobody submits. Without it, health would go on to tell of a
/// full disk, and whoever heeds that sends no operation that could show better.
const PROBE_EVERY: Duration = Duration::from_secs(1);

enum Command {
    Submit {
        submission: Submission,
        reply: Reply,
    },
    /// Make up this many operations.
    Draw {
        count: u32,
    },
    /// Answer when everything before it is committed.
    Flush {
        done: oneshot::Sender<()>,
    },
}

impl Command {
    /// Nobody will carry it out.
    fn refuse(self, why: SubmitError) {
        match self {
            // Whoever waits may have gone away.
            Self::Submit { reply, .. } => drop(reply.send(Err(why))),
            Self::Flush { done } => drop(done.send(())),
            Self::Draw { .. } => {}
        }
    }
}

type Reply = oneshot::Sender<Result<Event, SubmitError>>;

/// Why an operation was not committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The calculator cannot do it to its present value.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log is not where the submission expected it.
    #[error(transparent)]
    Mismatch(#[from] IndexMismatch),
    /// The producer's sequence is not the next one.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// Too many operations wait already.
    #[error("{QUEUE} operations are waiting already; try again in a moment")]
    QueueFull,
    /// The store did not take it, unless the error says that this is not known.
    #[error("{}", not_committed(.0))]
    Store(AppendError),
    /// The leader is shutting down.
    #[error("the leader is shutting down; the operation was not committed")]
    ShuttingDown,
}

impl From<Rejection> for SubmitError {
    fn from(why: Rejection) -> Self {
        match why {
            Rejection::Refused(refusal) => refusal.into(),
            Rejection::Mismatch(mismatch) => mismatch.into(),
            Rejection::Producer(error) => error.into(),
        }
    }
}

fn not_committed(error: &AppendError) -> String {
    match error {
        AppendError::OutcomeUnknown(_) => error.to_string(),
        _ => format!("the operation was not committed: {error}"),
    }
}

/// The answer to an operation that comes after the end, which `stopped` names unless the end is orderly. A commit of unknown
/// outcome is not its own.
fn too_late(stopped: Option<&AppendError>) -> SubmitError {
    match stopped {
        None | Some(AppendError::OutcomeUnknown(_) | AppendError::Unavailable(_)) => SubmitError::ShuttingDown,
        Some(reason) => SubmitError::Store(reason.clone()),
    }
}

fn ended_first() -> SubmitError {
    SubmitError::Store(AppendError::OutcomeUnknown("the leader ended before it answered".to_owned()))
}

/// Sends operations to the sequencer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Submitter {
    commands: mpsc::Sender<Command>,
    /// Set at shutdown: what is committed after the goodbye would reach no replica.
    closed: Arc<AtomicBool>,
    /// Why the sequencer stopped, if this leader may not write any more.
    stopped: Arc<OnceLock<AppendError>>,
    writing: Writing,
}

impl Submitter {
    /// Puts an operation into the log and returns its event when it is durable.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]: the operation is not in the log, unless the error says that this is not known.
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Event, SubmitError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(too_late(self.stopped.get()));
        }
        let (reply, answer) = oneshot::channel();
        let submission = submission.into();
        self.commands.try_send(Command::Submit { submission, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => too_late(self.stopped.get()),
        })?;
        // Whatever it did not come to is refused by `run` before it ends, so this was cut off in the middle.
        answer.await.unwrap_or_else(|_| Err(ended_first()))
    }

    /// Makes up `count` random operations; waits while the queue is full. Returns whether the sequencer still runs.
    pub async fn draw(&self, count: u32) -> bool {
        self.commands.send(Command::Draw { count }).await.is_ok()
    }

    /// Whether operations can be made durable.
    #[must_use]
    pub fn writing(&self) -> &Writing {
        &self.writing
    }

    /// Takes no more operations from anybody.
    pub fn refuse(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Takes no more operations from anybody, and waits until those that were taken are committed and published.
    pub async fn close(&self) {
        self.refuse();
        self.flush().await;
    }

    async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.commands.send(Command::Flush { done }).await.is_ok() {
            // It fails only if the sequencer ended, and then there is nothing to wait for.
            let _ = flushed.await;
        }
    }
}

/// The sequencer on a log that was opened: who sends it operations, and the writer, which runs until it must stop. `seed`
/// decides the operations that it makes up; `clock` tells when a batch was committed.
pub fn new(
    opened: Opened,
    feed: Feed,
    seed: u64,
    clock: impl Fn() -> Timestamp + Send + 'static,
) -> (Submitter, Writer) {
    let (sender, commands) = mpsc::channel(QUEUE);
    let (noted, writing) = writing::new();
    let stopped = Arc::default();
    let writer = Writer {
        intake: Intake::new(Sequencer::new(opened.term, opened.tail, opened.producers)),
        store: opened.writer,
        lost: opened.lost,
        feed,
        random: StdRng::seed_from_u64(seed),
        clock: Box::new(clock),
        commands,
        stopped: Arc::clone(&stopped),
        noted,
    };
    (Submitter { commands: sender, closed: Arc::default(), stopped, writing }, writer)
}

/// The one that writes.
pub struct Writer {
    /// Its waiting callers are bounded by the queue.
    intake: Intake<Reply, SubmitError>,
    store: Box<dyn LogWriter>,
    lost: Lost,
    feed: Feed,
    random: StdRng,
    clock: Box<dyn Fn() -> Timestamp + Send>,
    commands: mpsc::Receiver<Command>,
    stopped: Arc<OnceLock<AppendError>>,
    noted: Noted,
}

impl Writer {
    /// Writes until every [`Submitter`] is gone, or until this leader may not write any more; then returns why, and
    /// nobody is left waiting.
    pub async fn run(mut self) -> Option<AppendError> {
        let mut lost = self.lost.clone();
        let mut taken = Vec::new();
        loop {
            let troubled = self.noted.is_troubled();
            let next = tokio::select! {
                biased;
                reason = lost.wait(), if !trusts_old_term() => Next::Stop(reason),
                received = self.commands.recv_many(&mut taken, QUEUE) => {
                    if received == 0 {
                        return None;
                    }
                    Next::CarryOut
                }
                () = sleep(PROBE_EVERY), if troubled => Next::Probe,
            };
            let mut commands = taken.drain(..);
            let done = match next {
                Next::Stop(reason) => Err(self.step_down(reason)),
                Next::CarryOut => self.carry_out(&mut commands).await,
                Next::Probe => self.probe().await,
            };
            if let Err(stopped) = done {
                let stopped = self.stopped.get_or_init(|| stopped).clone();
                self.commands.close();
                let waiting = std::iter::from_fn(|| self.commands.try_recv().ok());
                commands.chain(waiting).for_each(|command| command.refuse(too_late(Some(&stopped))));
                return Some(stopped);
            }
        }
    }

    /// Everything that waited, in as few batches as it fits.
    async fn carry_out(&mut self, commands: &mut impl Iterator<Item = Command>) -> Result<(), AppendError> {
        self.may_go_on()?;
        for command in commands {
            if self.feed.is_closed() {
                command.refuse(SubmitError::ShuttingDown);
                continue;
            }
            match command {
                Command::Submit { submission, reply } => self.submit(&submission, reply).await?,
                Command::Draw { count } => self.draw(count).await?,
                Command::Flush { done } => {
                    let committed = self.commit().await;
                    // The leader may have stopped waiting.
                    let _ = done.send(());
                    committed?;
                }
            }
        }
        self.commit().await
    }

    async fn submit(&mut self, submission: &Submission, mut reply: Reply) -> Result<(), AppendError> {
        loop {
            match self.intake.submit(submission, reply) {
                Taken::Answered(reply, answer) => send(reply, answer),
                Taken::Waits => {}
                Taken::Full(back) => {
                    reply = back;
                    if let Err(stopped) = self.commit().await {
                        send(reply, Err(too_late(Some(&stopped))));
                        return Err(stopped);
                    }
                    continue;
                }
            }
            return Ok(());
        }
    }

    async fn draw(&mut self, count: u32) -> Result<(), AppendError> {
        for _ in 0..count {
            loop {
                match self.intake.propose(generator::random_operation(&mut self.random)) {
                    Ok(_) => break,
                    Err(ProposeError::Full(BatchFull)) => self.commit().await?,
                    // Another one will do: a division never fails, so this ends.
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Makes the open batch durable, publishes it and answers who waits for it.
    async fn commit(&mut self) -> Result<(), AppendError> {
        if self.feed.is_closed() {
            self.fail(&SubmitError::ShuttingDown);
            return Ok(());
        }
        let Some(Sealed { batch, tail, producers }) = self.intake.seal((self.clock)()) else { return Ok(()) };
        // The one time that this batch is encoded.
        let batch = StoredBatch::new(&batch, wire::frame::encode_batch(&batch));
        let commit = Commit { batch: batch.clone(), tail, producers };
        if fault::active(Fault::PublishBeforeDurable) {
            // Whether the feed is closed shows below.
            let _ = self.feed.publish(batch.clone(), tail);
        }
        let underway = self.noted.begin();
        let appended = self.store.append(commit).await;
        drop(underway);
        match appended {
            Err(AppendError::Fenced(_)) if fault::active(Fault::IgnoreFencing) => {}
            Err(error) => return self.not_committed(error),
            Ok(()) => {}
        }
        let answers = self.intake.durable();
        if self.noted.solved() {
            info!("the log can be written again");
        }
        let stopped = self.may_go_on();
        let published =
            stopped.is_ok() && (fault::active(Fault::PublishBeforeDurable) || self.feed.publish(batch, tail).is_ok());
        for (reply, answer) in answers {
            // What reaches no replica is not acknowledged.
            send(reply, if published { answer } else { Err(ended_first()) });
        }
        stopped
    }

    /// Gives the open batch up: everybody who waits gets `why`.
    fn fail(&mut self, why: &SubmitError) {
        for (reply, answer) in self.intake.failed(why) {
            send(reply, answer);
        }
    }

    /// Fails once the store has noticed that this leader must stop: another one leads, or the log is damaged or gone.
    fn may_go_on(&self) -> Result<(), AppendError> {
        match self.lost.reason().filter(|_| !trusts_old_term()) {
            Some(reason) => Err(self.step_down(reason)),
            None => Ok(()),
        }
    }

    /// Asks a store that took nothing whether it would take something again.
    async fn probe(&mut self) -> Result<(), AppendError> {
        let underway = self.noted.begin();
        let probed = self.store.probe().await;
        drop(underway);
        match probed {
            Ok(()) => {
                if self.noted.solved() {
                    info!("the log can be written again");
                }
                Ok(())
            }
            Err(error) => self.not_committed(error),
        }
    }

    fn not_committed(&mut self, error: AppendError) -> Result<(), AppendError> {
        self.fail(&SubmitError::Store(error.clone()));
        match error {
            AppendError::Unavailable(reason) => {
                // Said once, and not for every batch until it is over.
                if self.noted.trouble(&reason) {
                    warn!(reason, "operations are not taken: the log cannot be written");
                }
                Ok(())
            }
            AppendError::OutcomeUnknown(_) if fault::active(Fault::ForgetUnknownOutcome) => Ok(()),
            AppendError::Fenced(_)
            | AppendError::NotNext(_)
            | AppendError::Replaced(_)
            | AppendError::Corrupt(_)
            | AppendError::OutcomeUnknown(_) => Err(self.step_down(error)),
        }
    }

    fn step_down(&self, reason: AppendError) -> AppendError {
        error!(%reason, "this leader may not write any more");
        self.noted.trouble(&reason.to_string());
        reason
    }
}

/// Answers a caller, who may have gone away meanwhile.
fn send(reply: Reply, answer: Result<Event, SubmitError>) {
    let _ = reply.send(answer);
}

/// What the writer does next.
enum Next {
    Stop(AppendError),
    CarryOut,
    Probe,
}

fn trusts_old_term() -> bool {
    fault::active(Fault::TrustOldTerm)
}
