//! A log that is open for writing: its threads, and what its writer and its readers share.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use engine::{Digest, Durability, Index, LogId, Snapshot};
use tokio::sync::{mpsc, oneshot};

use super::damage::Known;
use super::error::{OpenError, RowError};
use super::held::Held;
use super::pool::{Pool, READERS};
use super::reader::SqliteReader;
use super::rows::Summary;
use super::watcher::Watcher;
use super::write_connection::WriteConnection;
use super::write_thread::{Order, WriteThread};
use super::{Options, files};
use crate::{
    AppendError, Commit, Damage, LogReader, LogSize, LogWriter, Lost, LostSender, Opened, ReadError, StoredBatch,
};

/// Opens the log in the directory of `options`. A log that does not exist yet is made and named `new_log`.
pub(super) fn open(options: Options, new_log: LogId) -> Result<Opened, OpenError> {
    open_shared(options, new_log).map(|(opened, _)| opened)
}

fn open_shared(options: Options, new_log: LogId) -> Result<(Opened, Arc<OpenLog>), OpenError> {
    let directory = options.directory.clone();
    let durability = if options.durability == Durability::Fsync { Durability::Fsync } else { Durability::Os };
    files::make_directory(&directory)?;
    let lock = files::Lock::take(&directory)?;
    let connection = WriteConnection::open(&Options { durability, ..options }, new_log)?;
    let summary = connection.summary();
    let held = Arc::new(Held::look(&directory)?);
    let damage = Arc::new(Known::new(connection.newest_snapshot().position().index));
    let (lost_sender, lost) = Lost::channel();
    let no_thread = |reason| OpenError::Files { path: directory.clone(), reason };
    let readers = Pool::start(&directory, summary).map_err(no_thread)?;
    let watcher =
        Watcher::start(Arc::clone(&held), connect(&directory, summary)?, lost_sender.clone()).map_err(no_thread)?;
    let floor = Arc::new(AtomicU64::new(summary.floor.position().index.0));
    let (orders, queue) = mpsc::channel(2);
    let is_truncating = Arc::new(AtomicBool::new(false));
    let size = Arc::new(Mutex::new(connection.size()));
    let (producers, snapshot) = (connection.producers(), connection.newest_snapshot());
    let write_thread = WriteThread {
        connection,
        damage: Arc::clone(&damage),
        held,
        lost: lost_sender.clone(),
        floor: Arc::clone(&floor),
        size: Arc::clone(&size),
        is_truncating: Arc::clone(&is_truncating),
        _lock: lock,
    };
    let write_thread = write_thread.start(queue).map_err(no_thread)?;
    let log = Arc::new(OpenLog {
        watcher: Some(watcher),
        readers: Some(readers),
        orders: Some(orders),
        write_thread: Some(write_thread),
        is_truncating,
        floor,
        size,
        damage,
        lost: lost_sender,
    });
    let opened = Opened {
        term: summary.term,
        tail: summary.tail,
        producers,
        durability,
        snapshot,
        writer: Box::new(SqliteWriter { log: Arc::clone(&log) }),
        reader: Arc::clone(&log) as Arc<dyn LogReader>,
        lost,
    };
    Ok((opened, log))
}

fn connect(directory: &Path, summary: Summary) -> Result<SqliteReader, OpenError> {
    SqliteReader::reopen(directory, summary)
        .map_err(|error| RowError::sqlite(&error, Index::ZERO).into_open(directory.to_owned()))
}

/// What the writer and the readers of one opening share. When the last of them is dropped, the log closes and its lock
/// is free.
#[derive(Debug)]
pub(super) struct OpenLog {
    /// The fields in an `Option` are emptied in this order when the log closes.
    watcher: Option<Watcher>,
    readers: Option<Pool>,
    /// Two places: the writer waits for each commit, and at most one order to truncate is beside it.
    orders: Option<mpsc::Sender<Order>>,
    write_thread: Option<JoinHandle<()>>,
    /// Whether an order to truncate the write-ahead log is on its way.
    is_truncating: Arc<AtomicBool>,
    floor: Arc<AtomicU64>,
    size: Arc<Mutex<LogSize>>,
    damage: Arc<Known>,
    lost: LostSender,
}

impl OpenLog {
    async fn order<R>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<R, AppendError>>) -> Order,
    ) -> Result<R, AppendError> {
        let gone = || AppendError::OutcomeUnknown("the thread that writes it ended".to_owned());
        let (done, answer) = oneshot::channel();
        self.orders.as_ref().ok_or_else(gone)?.send(order(done)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Holds readers up, which takes as long as the longest of their reads, so that the write-ahead log can be truncated.
    /// Commits go on meanwhile and wait for no reader.
    fn truncate_wal(&self) {
        let (Some(readers), Some(orders)) = (&self.readers, &self.orders) else { return };
        if self.is_truncating.swap(true, Ordering::AcqRel) {
            return;
        }
        // Weak, so that the log can close meanwhile.
        let (orders, free, is_truncating) =
            (orders.downgrade(), Arc::clone(&readers.free), Arc::clone(&self.is_truncating));
        tokio::spawn(async move {
            let Ok(no_reads) = free.acquire_many_owned(READERS).await else { return };
            let sent = orders.upgrade().is_some_and(|orders| orders.try_send(Order::TruncateWal { no_reads }).is_ok());
            if !sent {
                is_truncating.store(false, Ordering::Release);
            }
        });
    }

    /// Runs `read` on a reading connection. Damage that it meets in old history is remembered; other damage ends the
    /// leader.
    async fn with_reader<R: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteReader) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        let closed = || ReadError::Unavailable("it is being closed".to_owned());
        let damage = Arc::clone(&self.damage);
        let read = move |reader: &mut SqliteReader| {
            let read = read(reader);
            damage.note(reader, read)
        };
        let result = self.readers.as_ref().ok_or_else(closed)?.run(read).await;
        if let Err(ReadError::Corrupt(damage)) = &result
            && !self.damage.is_old(damage.index)
        {
            self.lost.send(damage.clone());
        }
        result
    }
}

#[async_trait]
impl LogReader for OpenLog {
    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        self.damage.check(from)?;
        let rows = self.with_reader(move |reader| reader.rows(from, max_bytes)).await?;
        Ok(rows.into_iter().map(|row| row.batch).collect())
    }

    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError> {
        self.with_reader(move |reader| reader.digest_at(index)).await
    }

    async fn snapshot_at(&self, index: Index) -> Result<Snapshot, ReadError> {
        self.with_reader(move |reader| reader.snapshot_at(index)).await
    }

    fn floor(&self) -> Index {
        Index(self.floor.load(Ordering::Acquire))
    }

    fn size(&self) -> Option<LogSize> {
        Some(*self.size.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn damage(&self) -> Vec<Damage> {
        self.damage.above(self.floor())
    }
}

/// The one writer of an opening.
struct SqliteWriter {
    log: Arc<OpenLog>,
}

#[async_trait]
impl LogWriter for SqliteWriter {
    async fn append(&mut self, commit: Commit) -> Result<(), AppendError> {
        let appended = self.log.order(|done| Order::Append { commit, done }).await?;
        if appended.is_wal_long {
            self.log.truncate_wal();
        }
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), AppendError> {
        self.log.order(|done| Order::Probe { done }).await
    }
}

impl Drop for OpenLog {
    fn drop(&mut self) {
        // The last connection to close tidies up, and only the one that writes can. So the others close first.
        self.watcher = None;
        self.readers = None;
        // Ends the thread.
        self.orders = None;
        if let Some(thread) = self.write_thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::Duration;

    use bytes::Bytes;
    use engine::{Position, ProducerChanges, Term};
    use rusqlite::Connection;

    use super::*;

    #[tokio::test]
    async fn no_commit_waits_for_readers_however_long_the_write_ahead_log_is() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::MAX,
            retain: NonZeroU64::MAX,
            retain_bytes: None,
        };
        let (Opened { mut writer, .. }, log) = open_shared(options, LogId(1)).unwrap();
        let wal = || std::fs::metadata(directory.path().join("log.sqlite-wal")).unwrap().len();
        let commit = |index| {
            let end = Position { index: Index(index), digest: Digest(index) };
            let batch = StoredBatch { first: Index(index), end, term: Term(1), frame: Bytes::from(vec![1; 1 << 20]) };
            Commit { batch, tail: Snapshot::take(LogId(1), end, 0), producers: ProducerChanges::default() }
        };
        writer.append(commit(1)).await.unwrap();
        // Another program is in the middle of a long read, and all of our readers are busy.
        let reader = Connection::open(directory.path().join("log.sqlite")).unwrap();
        reader.execute_batch("BEGIN; SELECT term FROM state").unwrap();
        let reading = Arc::clone(&log.readers.as_ref().unwrap().free).acquire_many_owned(READERS).await.unwrap();
        for index in 2..50 {
            let append = tokio::time::timeout(Duration::from_secs(20), writer.append(commit(index)));
            append.await.expect("a commit waits for a reader").unwrap();
        }
        assert!(wal() > 33 << 20, "{}", wal());
        drop((reader, reading));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while wal() > 1 << 20 {
            assert!(std::time::Instant::now() < deadline, "the write-ahead log was not truncated: {}", wal());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
