//! The one writer: a task that turns operations into committed batches.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::fault::{self, Fault};
use engine::leader::{BatchFull, Intake, ProposeError, Sealed, Sequencer, Taken};
use engine::{Event, Operation, Submission, Timestamp};
use feed::Feed;
use store::{AppendError, Commit, LogWriter, Lost, Opened, StoredBatch};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use crate::error::{NotCommitted, QUEUE, ended_first, too_late};
use crate::health::Notes;
use crate::metrics::Metrics;
use crate::submitter::{Command, Reply};

/// How often the committer probes a store that refused a commit, while no command arrives. Callers that heed a health check
/// send nothing while it reports a full disk, so only a probe can show that there is room again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How many operations the committer draws for one event before it gives up; the calculator may refuse each.
const DRAWS: usize = 1_000;

/// The task that alone writes to the log.
pub struct Committer {
    /// Holds at most a queue's length of waiting callers.
    intake: Intake<Reply, NotCommitted>,
    writer: Box<dyn LogWriter>,
    lost: Lost,
    feed: Feed,
    source: Box<dyn FnMut() -> Operation + Send>,
    clock: Box<dyn Fn() -> Timestamp + Send>,
    commands: mpsc::Receiver<Command>,
    stopped: Arc<OnceLock<AppendError>>,
    notes: Notes,
    metrics: Metrics,
}

enum Next {
    Stop(AppendError),
    CarryOut,
    Probe,
}

impl Committer {
    #[expect(clippy::too_many_arguments, reason = "each is a part of the committer")]
    pub(crate) fn new(
        opened: Opened,
        feed: Feed,
        source: impl FnMut() -> Operation + Send + 'static,
        clock: impl Fn() -> Timestamp + Send + 'static,
        commands: mpsc::Receiver<Command>,
        stopped: Arc<OnceLock<AppendError>>,
        notes: Notes,
        metrics: Metrics,
    ) -> Self {
        let intake = Intake::new(Sequencer::new(opened.term, opened.tail, opened.producers));
        metrics.remember(intake.producers());
        let (writer, lost) = (opened.writer, opened.lost);
        let (source, clock) = (Box::new(source), Box::new(clock));
        Self { intake, writer, lost, feed, source, clock, commands, stopped, notes, metrics }
    }

    /// Writes until every [`Submitter`](crate::Submitter) is dropped, which returns `None`, or until this leader loses the
    /// right to write, which refuses all waiting commands and returns the reason.
    pub async fn run(mut self) -> Option<AppendError> {
        let mut lost = self.lost.clone();
        let mut taken = Vec::new();
        loop {
            let troubled = self.notes.is_troubled();
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

    /// Executes commands, in as few batches as possible.
    async fn carry_out(&mut self, commands: &mut impl Iterator<Item = Command>) -> Result<(), AppendError> {
        self.may_go_on()?;
        for command in commands {
            if self.feed.is_closed() {
                command.refuse(NotCommitted::ShuttingDown);
                continue;
            }
            match command {
                Command::Submit { submission, reply } => self.submit(&submission, reply).await?,
                Command::Draw { count } => self.draw(count).await?,
                Command::Flush { done } => {
                    let committed = self.commit().await;
                    // An error means that the caller stopped waiting.
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
            if !self.draw_one().await? {
                debug!("the source yielded {DRAWS} operations in a row that the calculator refuses");
            }
        }
        Ok(())
    }

    /// Proposes the next operation of the source that the calculator accepts. Returns whether there was one.
    async fn draw_one(&mut self) -> Result<bool, AppendError> {
        for _ in 0..DRAWS {
            let operation = (self.source)();
            loop {
                match self.intake.propose(operation) {
                    Ok(_) => return Ok(true),
                    Err(ProposeError::Full(BatchFull)) => self.commit().await?,
                    Err(ProposeError::Rejected(_)) => break,
                }
            }
        }
        Ok(false)
    }

    /// Makes the open batch durable, publishes it, and answers its callers.
    async fn commit(&mut self) -> Result<(), AppendError> {
        if self.feed.is_closed() {
            self.fail(&NotCommitted::ShuttingDown);
            return Ok(());
        }
        let Some(Sealed { batch, tail, producers }) = self.intake.seal((self.clock)()) else { return Ok(()) };
        let events = batch.operations().len();
        // Disk, ring and subscribers all use these bytes.
        let batch = StoredBatch::new(&batch, wire::frame::encode_batch(&batch));
        let commit = Commit { batch: batch.clone(), tail, producers };
        if fault::active(Fault::PublishBeforeDurable) {
            let _ = self.feed.publish(batch.clone(), tail);
        }
        let underway = self.notes.begin();
        let began = Instant::now();
        let appended = self.writer.append(commit).await;
        let took = began.elapsed();
        drop(underway);
        match appended {
            Err(AppendError::Fenced(_)) if fault::active(Fault::IgnoreFencing) => {}
            Err(error) => return self.not_committed(error),
            Ok(()) => {}
        }
        let answers = self.intake.durable();
        self.metrics.committed(events, took);
        self.metrics.remember(self.intake.producers());
        if self.notes.solved() {
            info!("the log can be written again");
        }
        let stopped = self.may_go_on();
        let published =
            stopped.is_ok() && (fault::active(Fault::PublishBeforeDurable) || self.feed.publish(batch, tail).is_ok());
        for (reply, answer) in answers {
            // An event that reached no replica is not acknowledged.
            send(reply, if published { answer } else { Err(ended_first()) });
        }
        stopped
    }

    /// Gives up the open batch and answers its callers with `why`.
    fn fail(&mut self, why: &NotCommitted) {
        for (reply, answer) in self.intake.failed(why) {
            send(reply, answer);
        }
    }

    /// Fails once the store has found that this leader must stop: another one took over, or the log is damaged or gone.
    fn may_go_on(&self) -> Result<(), AppendError> {
        match self.lost.reason().filter(|_| !trusts_old_term()) {
            Some(reason) => Err(self.step_down(reason)),
            None => Ok(()),
        }
    }

    /// Asks a store that refused a commit whether it would accept one.
    async fn probe(&mut self) -> Result<(), AppendError> {
        let underway = self.notes.begin();
        let probed = self.writer.probe().await;
        drop(underway);
        match probed {
            Ok(()) => {
                if self.notes.solved() {
                    info!("the log can be written again");
                }
                Ok(())
            }
            Err(error) => self.not_committed(error),
        }
    }

    /// Notes why the store refused the open batch, and then answers its callers: one that asks why finds the reason.
    fn not_committed(&mut self, error: AppendError) -> Result<(), AppendError> {
        self.metrics.not_committed();
        let goes_on = match &error {
            AppendError::Unavailable(reason) => {
                if self.notes.trouble(reason) {
                    warn!(reason, "the log cannot be written; operations are refused");
                }
                Ok(())
            }
            AppendError::OutcomeUnknown(_) if fault::active(Fault::ForgetUnknownOutcome) => Ok(()),
            AppendError::Fenced(_)
            | AppendError::NotNext(_)
            | AppendError::Replaced(_)
            | AppendError::Corrupt(_)
            | AppendError::OutcomeUnknown(_) => Err(self.step_down(error.clone())),
        };
        self.fail(&NotCommitted::Store(error));
        goes_on
    }

    fn step_down(&self, reason: AppendError) -> AppendError {
        error!(%reason, "this leader lost the right to write to the log");
        self.notes.trouble(&reason.to_string());
        reason
    }
}

/// Answers a caller. An error means that the caller is gone.
fn send(reply: Reply, answer: Result<Event, NotCommitted>) {
    let _ = reply.send(answer);
}

fn trusts_old_term() -> bool {
    fault::active(Fault::TrustOldTerm)
}
