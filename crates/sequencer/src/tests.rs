//! The sequencer on stores that accept every commit, fail, hang, or report damage.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use engine::{Goodbye, GoodbyeReason, Index, LogId, Operation, ProducerId, Sequence, Submission};
use store::{AppendError, Commit, LogReader, LogWriter, Lost, LostSender, MemoryStore, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::error::QUEUE;

fn run(opened: Opened) -> (Feed, Submitter, JoinHandle<Option<AppendError>>) {
    run_with(opened, || Operation::Add(1))
}

fn run_with(
    opened: Opened,
    source: impl FnMut() -> Operation + Send + 'static,
) -> (Feed, Submitter, JoinHandle<Option<AppendError>>) {
    let feed = Feed::new(&opened, Duration::from_secs(1));
    let (submitter, committer) = start(opened, feed.clone(), source, || Timestamp(0));
    (feed, submitter, tokio::spawn(committer.run()))
}

async fn sequencer() -> (Feed, Submitter, JoinHandle<Option<AppendError>>) {
    run(MemoryStore::new(LogId(1), 1_000_000).open().await.unwrap())
}

#[tokio::test]
async fn an_orderly_end_publishes_the_queue_and_refuses_new_operations() {
    let (feed, submitter, _running) = sequencer().await;
    // The committer has had no turn yet on this one thread, so all of this waits in the queue.
    assert!(submitter.draw(5_000).await);
    let (taken, ()) = tokio::join!(submitter.submit(Operation::Add(3)), submitter.end(GoodbyeReason::ShuttingDown));
    assert!(taken.is_ok() && feed.is_closed());
    assert_eq!(feed.published().tail.position().index, Index(5_001));
    assert_eq!(submitter.submit(Operation::Add(1)).await, Err(NotCommitted::ShuttingDown));
    assert_eq!(feed.published().tail.position().index, Index(5_001));
}

#[tokio::test]
async fn a_full_queue_refuses_submissions_at_once() {
    let (_feed, submitter, running) = sequencer().await;
    // On this one thread, the committer has not run yet.
    let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(submitter.submit(Operation::Add(1)))).collect();
    for submission in &mut waiting {
        assert!(std::future::poll_fn(|context| Poll::Ready(submission.as_mut().poll(context).is_pending())).await);
    }
    assert_eq!(submitter.submit(Operation::Add(1)).await, Err(NotCommitted::QueueFull));
    for submission in waiting {
        assert!(submission.await.is_ok());
    }
    drop(submitter);
    assert_eq!(running.await.unwrap(), None, "the committer ends with the last submitter");
}

#[tokio::test]
async fn a_leader_that_steps_down_commits_nothing_more() {
    let (feed, submitter, _running) = sequencer().await;
    assert!(submitter.draw(3).await);
    // On this one thread, the committer has not run yet.
    submitter.end(GoodbyeReason::SteppedDown).await;
    submitter.flush().await;
    assert_eq!(feed.published().tail.position().index, Index(0));
    assert_eq!(submitter.submit(Operation::Add(1)).await, Err(NotCommitted::ShuttingDown));
}

#[tokio::test]
async fn drawn_operations_that_the_calculator_refuses_are_skipped() {
    let mut turn = 0;
    let source = move || {
        turn += 1;
        if turn % 2 == 1 { Operation::Divide(0) } else { Operation::Add(turn) }
    };
    let opened = MemoryStore::new(LogId(1), 1_000).open().await.unwrap();
    let (feed, submitter, _running) = run_with(opened, source);
    assert!(submitter.draw(3).await);
    submitter.flush().await;
    assert_eq!(feed.published().tail.value(), 2 + 4 + 6);

    let opened = MemoryStore::new(LogId(1), 1_000).open().await.unwrap();
    let (feed, submitter, _running) = run_with(opened, || Operation::Divide(0));
    assert!(submitter.draw(3).await);
    assert!(
        submitter.submit(Operation::Add(1)).await.is_ok(),
        "a source that yields only refusals blocks no submission"
    );
    assert_eq!(feed.published().tail.position().index, Index(1));
}

struct Script {
    /// The error of every commit except the first.
    error: Mutex<Option<AppendError>>,
    answers: watch::Sender<bool>,
    lost: LostSender,
    reader: Arc<dyn LogReader>,
}

impl Script {
    fn fail(&self, error: Option<AppendError>) {
        *self.error.lock().unwrap() = error;
    }

    fn check(&self) -> Result<(), AppendError> {
        self.error.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

struct ScriptedWriter {
    inner: Box<dyn LogWriter>,
    script: Arc<Script>,
}

#[async_trait::async_trait]
impl LogWriter for ScriptedWriter {
    async fn append(&mut self, commit: Commit) -> Result<(), AppendError> {
        self.script.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
        if commit.batch.first > Index(1) {
            self.script.check()?;
        }
        self.inner.append(commit).await
    }
    async fn probe(&mut self) -> Result<(), AppendError> {
        self.script.check()
    }
}

async fn scripted() -> (Arc<Script>, Feed, Submitter, JoinHandle<Option<AppendError>>) {
    let mut opened = MemoryStore::new(LogId(1), 100).open().await.unwrap();
    let (answers, _) = watch::channel(true);
    let (lost_sender, lost) = Lost::channel();
    let reader = Arc::clone(&opened.reader);
    let script = Arc::new(Script { error: Mutex::default(), answers, lost: lost_sender, reader });
    opened.writer = Box::new(ScriptedWriter { inner: opened.writer, script: Arc::clone(&script) });
    opened.lost = lost;
    let (feed, submitter, running) = run(opened);
    (script, feed, submitter, running)
}

async fn failing(error: AppendError) -> (Feed, Submitter, JoinHandle<Option<AppendError>>) {
    let (script, feed, submitter, running) = scripted().await;
    script.fail(Some(error));
    (feed, submitter, running)
}

async fn after_a_failure(error: AppendError) -> (Feed, JoinHandle<Option<AppendError>>) {
    let (feed, submitter, running) = failing(error.clone()).await;
    assert!(submitter.submit(Operation::Add(5)).await.is_ok());
    assert_eq!(submitter.submit(Operation::Add(7)).await, Err(NotCommitted::Store(error)));
    assert_eq!(feed.published().tail.value(), 5, "a batch was published before it was durable");
    (feed, running)
}

#[tokio::test]
async fn a_batch_that_the_store_refuses_fails_and_is_not_published() {
    let (_feed, running) = after_a_failure(AppendError::Unavailable("full".to_owned())).await;
    assert_eq!(running.await.unwrap(), None, "the committer ran until its last submitter was gone");
}

#[tokio::test]
async fn a_fenced_leader_and_one_with_an_unknown_outcome_stop_writing() {
    let fenced = AppendError::from(store::Fenced { own: engine::Term(1), by: engine::Term(2) });
    for error in [fenced, AppendError::OutcomeUnknown("the disk failed".to_owned())] {
        let (_feed, running) = after_a_failure(error.clone()).await;
        assert_eq!(running.await.unwrap(), Some(error));
    }
}

#[tokio::test]
async fn a_leader_that_stops_answers_every_caller() {
    let fenced = AppendError::from(store::Fenced { own: engine::Term(1), by: engine::Term(2) });
    let (_feed, submitter, running) = failing(fenced.clone()).await;
    submitter.submit(Operation::Add(5)).await.unwrap();
    // The flush fails the batch and stops the leader, so the last submission is never judged.
    let (first, (), after) =
        tokio::join!(submitter.submit(Operation::Add(1)), submitter.flush(), submitter.submit(Operation::Add(1)));
    let refused = Err(NotCommitted::Store(fenced.clone()));
    assert_eq!((first, after), (refused.clone(), refused.clone()));
    assert_eq!(running.await.unwrap(), Some(fenced));
    assert_eq!(submitter.submit(Operation::Add(1)).await, refused);
    submitter.closed.store(true, std::sync::atomic::Ordering::Release);
    assert_eq!(submitter.submit(Operation::Add(1)).await, refused, "the reason is still the fence after the end");
}

#[tokio::test]
async fn an_aborted_committer_leaves_the_outcome_unknown() {
    let (_feed, submitter, running) = sequencer().await;
    let mut submission = Box::pin(submitter.submit(Operation::Add(1)));
    assert!(std::future::poll_fn(|context| Poll::Ready(submission.as_mut().poll(context).is_pending())).await);
    running.abort();
    assert!(matches!(submission.await, Err(NotCommitted::Store(AppendError::OutcomeUnknown(_)))));
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_first_event() {
    let (feed, submitter, _running) = sequencer().await;
    let producer = Some((ProducerId::new("me").unwrap(), Sequence(1)));
    let submission = Submission { producer, expected: Some(Index(0)), ..Operation::Add(3).into() };
    let first = submitter.submit(submission.clone());
    let second = submitter.submit(submission.clone());
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.as_ref().map(|event| event.value), Ok(3));
    assert_eq!((&first, &first), (&second, &submitter.submit(submission).await));
    assert_eq!(feed.published().tail.position().index, Index(1));
}

#[tokio::test]
async fn a_repeat_of_a_durable_operation_does_not_fail_with_the_open_batch() {
    let full = AppendError::Unavailable("full".to_owned());
    let (_feed, submitter, _running) = failing(full.clone()).await;
    let producer = Some((ProducerId::new("me").unwrap(), Sequence(1)));
    let submission = Submission { producer, ..Operation::Add(5).into() };
    let first = submitter.submit(submission.clone()).await.unwrap();
    let (other, repeat) = tokio::join!(submitter.submit(Operation::Add(1)), submitter.submit(submission));
    assert_eq!((other, repeat), (Err(NotCommitted::Store(full)), Ok(first)));
}

#[tokio::test]
async fn a_refusal_that_rests_on_a_batch_fails_with_that_batch() {
    let full = AppendError::Unavailable("full".to_owned());
    let (_feed, submitter, _running) = failing(full.clone()).await;
    submitter.submit(Operation::Add(5)).await.unwrap();
    let below_zero = submitter.submit(Operation::Subtract(9));
    let root = submitter.submit(Operation::SquareRoot);
    let (below_zero, root) = tokio::join!(below_zero, root);
    assert_eq!(below_zero, Err(NotCommitted::Store(full.clone())));
    assert_eq!(root, Err(NotCommitted::Store(full)), "the durable value was never negative");
    assert_eq!(submitter.health().problem().as_deref(), Some("full"));
}

/// Notes what the health says at the moment in which a task is woken.
struct AtWake(WriteHealth, Mutex<Option<String>>);

impl Wake for AtWake {
    fn wake(self: Arc<Self>) {
        *self.1.lock().unwrap() = self.0.problem();
    }
}

#[tokio::test]
async fn a_refused_caller_finds_the_reason_in_the_health() {
    for reason in [AppendError::Unavailable("full".to_owned()), damage()] {
        let (_feed, submitter, _running) = failing(reason.clone()).await;
        submitter.submit(Operation::Add(1)).await.unwrap();
        let at_wake = Arc::new(AtWake(submitter.health().clone(), Mutex::default()));
        let waker = Arc::clone(&at_wake).into();
        let mut refused = Box::pin(submitter.submit(Operation::Add(1)));
        assert!(refused.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        tokio::task::yield_now().await;
        assert_eq!(refused.await, Err(NotCommitted::Store(reason.clone())));
        let problem = at_wake.1.lock().unwrap().take();
        assert!(problem.as_ref().is_some_and(|problem| reason.to_string().contains(problem)), "{reason}: {problem:?}");
    }
}

const GOODBYE: Goodbye = Goodbye { reason: GoodbyeReason::ShuttingDown, retry_after: Duration::ZERO };

fn damage() -> AppendError {
    store::Corrupt { index: Index(1), what: "a bit is wrong".to_owned() }.into()
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_finishes_after_the_goodbye_is_not_acknowledged() {
    let (script, feed, submitter, _running) = scripted().await;
    script.answers.send_replace(false);
    let (answer, ()) = tokio::join!(submitter.submit(Operation::Add(1)), async {
        submitter.end(GoodbyeReason::ShuttingDown).await;
        script.answers.send_replace(true);
    });
    assert!(matches!(answer, Err(NotCommitted::Store(AppendError::OutcomeUnknown(_)))), "{answer:?}");
    assert_eq!(feed.published().tail.position().index, Index(0));
}

#[tokio::test]
async fn operations_after_the_goodbye_are_refused_and_not_stored() {
    let (script, feed, submitter, _running) = scripted().await;
    let producer = Some((ProducerId::new("me").unwrap(), Sequence(1)));
    let submission = Submission { producer, ..Operation::Add(5).into() };
    submitter.submit(submission.clone()).await.unwrap();
    // As if these submitters had checked `closed` just before it was set.
    feed.close(GOODBYE);
    let (new, repeat) = tokio::join!(submitter.submit(Operation::Add(1)), submitter.submit(submission));
    assert_eq!((new, repeat), (Err(NotCommitted::ShuttingDown), Err(NotCommitted::ShuttingDown)));
    assert!(submitter.draw(3).await);
    submitter.end(GoodbyeReason::ShuttingDown).await;
    assert_eq!(script.reader.read(Index(1), 1_000).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_acknowledged_after_damage_is_found() {
    // First during a commit, then before one begins.
    let (script, feed, submitter, running) = scripted().await;
    script.answers.send_replace(false);
    let (answer, ()) = tokio::join!(submitter.submit(Operation::Add(1)), async {
        tokio::task::yield_now().await;
        script.lost.send(damage());
        script.answers.send_replace(true);
    });
    assert!(matches!(answer, Err(NotCommitted::Store(AppendError::OutcomeUnknown(_)))), "{answer:?}");
    assert_eq!(running.await.unwrap(), Some(damage()));
    assert_eq!(feed.published().tail.position().index, Index(0));

    let (script, _feed, submitter, running) = scripted().await;
    script.lost.send(damage());
    assert_eq!(submitter.submit(Operation::Add(1)).await, Err(NotCommitted::Store(damage())));
    assert_eq!(running.await.unwrap(), Some(damage()));
    assert_eq!(script.reader.read(Index(1), 1_000).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_commit_is_reported_until_it_finishes() {
    let (script, _feed, submitter, _running) = scripted().await;
    script.answers.send_replace(false);
    let (answer, ()) = tokio::join!(submitter.submit(Operation::Add(1)), async {
        sleep(Duration::from_millis(1_900)).await;
        assert_eq!(submitter.health().problem(), None, "1.9 s is slow, not hanging");
        sleep(Duration::from_millis(200)).await;
        let problem = submitter.health().problem().unwrap();
        assert!(problem.contains("a commit has hung for 2 s"), "{problem}");
        script.answers.send_replace(true);
    });
    assert!(answer.is_ok());
    assert_eq!(submitter.health().problem(), None);
}

#[tokio::test(start_paused = true)]
async fn a_probe_finds_that_a_full_disk_has_room_again() {
    let (script, _feed, submitter, running) = scripted().await;
    script.fail(Some(AppendError::Unavailable("full".to_owned())));
    submitter.submit(Operation::Add(1)).await.unwrap();
    assert!(submitter.submit(Operation::Add(1)).await.is_err());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(submitter.health().problem().as_deref(), Some("full"), "it is still full");
    script.fail(None);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(submitter.health().problem(), None);

    // A probe also finds that another leader took over.
    script.fail(Some(AppendError::Unavailable("full".to_owned())));
    assert!(submitter.submit(Operation::Add(1)).await.is_err());
    let fenced = AppendError::from(store::Fenced { own: engine::Term(1), by: engine::Term(2) });
    script.fail(Some(fenced.clone()));
    assert_eq!(running.await.unwrap(), Some(fenced));
}
