//! A log in a directory: an SQLite database with a write-ahead log.
//!
//! | file | what |
//! |---|---|
//! | `log.sqlite`, `log.sqlite-wal`, `log.sqlite-shm` | the database: a row for each batch, snapshots, producers, and one row that sums them up |
//! | `acknowledged` | where the log ended when somebody was last told so; see `files::Mark` |
//! | `leader.lock` | locked while a leader writes |
//!
//! A process must not open and close these files by other means while it has the log open: that would give up SQLite's
//! locks (see [`SqliteReader`]).
//!
//! One thread writes; it makes one commit at a time durable. Readers have connections of their own and see the last
//! commit. Neither waits for the other, but that readers are held up for a moment when the write-ahead log has become
//! long.

mod damage;
mod error;
mod extent;
mod files;
mod forced;
mod held;
mod pool;
mod reader;
mod rows;
mod schema;
mod unwritable;
mod watcher;
mod writer;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use damage::Known;
use engine::{Digest, Durability, Index, LogId, Snapshot, Submitted, Term};
pub use error::OpenError;
use error::RowError;
use held::{Held, Look};
use pool::{Pool, READERS};
pub use reader::SqliteReader;
pub use rows::StoredRow;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use watcher::Watcher;
use writer::Writer;

use crate::{AppendError, Commit, Damage, ReadError, Store, StoredBatch};

/// How long the database may be locked by somebody else, such as a backup program, before a commit fails.
const BUSY: Duration = Duration::from_secs(2);

/// What a log in a directory is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is. Made if it does not exist.
    pub directory: PathBuf,
    /// What a commit survives; `Memory` counts as `Os`.
    pub durability: Durability,
    /// Events from one snapshot to the next, at least: what is replayed to verify the end of the log when it is opened.
    pub snapshot_every: NonZeroU64,
    /// Events to keep at least. Older ones go when a snapshot lies after them.
    pub retain: NonZeroU64,
}

/// A log in a directory. Dropping it closes the log, after the commit that is being made.
#[derive(Debug)]
pub struct SqliteStore {
    opened_at: Snapshot,
    newest_snapshot: Snapshot,
    term: Term,
    durability: Durability,
    producers: Vec<Submitted>,
    floor: Arc<AtomicU64>,
    /// Two places: the sequencer waits for each commit, and there is at most one other order beside it.
    orders: Option<mpsc::Sender<Order>>,
    /// Whether the write-ahead log is about to begin anew.
    renewing: Arc<AtomicBool>,
    writing: Option<JoinHandle<()>>,
    /// `None` once it is being closed.
    readers: Option<Pool>,
    directory: PathBuf,
    /// What every connection takes for granted.
    opened: rows::State,
    damage: Arc<Known>,
    watcher: Option<Watcher>,
    lost: watch::Sender<Option<AppendError>>,
}

#[derive(Debug)]
enum Order {
    Append {
        commit: Commit,
        done: oneshot::Sender<Result<Appended, AppendError>>,
    },
    Probe {
        done: oneshot::Sender<Result<(), AppendError>>,
    },
    /// Let the write-ahead log begin anew.
    BeginWalAnew {
        /// While it is held, nobody of ours reads.
        nobody_reads: OwnedSemaphorePermit,
    },
}

/// What the writer says of a commit.
#[derive(Clone, Copy, Debug)]
struct Appended {
    is_wal_long: bool,
}

impl SqliteStore {
    /// Opens a log for writing, which takes a new term. A log that does not exist yet is made and called `new_log`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong and what to do.
    pub fn open(options: Options, new_log: LogId) -> Result<Self, OpenError> {
        let directory = options.directory.clone();
        let durability = if options.durability == Durability::Fsync { Durability::Fsync } else { Durability::Os };
        files::make_directory(&directory)?;
        let lock = files::Lock::take(&directory)?;
        let writer = Writer::open(Options { durability, ..options }, new_log)?;
        let state = writer.state();
        let held = Arc::new(Held::look(&directory)?);
        let damage = Arc::new(Known::new(writer.newest_snapshot().position().index));
        let lost = watch::Sender::new(None);
        let looking = connect(&directory, state)?;
        let thread = |reason| OpenError::Files { path: directory.clone(), reason };
        let readers = Pool::start(&directory, state).map_err(thread)?;
        let watcher = Watcher::start(Arc::clone(&held), looking, lost.clone()).map_err(thread)?;
        let floor = Arc::new(AtomicU64::new(state.floor.position().index.0));
        let (orders, queue) = mpsc::channel(2);
        let renewing = Arc::new(AtomicBool::new(false));
        let (producers, newest_snapshot) = (writer.producers(), writer.newest_snapshot());
        let writing = Writing {
            writer,
            damage: Arc::clone(&damage),
            held,
            lost: lost.clone(),
            floor: Arc::clone(&floor),
            renewing: Arc::clone(&renewing),
        };
        let writing = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                writing.run(queue);
                drop(lock);
            })
            .map_err(thread)?;
        Ok(Self {
            opened_at: state.tail,
            newest_snapshot,
            term: state.term,
            durability,
            producers,
            floor,
            orders: Some(orders),
            renewing,
            writing: Some(writing),
            readers: Some(readers),
            directory,
            opened: state,
            damage,
            watcher: Some(watcher),
            lost,
        })
    }

    /// A reader of this very log.
    ///
    /// # Errors
    ///
    /// [`OpenError::Database`] if there cannot be another connection.
    pub fn reader(&self) -> Result<SqliteReader, OpenError> {
        connect(&self.directory, self.opened)
    }

    /// The newest state from which the rest of the log could be replayed when it was opened.
    #[must_use]
    pub fn newest_snapshot(&self) -> Snapshot {
        self.newest_snapshot
    }

    /// Holds readers up, which takes as long as the longest of their reads, so that the write-ahead log can begin anew.
    /// Commits go on meanwhile and wait for no reader.
    fn begin_wal_anew(&self, orders: &mpsc::Sender<Order>) {
        let Some(readers) = &self.readers else { return };
        if self.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        // Weak, so that a store that is dropped meanwhile can end its thread.
        let (orders, free, renewing) = (orders.downgrade(), Arc::clone(&readers.free), Arc::clone(&self.renewing));
        tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(nobody_reads) = free.acquire_many_owned(READERS).await else { return };
            let sent =
                orders.upgrade().is_some_and(|orders| orders.try_send(Order::BeginWalAnew { nobody_reads }).is_ok());
            if !sent {
                renewing.store(false, Ordering::Release);
            }
        });
    }

    async fn with_reader<R: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteReader) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        let closed = || ReadError::Unavailable("it is being closed".to_owned());
        let result = self.readers.as_ref().ok_or_else(closed)?.run(read).await;
        if let Err(ReadError::Corrupt(damage)) = &result
            && !self.damage.is_old(damage.index)
        {
            self.lost.send_replace(Some(damage.clone().into()));
        }
        result
    }
}

fn connect(directory: &Path, state: rows::State) -> Result<SqliteReader, OpenError> {
    SqliteReader::reopen(directory, state)
        .map_err(|error| RowError::sqlite(&error, Index::ZERO).into_open(directory.to_owned()))
}

/// The thread that writes.
struct Writing {
    writer: Writer,
    damage: Arc<Known>,
    held: Arc<Held>,
    lost: watch::Sender<Option<AppendError>>,
    floor: Arc<AtomicU64>,
    renewing: Arc<AtomicBool>,
}

impl Writing {
    fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        while let Some(order) = queue.blocking_recv() {
            match order {
                // Whoever waits for an answer may have been stopped.
                Order::Append { commit, done } => drop(done.send(self.append(&commit))),
                Order::Probe { done } => drop(done.send(self.writer.probe())),
                Order::BeginWalAnew { nobody_reads } => {
                    self.writer.begin_wal_anew();
                    drop(nobody_reads);
                    self.renewing.store(false, Ordering::Release);
                }
            }
        }
    }

    fn append(&mut self, commit: &Commit) -> Result<Appended, AppendError> {
        if let Some(lost) = self.lost.borrow().clone() {
            return Err(lost);
        }
        self.held.check().map_err(|look| match look {
            Look::Replaced(replaced) => replaced.into(),
            Look::Failed { path, error } => {
                AppendError::Unavailable(format!("cannot look at {}: {error}", path.display()))
            }
        })?;
        let floor = self.writer.append(commit)?;
        if let Err(Look::Replaced(replaced)) = self.held.check() {
            // It is in the files that were there, which somebody may put back.
            return Err(AppendError::OutcomeUnknown(replaced.to_string()));
        }
        self.floor.store(floor.0, Ordering::Release);
        self.damage.set_snapshot(self.writer.newest_snapshot().position().index);
        Ok(Appended { is_wal_long: self.writer.is_wal_long() })
    }
}

/// What every connection needs.
fn configure(database: &Connection) -> rusqlite::Result<()> {
    database.busy_timeout(BUSY)?;
    // A damaged page must not pass for a sound one.
    database.pragma_update(None, "cell_size_check", true)?;
    database.pragma_update(None, "trusted_schema", false)
}

#[async_trait]
impl Store for SqliteStore {
    fn term(&self) -> Term {
        self.term
    }

    fn opened_at(&self) -> Snapshot {
        self.opened_at
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn producers(&self) -> Vec<Submitted> {
        self.producers.clone()
    }

    async fn append(&self, commit: Commit) -> Result<(), AppendError> {
        let gone = || AppendError::OutcomeUnknown("the thread that writes it ended".to_owned());
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        let (done, answer) = oneshot::channel();
        orders.send(Order::Append { commit, done }).await.map_err(|_| gone())?;
        let appended = answer.await.map_err(|_| gone())??;
        if appended.is_wal_long {
            self.begin_wal_anew(orders);
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), AppendError> {
        let gone = || AppendError::OutcomeUnknown("the thread that writes it ended".to_owned());
        let (done, answer) = oneshot::channel();
        self.orders.as_ref().ok_or_else(gone)?.send(Order::Probe { done }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        self.damage.check(from)?;
        let damage = Arc::clone(&self.damage);
        let rows = self.with_reader(move |reader| {
            let read = reader.rows(from, max_bytes);
            damage.note(reader, read)
        });
        let rows = rows.await?;
        Ok(rows.into_iter().map(|row| row.batch).collect())
    }

    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError> {
        let damage = Arc::clone(&self.damage);
        let digest = self.with_reader(move |reader| {
            let read = reader.digest_at(index);
            damage.note(reader, read)
        });
        digest.await
    }

    fn floor(&self) -> Index {
        Index(self.floor.load(Ordering::Acquire))
    }

    fn damage(&self) -> Vec<Damage> {
        self.damage.above(self.floor())
    }

    async fn lost(&self) -> AppendError {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.map(|lost| lost.clone()) {
            Ok(Some(lost)) => lost,
            // The sender lives as long as this store.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The last connection to close tidies up, which only one that writes can.
        self.watcher = None;
        self.readers = None;
        // Closes the queue, so that the thread ends; the lock is free when this returns.
        self.orders = None;
        if let Some(writing) = self.writing.take() {
            // A panic of the thread was reported when it happened.
            let _ = writing.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use engine::{Position, ProducerChanges};

    use super::*;

    #[tokio::test]
    async fn no_commit_waits_for_readers_however_long_the_write_ahead_log_is() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::MAX,
            retain: NonZeroU64::MAX,
        };
        let store = SqliteStore::open(options, LogId(1)).unwrap();
        let wal = || std::fs::metadata(directory.path().join("log.sqlite-wal")).unwrap().len();
        let commit = |index| {
            let end = Position { index: Index(index), digest: Digest(index) };
            let batch = StoredBatch { first: Index(index), end, term: Term(1), frame: Bytes::from(vec![1; 1 << 20]) };
            Commit { batch, tail: Snapshot::take(LogId(1), end, 0), producers: ProducerChanges::default() }
        };
        store.append(commit(1)).await.unwrap();
        // A reader that is in the middle of a long read, and with it all others.
        let reader = Connection::open(directory.path().join("log.sqlite")).unwrap();
        reader.execute_batch("BEGIN; SELECT term FROM state").unwrap();
        let reading = Arc::clone(&store.readers.as_ref().unwrap().free).acquire_many_owned(READERS).await.unwrap();
        for index in 2..50 {
            let append = tokio::time::timeout(Duration::from_secs(20), store.append(commit(index)));
            append.await.expect("a commit waits for a reader").unwrap();
        }
        assert!(wal() > 33 << 20, "{}", wal());
        drop((reader, reading));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while wal() > 1 << 20 {
            assert!(std::time::Instant::now() < deadline, "the write-ahead log did not begin anew: {}", wal());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
