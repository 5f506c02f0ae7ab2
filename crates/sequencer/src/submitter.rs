//! Who sends operations to the committer.

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

/// How long an orderly end may take to commit what waits in the queue.
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
    /// Take this many operations from the source.
    Draw {
        count: u32,
    },
    /// Answer when everything before it is committed.
    Flush {
        done: oneshot::Sender<()>,
    },
}

impl Command {
    /// Answers that it is not carried out.
    pub(crate) fn refuse(self, why: NotCommitted) {
        match self {
            // The caller may have gone away.
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
    /// Set when the leader ends: what is committed after the goodbye would reach no replica.
    pub(crate) closed: Arc<AtomicBool>,
    /// Why the committer stopped, if this leader may not write any more.
    pub(crate) stopped: Arc<OnceLock<AppendError>>,
    pub(crate) health: WriteHealth,
}

impl Submitter {
    /// Puts an operation into the log and returns its event when it is durable.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`]: the operation is not in the log, unless the error says that this is not known.
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
        // A committer that stops answers all commands. So without an answer it was cut off in the middle of one.
        answer.await.unwrap_or_else(|_| Err(ended_first()))
    }

    /// Takes `count` operations from the source; waits while the queue is full. Returns whether the committer still runs.
    pub async fn draw(&self, count: u32) -> bool {
        self.commands.send(Command::Draw { count }).await.is_ok()
    }

    /// Whether operations can be made durable.
    #[must_use]
    pub fn health(&self) -> &WriteHealth {
        &self.health
    }

    /// Ends the leader's work, and says goodbye to its replicas for `reason`. No operation is taken from here on.
    ///
    /// If the leader is shutting down, what waits in the queue is committed, answered and published first, as far as the
    /// store takes it within [`FLUSH`]. A leader that steps down answers nobody: it may not write any more.
    ///
    /// The goodbye is the last frame. A commit that ends after it is not acknowledged.
    pub async fn end(&self, reason: GoodbyeReason) {
        self.closed.store(true, Ordering::Release);
        if reason == GoodbyeReason::ShuttingDown && timeout(FLUSH, self.flush()).await.is_err() {
            warn!("the store did not take the last operations in time; their callers are not told that they are done");
        }
        self.feed.close(Goodbye { reason, retry_after: RETRY_AFTER_GOODBYE });
        info!(index = %self.feed.published().tail.position().index, "saying goodbye");
    }

    /// Waits until everything before it is committed and published, or the committer has stopped.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.commands.send(Command::Flush { done }).await.is_ok() {
            // It fails if the committer stopped.
            let _ = flushed.await;
        }
    }
}
