//! The handle that sends operations to the committer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::{Event, Goodbye, GoodbyeReason, Submission};
use feed::Feed;
use store::AppendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::error::{NotCommitted, ended_first, too_late};
use crate::health::WriteHealth;
use crate::metrics::Metrics;

/// How long an orderly end may take to commit the commands in the queue.
pub const FLUSH: Duration = Duration::from_millis(500);

/// When replicas should try again after the goodbye: soon, because a restart is the likeliest reason.
pub const RETRY_AFTER_GOODBYE: Duration = Duration::from_millis(500);

pub(crate) type Reply = oneshot::Sender<Result<Event, NotCommitted>>;

#[derive(Debug)]
pub(crate) enum Command {
    Submit {
        submission: Submission,
        reply: Reply,
    },
    /// Draw this many operations from the source.
    Draw {
        count: u32,
    },
    /// Commit all earlier commands, then answer.
    Flush {
        done: oneshot::Sender<()>,
    },
}

impl Command {
    /// Answers that the committer does not execute this command.
    pub(crate) fn refuse(self, why: NotCommitted) {
        match self {
            Self::Submit { reply, .. } => drop(reply.send(Err(why))),
            Self::Flush { done } => drop(done.send(())),
            Self::Draw { .. } => {}
        }
    }
}

/// Sends operations to the committer. Cheap to clone.
#[derive(Clone)]
pub struct Submitter {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) feed: Feed,
    /// Set when the leader ends: an event committed after the goodbye would reach no replica.
    pub(crate) closed: Arc<AtomicBool>,
    /// Why this leader lost the right to write, if it did.
    pub(crate) stopped: Arc<OnceLock<AppendError>>,
    pub(crate) health: WriteHealth,
    pub(crate) metrics: Metrics,
}

impl Submitter {
    /// Appends an operation to the log and returns its event once it is durable.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`]: the operation is not in the log, unless the error is [`AppendError::OutcomeUnknown`].
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Event, NotCommitted> {
        if self.closed.load(Ordering::Acquire) {
            return Err(too_late(self.stopped.get()));
        }
        let (reply, answer) = oneshot::channel();
        let submission = submission.into();
        self.commands.try_send(Command::Submit { submission, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotCommitted::QueueFull,
            mpsc::error::TrySendError::Closed(_) => too_late(self.stopped.get()),
        })?;
        // A committer that stops answers all commands. A missing answer means that it was aborted.
        answer.await.unwrap_or_else(|_| Err(ended_first()))
    }

    /// Commits `count` operations from the source. Waits while the queue is full. Returns whether the committer still runs.
    pub async fn draw(&self, count: u32) -> bool {
        self.commands.send(Command::Draw { count }).await.is_ok()
    }

    /// How many commands wait for the committer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }

    /// What the committer counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the log can be written now.
    #[must_use]
    pub fn health(&self) -> &WriteHealth {
        &self.health
    }

    /// Refuses operations from here on, and closes the feed with a goodbye for `reason`.
    ///
    /// A leader that shuts down first commits, answers and publishes the commands in the queue, within [`FLUSH`]. A leader
    /// that steps down commits nothing more.
    ///
    /// The goodbye is the last frame. A commit that finishes after it is not acknowledged.
    pub async fn end(&self, reason: GoodbyeReason) {
        self.closed.store(true, Ordering::Release);
        if reason == GoodbyeReason::ShuttingDown && timeout(FLUSH, self.flush()).await.is_err() {
            warn!("the store did not commit the last operations in time; they are not acknowledged");
        }
        self.feed.close(Goodbye { reason, retry_after: RETRY_AFTER_GOODBYE });
        info!(index = %self.feed.published().tail.position().index, "saying goodbye");
    }

    /// Waits until all earlier commands are committed and published, or the committer has stopped.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.commands.send(Command::Flush { done }).await.is_ok() {
            // An error means that the committer stopped.
            let _ = flushed.await;
        }
    }
}
