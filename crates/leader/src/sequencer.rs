//! The one writer: a task that turns operations into committed batches.
//!
//! Commands wait in one bounded queue. The task takes all that wait, validates them one by one, seals what was accepted
//! into a batch, encodes it, makes it durable, publishes it and only then answers. While the store works, the queue
//! fills with the next batch: group commit without a timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Answer when everything before it is committed.
    Flush {
        done: oneshot::Sender<()>,
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
    /// Set at shutdown: what is committed after the goodbye would reach no replica.
    closed: Arc<AtomicBool>,
}

impl Submitter {
    /// Puts an operation into the log and returns its event when it is durable.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]: in every case the operation is not in the log.
    pub async fn submit(&self, operation: Operation) -> Result<Event, SubmitError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SubmitError::ShuttingDown);
        }
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

    /// Takes no more operations from anybody, and waits until those that were taken are committed and published.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let (done, flushed) = oneshot::channel();
        if self.commands.send(Command::Flush { done }).await.is_ok() {
            // It fails only if the sequencer ended, and then there is nothing to wait for.
            let _ = flushed.await;
        }
    }
}

/// Starts the sequencer on the log in `store`. The task ends with `None` when every [`Submitter`] is gone, and with the
/// error if this leader may not write any more.
pub fn start(store: Arc<dyn Store>, feed: Feed, seed: u64) -> (Submitter, JoinHandle<Option<AppendError>>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let log = Sequencer::new(store.term(), store.opened_at());
    let writer = Writer { log, store, feed, random: StdRng::seed_from_u64(seed), waiting: Vec::new() };
    (Submitter { commands: sender, closed: Arc::default() }, tokio::spawn(writer.run(receiver)))
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
                    Command::Flush { done } => {
                        let committed = self.commit().await;
                        // The leader may have stopped waiting.
                        let _ = done.send(());
                        committed
                    }
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;
    use std::time::Duration;

    use engine::{Index, LogId};
    use store::MemoryStore;

    use super::*;

    fn sequencer() -> (Feed, Submitter, JoinHandle<Option<AppendError>>) {
        let store = Arc::new(MemoryStore::new(LogId(1), 1_000_000));
        let feed = Feed::new(Arc::clone(&store) as Arc<dyn Store>, Duration::from_secs(1));
        let (submitter, running) = start(store, feed.clone(), 1);
        (feed, submitter, running)
    }

    #[tokio::test]
    async fn closing_publishes_what_was_taken_and_takes_nothing_more() {
        let (feed, submitter, _running) = sequencer();
        let taken = submitter.submit(Operation::Add(3));
        let (taken, drawn) = tokio::join!(taken, submitter.draw(20_000));
        assert!(taken.is_ok() && drawn);
        submitter.close().await;
        assert_eq!(feed.published().tail.position().index, Index(20_001));
        assert_eq!(submitter.submit(Operation::Add(1)).await, Err(SubmitError::ShuttingDown));
        assert_eq!(feed.published().tail.position().index, Index(20_001));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_people_at_once() {
        let (_feed, submitter, running) = sequencer();
        // The sequencer has had no turn yet on this one thread.
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(submitter.submit(Operation::Add(1)))).collect();
        for submission in &mut waiting {
            assert!(std::future::poll_fn(|context| Poll::Ready(submission.as_mut().poll(context).is_pending())).await);
        }
        assert_eq!(submitter.submit(Operation::Add(1)).await, Err(SubmitError::QueueFull));
        for submission in waiting {
            assert!(submission.await.is_ok());
        }
        drop(submitter);
        assert_eq!(running.await.unwrap(), None, "it ends with the last submitter");
    }

    /// Takes one batch and then is full, or another leader's.
    struct Failing {
        inner: MemoryStore,
        error: AppendError,
    }

    #[tonic::async_trait]
    impl Store for Failing {
        fn term(&self) -> engine::Term {
            self.inner.term()
        }
        fn opened_at(&self) -> engine::Snapshot {
            self.inner.opened_at()
        }
        fn durability(&self) -> engine::Durability {
            self.inner.durability()
        }
        async fn append(&self, batch: StoredBatch, tail: engine::Snapshot) -> Result<(), AppendError> {
            if batch.first > Index(1) { Err(self.error.clone()) } else { self.inner.append(batch, tail).await }
        }
        async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, store::ReadError> {
            self.inner.read(from, max_bytes).await
        }
        async fn digest_at(&self, index: Index) -> Result<Option<engine::Digest>, store::ReadError> {
            self.inner.digest_at(index).await
        }
        fn floor(&self) -> Index {
            self.inner.floor()
        }
    }

    async fn after_a_failure(error: AppendError) -> (Feed, JoinHandle<Option<AppendError>>) {
        let store: Arc<dyn Store> = Arc::new(Failing { inner: MemoryStore::new(LogId(1), 100), error: error.clone() });
        let feed = Feed::new(Arc::clone(&store), Duration::from_secs(1));
        let (submitter, running) = start(store, feed.clone(), 1);
        assert!(submitter.submit(Operation::Add(5)).await.is_ok());
        assert_eq!(submitter.submit(Operation::Add(7)).await, Err(SubmitError::Store(error)));
        assert_eq!(feed.published().tail.value(), 5, "nothing that is not durable is published");
        (feed, running)
    }

    #[tokio::test]
    async fn what_the_store_cannot_take_is_answered_and_never_published() {
        let (_feed, running) = after_a_failure(AppendError::Unavailable("full".to_owned())).await;
        assert_eq!(running.await.unwrap(), None, "it went on until nobody needed it");
    }

    #[tokio::test]
    async fn a_fenced_leader_stops_writing() {
        let fenced = AppendError::from(store::Fenced { own: engine::Term(1), by: engine::Term(2) });
        let (_feed, running) = after_a_failure(fenced.clone()).await;
        assert_eq!(running.await.unwrap(), Some(fenced));
    }
}
