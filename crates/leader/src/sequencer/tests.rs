//! The sequencer on stores that take everything, nothing, or another leader's word.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use engine::{Index, LogId, Operation, ProducerId, Sequence};
use store::MemoryStore;
use tokio::task::JoinHandle;

use super::*;

fn start(store: Arc<dyn Store>, feed: Feed, seed: u64) -> (Submitter, JoinHandle<Option<AppendError>>) {
    let (submitter, writer) = new(store, feed, seed, || Timestamp(0));
    (submitter, tokio::spawn(writer.run()))
}

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
    fn producers(&self) -> Vec<engine::Submitted> {
        self.inner.producers()
    }
    async fn append(&self, commit: Commit) -> Result<(), AppendError> {
        if commit.batch.first > Index(1) { Err(self.error.clone()) } else { self.inner.append(commit).await }
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

fn failing(error: AppendError) -> (Feed, Submitter, JoinHandle<Option<AppendError>>) {
    let store: Arc<dyn Store> = Arc::new(Failing { inner: MemoryStore::new(LogId(1), 100), error });
    let feed = Feed::new(Arc::clone(&store), Duration::from_secs(1));
    let (submitter, running) = start(store, feed.clone(), 1);
    (feed, submitter, running)
}

async fn after_a_failure(error: AppendError) -> (Feed, JoinHandle<Option<AppendError>>) {
    let (feed, submitter, running) = failing(error.clone());
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
async fn a_leader_that_is_fenced_or_does_not_know_what_happened_stops_writing() {
    let fenced = AppendError::from(store::Fenced { own: engine::Term(1), by: engine::Term(2) });
    for error in [fenced, AppendError::OutcomeUnknown("the disk failed".to_owned())] {
        let (_feed, running) = after_a_failure(error.clone()).await;
        assert_eq!(running.await.unwrap(), Some(error));
    }
}

#[tokio::test]
async fn a_leader_that_stops_leaves_nobody_waiting() {
    let fenced = AppendError::from(store::Fenced { own: engine::Term(1), by: engine::Term(2) });
    let (_feed, submitter, running) = failing(fenced.clone());
    submitter.submit(Operation::Add(5)).await.unwrap();
    // The flush ends the batch, and with it the leader; what comes after it is never judged.
    let (first, (), after) =
        tokio::join!(submitter.submit(Operation::Add(1)), submitter.flush(), submitter.submit(Operation::Add(1)));
    assert_eq!((first, after), (Err(SubmitError::Store(fenced.clone())), Err(SubmitError::ShuttingDown)));
    assert_eq!(running.await.unwrap(), Some(fenced));
    assert_eq!(submitter.submit(Operation::Add(1)).await, Err(SubmitError::ShuttingDown));
}

#[tokio::test]
async fn a_writer_that_is_cut_off_leaves_the_outcome_open() {
    let (_feed, submitter, running) = sequencer();
    let mut submission = Box::pin(submitter.submit(Operation::Add(1)));
    assert!(std::future::poll_fn(|context| Poll::Ready(submission.as_mut().poll(context).is_pending())).await);
    running.abort();
    assert!(matches!(submission.await, Err(SubmitError::Store(AppendError::OutcomeUnknown(_)))));
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_event_that_is_there() {
    let (feed, submitter, _running) = sequencer();
    let producer = Some((ProducerId::new("me").unwrap(), Sequence(1)));
    let submission = Submission { operation: Operation::Add(3), producer, expected: Some(Index(0)) };
    let first = submitter.submit(submission.clone());
    let second = submitter.submit(submission.clone());
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.as_ref().map(|event| event.value), Ok(3));
    assert_eq!((&first, &first), (&second, &submitter.submit(submission).await));
    assert_eq!(feed.published().tail.position().index, Index(1));
}

#[tokio::test]
async fn a_repeat_of_what_is_durable_does_not_fail_with_the_open_batch() {
    let full = AppendError::Unavailable("full".to_owned());
    let (_feed, submitter, _running) = failing(full.clone());
    let producer = Some((ProducerId::new("me").unwrap(), Sequence(1)));
    let submission = Submission { operation: Operation::Add(5), producer, expected: None };
    let first = submitter.submit(submission.clone()).await.unwrap();
    let (other, repeat) = tokio::join!(submitter.submit(Operation::Add(1)), submitter.submit(submission));
    assert_eq!((other, repeat), (Err(SubmitError::Store(full)), Ok(first)));
}

#[tokio::test]
async fn a_refusal_that_rests_on_what_is_not_durable_fails_with_it() {
    let full = AppendError::Unavailable("full".to_owned());
    let (_feed, submitter, _running) = failing(full.clone());
    submitter.submit(Operation::Add(5)).await.unwrap();
    let below_zero = submitter.submit(Operation::Subtract(9));
    let root = submitter.submit(Operation::SquareRoot);
    let (below_zero, root) = tokio::join!(below_zero, root);
    assert_eq!(below_zero, Err(SubmitError::Store(full.clone())));
    assert_eq!(root, Err(SubmitError::Store(full)), "the number never was negative");
    assert_eq!(submitter.problem().as_deref(), Some("full"));
}
