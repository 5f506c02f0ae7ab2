//! The one writer: a task that turns operations into committed batches.
//!
//! Commands wait in one bounded queue. The task takes all that wait, validates them one by one, seals what was accepted
//! into a batch, encodes it, makes it durable, publishes it and only then answers. While the store works, the queue
//! fills with the next batch: group commit without a timer.

use std::sync::Arc;

use engine::leader::{MAX_BATCH_EVENTS, ProposeError, Sequencer};
use engine::{Event, Operation, Refusal};
use feed::Feed;
use rand::SeedableRng;
use rand::rngs::StdRng;
use store::{AppendError, Store, StoredBatch};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::{clock, generator};

/// Commands that may wait for the sequencer. A full queue is about one full batch: some milliseconds of work. Beyond
/// that people are told to try again rather than left waiting.
const QUEUE: usize = MAX_BATCH_EVENTS;

enum Command {
    Submit {
        operation: Operation,
        reply: oneshot::Sender<Result<Event, SubmitError>>,
    },
    /// Make up this many operations.
    Draw {
        count: u32,
    },
}

/// Why an operation was not committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The calculator cannot do it to its present value.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many operations wait already.
    #[error("{QUEUE} operations are waiting already; try again in a moment")]
    QueueFull,
    /// The store did not take it.
    #[error("the operation was not committed: {0}")]
    Store(AppendError),
    /// The leader is shutting down.
    #[error("the leader is shutting down; the operation was not committed")]
    ShuttingDown,
}

/// Sends operations to the sequencer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Submitter {
    commands: mpsc::Sender<Command>,
}

impl Submitter {
    /// Puts an operation into the log and returns its event when it is durable.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]: in every case the operation is not in the log.
    pub async fn submit(&self, operation: Operation) -> Result<Event, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(Command::Submit { operation, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => SubmitError::ShuttingDown,
        })?;
        answer.await.unwrap_or(Err(SubmitError::ShuttingDown))
    }

    /// Makes up `count` random operations; waits while the queue is full. Returns whether the sequencer still runs.
    pub async fn draw(&self, count: u32) -> bool {
        self.commands.send(Command::Draw { count }).await.is_ok()
    }
}

/// Starts the sequencer on the log in `store`. The task ends with `None` when every [`Submitter`] is gone, and with the
/// error if this leader may not write any more.
pub fn start(store: Arc<dyn Store>, feed: Feed, seed: u64) -> (Submitter, JoinHandle<Option<AppendError>>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let log = Sequencer::new(store.term(), store.opened_at());
    let writer = Writer { log, store, feed, random: StdRng::seed_from_u64(seed), waiting: Vec::new() };
    (Submitter { commands: sender }, tokio::spawn(writer.run(receiver)))
}

struct Writer {
    log: Sequencer,
    store: Arc<dyn Store>,
    feed: Feed,
    random: StdRng,
    /// Who waits for the open batch to become durable. Bounded by the batch.
    waiting: Vec<(Event, oneshot::Sender<Result<Event, SubmitError>>)>,
}

impl Writer {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Option<AppendError> {
        let mut taken = Vec::new();
        while commands.recv_many(&mut taken, QUEUE).await > 0 {
            for command in taken.drain(..) {
                let done = match command {
                    Command::Submit { operation, reply } => self.submit(operation, reply).await,
                    Command::Draw { count } => self.draw(count).await,
                };
                if let Err(fenced) = done {
                    return Some(fenced);
                }
            }
            if let Err(fenced) = self.commit().await {
                return Some(fenced);
            }
        }
        None
    }

    async fn submit(
        &mut self,
        operation: Operation,
        reply: oneshot::Sender<Result<Event, SubmitError>>,
    ) -> Result<(), AppendError> {
        loop {
            match self.log.propose(operation) {
                Ok(event) => {
                    self.waiting.push((event, reply));
                    return Ok(());
                }
                Err(ProposeError::Refused(refusal)) => {
                    // The caller may have gone away meanwhile.
                    let _ = reply.send(Err(refusal.into()));
                    return Ok(());
                }
                Err(ProposeError::Full(_)) => self.commit().await?,
            }
        }
    }

    async fn draw(&mut self, count: u32) -> Result<(), AppendError> {
        for _ in 0..count {
            loop {
                match self.log.propose(generator::random_operation(&mut self.random)) {
                    Ok(_) => break,
                    // Another one will do: a division never fails, so this ends.
                    Err(ProposeError::Refused(_)) => {}
                    Err(ProposeError::Full(_)) => self.commit().await?,
                }
            }
        }
        Ok(())
    }

    /// Makes the open batch durable, publishes it and answers who waits for it.
    async fn commit(&mut self) -> Result<(), AppendError> {
        let Some(batch) = self.log.seal(clock::now()) else { return Ok(()) };
        // The one time that this batch is encoded.
        let stored = StoredBatch::new(&batch, wire::frame::encode_batch(&batch));
        let tail = self.log.newest();
        match self.store.append(stored.clone(), tail).await {
            Ok(()) => {
                self.log.commit();
                self.feed.publish(stored, tail);
                for (event, reply) in self.waiting.drain(..) {
                    let _ = reply.send(Ok(event));
                }
                Ok(())
            }
            Err(error) => self.not_committed(error),
        }
    }

    fn not_committed(&mut self, error: AppendError) -> Result<(), AppendError> {
        self.log.roll_back();
        for (_, reply) in self.waiting.drain(..) {
            let _ = reply.send(Err(SubmitError::Store(error.clone())));
        }
        match error {
            AppendError::Unavailable(reason) => {
                warn!(reason, "a batch was not committed");
                Ok(())
            }
            AppendError::Fenced(_) | AppendError::NotNext(_) => {
                error!(%error, "this leader may not write any more");
                Err(error)
            }
        }
    }
}
