//! The one connection that writes, and what it must know to make a commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Durability, Index, LogId, Position, ProducerChanges, ProducerId, Snapshot, Submitted, Term};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};

use super::error::{Cause, OpenError, RowError};
use super::files;
use super::pages::Pages;
use super::reader::SqliteReader;
use super::retention::Retention;
use super::rows::{self, Stored, StoredRow, Summary};
use super::watermark::{Watermark, WatermarkFile};
use super::{Options, forced, pages, schema};
use crate::{AppendError, Commit, Fenced, LogSize, NotNext};

/// How many rows below the floor one commit deletes. It is more than a commit adds, so the old rows run out, and few
/// enough that no commit becomes slow when the floor rises by a million.
const DELETE_STEP: u32 = 64;

/// How large the file of the write-ahead log may stay once all of it is in the database.
const WAL_BYTES: i64 = 16 << 20;

/// How large it may become before readers are held up so that it can be truncated. SQLite reuses it only when nobody reads
/// from it, and steady readers may never leave such a moment.
const LONG_WAL_BYTES: u64 = 2 * WAL_BYTES.unsigned_abs();

/// Writes commits and snapshots, and deletes old history.
#[derive(Debug)]
pub(super) struct WriteConnection {
    database: Connection,
    watermark: WatermarkFile,
    summary: Summary,
    producers: BTreeMap<ProducerId, Submitted>,
    retention: Retention,
    durability: Durability,
    /// As of the last commit.
    pages: Pages,
    /// Whether rows below the floor may be left.
    leftovers: bool,
    /// Whether those rows are damaged and cannot be deleted.
    is_stuck: bool,
    /// The write-ahead log.
    wal: PathBuf,
    /// From how many bytes it counts as long.
    long_wal: u64,
}

impl WriteConnection {
    /// Opens the log in the directory of `options` for writing, which takes the next term. If there is none, makes one
    /// named `new_log`.
    pub(super) fn open(options: &Options, new_log: LogId) -> Result<Self, OpenError> {
        let directory = options.directory.clone();
        forced::force_files(&directory)?;
        // Everything is checked before anything is written.
        let found = match SqliteReader::open_first(&directory) {
            Ok(mut reader) => Some((reader.summary(), reader.producers()?, reader.sound_snapshots()?)),
            Err(OpenError::Missing { .. }) => None,
            Err(error) if is_unfinished(&directory)? => {
                tracing::debug!(%error, "the log was never finished, so there is nothing in it");
                None
            }
            Err(error) => return Err(error),
        };
        let fail = |error: rusqlite::Error| RowError::sqlite(&error, Index::ZERO).into_open(directory.clone());
        let mut database = connect(&directory).map_err(|error| error.into_open(directory.clone()))?;
        forced::move_wal(&database, &directory)?;
        let (mut summary, producers, snapshots) = match found {
            Some(found) => found,
            None => (begin(&mut database, new_log).map_err(fail)?, Vec::new(), Vec::new()),
        };
        take_term(&mut database, &mut summary).map_err(|error| error.into_open(directory.clone()))?;
        if options.durability != Durability::Fsync {
            database.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
        }
        let read = || -> Result<(Retention, Pages), RowError> {
            let newest = snapshots.last().map_or(summary.floor, |snapshot| *snapshot).position().index;
            let since_snapshot = match options.retain_bytes {
                Some(_) => Stored::after(&database, newest)?,
                None => Stored::default(),
            };
            let pages = Pages::count(&database).map_err(|error| RowError::sqlite(&error, newest))?;
            Ok((Retention::new(options, summary.floor, snapshots, since_snapshot), pages))
        };
        let (retention, pages) = read().map_err(|error| error.into_open(directory.clone()))?;
        let watermark = WatermarkFile::open(&directory, &watermark_at(&summary, options.durability))?;
        let producers = producers.into_iter().map(|row| (row.producer.clone(), row)).collect();
        let database_file = files::database(&directory);
        let wal = files::beside(&database_file.canonicalize().unwrap_or(database_file), "-wal");
        Ok(Self {
            database,
            watermark,
            summary,
            producers,
            retention,
            durability: options.durability,
            pages,
            leftovers: true,
            is_stuck: false,
            wal,
            long_wal: LONG_WAL_BYTES,
        })
    }

    pub(super) fn summary(&self) -> Summary {
        self.summary
    }

    pub(super) fn producers(&self) -> Vec<Submitted> {
        self.producers.values().cloned().collect()
    }

    /// The newest state from which the rest of the log can be replayed.
    pub(super) fn newest_snapshot(&self) -> Snapshot {
        self.retention.newest_snapshot()
    }

    /// What the log takes, as of the last commit.
    pub(super) fn size(&self) -> LogSize {
        let wal = std::fs::metadata(&self.wal).map_or(0, |file| file.len());
        LogSize { history: self.pages.used(), file: self.pages.all(), write_ahead: wal }
    }

    /// Whether a write-ahead log of so many bytes should be truncated. Nobody may read meanwhile.
    pub(super) fn is_long_wal(&self, bytes: u64) -> bool {
        bytes > self.long_wal
    }

    /// Moves the write-ahead log into the database and truncates it. If another program reads, the next attempt comes when
    /// the log has grown as much again.
    pub(super) fn truncate_wal(&mut self) {
        let checkpoint = || -> rusqlite::Result<i64> {
            // Commits wait for this.
            self.database.busy_timeout(Duration::ZERO)?;
            let busy = self.database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            self.database.busy_timeout(super::BUSY)?;
            busy
        };
        self.long_wal = match checkpoint() {
            Ok(0) => LONG_WAL_BYTES,
            Ok(_) | Err(_) => self.long_wal + LONG_WAL_BYTES,
        };
    }

    /// Makes `commit` durable. Returns the floor.
    pub(super) fn append(&mut self, commit: &Commit) -> Result<Index, AppendError> {
        let tail = self.summary.tail.position();
        if commit.batch.first != tail.index.next() {
            // A leader that was replaced is told so, whatever it appends.
            check_term(&self.database, self.summary.term, commit.batch.first)?;
            return Err(NotNext { tail: tail.index, got: commit.batch.first }.into());
        }
        let mut summary = Summary { tail: commit.tail, ..self.summary };
        summary.producers.update(&self.producers, &commit.producers);
        let stored = Stored::of(&commit.batch);
        // Rows that are left below the floor, or cannot be deleted, do not count as history.
        let used = (!self.leftovers && !self.is_stuck).then(|| self.pages.used());
        let plan = self.retention.plan(commit.tail.position().index, stored, used);
        if let Some(floor) = plan.floor {
            summary.floor = floor;
        }

        let row = StoredRow { batch: commit.batch.clone(), before: tail.digest, value: commit.tail.value() };
        let snapshot = plan.takes_snapshot.then_some(commit.tail);
        let changes = Changes { summary, row, producers: &commit.producers, snapshot };
        let cleans = !self.is_stuck && (self.leftovers || plan.floor.is_some());
        let written = match self.write(&changes, cleans) {
            Err(WriteError::OldHistory(error)) => {
                tracing::error!(%error, "old history is damaged and cannot be deleted until the leader starts again");
                self.is_stuck = true;
                self.write(&changes, false)
            }
            written => written,
        };
        let written = written.map_err(|error| match error {
            WriteError::OldHistory(error) => not_begun(&error, commit.batch.first),
            WriteError::Append(error) => error,
        })?;

        self.summary = summary;
        for submitted in &commit.producers.written {
            self.producers.insert(submitted.producer.clone(), submitted.clone());
        }
        for producer in &commit.producers.forgotten {
            self.producers.remove(producer);
        }
        self.retention.committed(plan, stored, commit.tail);
        self.leftovers = usize::try_from(DELETE_STEP) == Ok(written.deleted);
        self.pages = written.pages;
        self.watermark.write(&watermark_at(&self.summary, self.durability));
        Ok(summary.floor.position().index)
    }

    /// Writes the changes in one transaction, and if `cleans` deletes rows below the floor.
    fn write(&mut self, changes: &Changes<'_>, cleans: bool) -> Result<Written, WriteError> {
        let near = changes.row.batch.first;
        let failed = |error: rusqlite::Error| WriteError::Append(not_begun(&error, near));
        let own = self.summary.term;
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        check_term(&transaction, own, near).map_err(WriteError::Append)?;
        changes.write(&transaction).map_err(failed)?;
        let deleted =
            match if cleans { delete_old(&transaction, changes.summary.floor.position().index) } else { Ok(0) } {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                    return Err(WriteError::OldHistory(error));
                }
                deleted => deleted.map_err(failed)?,
            };
        let pages = Pages::count(&transaction).map_err(failed)?;
        transaction.commit().map_err(|error| WriteError::Append(not_committed(&error)))?;
        Ok(Written { deleted, pages })
    }

    /// Makes a commit that changes nothing.
    pub(super) fn probe(&mut self) -> Result<(), AppendError> {
        let (own, near) = (self.summary.term, self.summary.tail.position().index.next());
        let failed = |error: rusqlite::Error| not_begun(&error, near);
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        check_term(&transaction, own, near)?;
        // SQLite writes nothing to the disk for a row that stays the same. So it is changed, and changed back.
        for _ in 0..2 {
            transaction.execute("UPDATE state SET term = -term WHERE id = 1", []).map_err(failed)?;
        }
        // The log is the same whether or not this succeeds.
        transaction.commit().map_err(failed)
    }
}

/// Takes the next term, unless somebody wrote to the log since `summary` was read. Terms never go back, so the term is
/// forced to the disk whatever the durability, and everything written before it with it.
fn take_term(database: &mut Connection, summary: &mut Summary) -> Result<(), RowError> {
    let failed = |error: rusqlite::Error| RowError::sqlite(&error, Index::ZERO);
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if Summary::read(&transaction)? != *summary {
        let what = "another leader wrote to it meanwhile, in spite of the lock";
        return Err(RowError::unavailable(Cause::AnotherLeader, what));
    }
    summary.term = Term(summary.term.0 + 1);
    summary.insert(&transaction).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn watermark_at(summary: &Summary, durability: Durability) -> Watermark {
    Watermark { log: summary.log, position: summary.tail.position(), durability }
}

/// Checks that no other leader opened the log, for example on a machine where the lock does not reach.
fn check_term(database: &Connection, own: Term, near: Index) -> Result<(), AppendError> {
    let term = database
        .prepare_cached("SELECT term FROM state WHERE id = 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
        .map_err(|error| not_begun(&error, near))?;
    let by = Term(term.cast_unsigned());
    if by == own { Ok(()) } else { Err(Fenced { own, by }.into()) }
}

/// What one commit came to.
struct Written {
    /// Batches below the floor that were deleted.
    deleted: usize,
    pages: Pages,
}

/// What one commit writes.
struct Changes<'a> {
    summary: Summary,
    row: StoredRow,
    producers: &'a ProducerChanges,
    snapshot: Option<Snapshot>,
}

impl Changes<'_> {
    fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.row.insert(transaction)?;
        self.summary.insert(transaction)?;
        for producer in &self.producers.forgotten {
            rows::delete_producer(transaction, producer)?;
        }
        for submitted in &self.producers.written {
            rows::put_producer(transaction, submitted)?;
        }
        self.snapshot.as_ref().map_or(Ok(()), |snapshot| rows::insert_snapshot(transaction, snapshot))
    }
}

enum WriteError {
    Append(AppendError),
    /// Old history cannot be deleted. Nothing was written.
    OldHistory(rusqlite::Error),
}

/// Deletes some of the rows at or below the floor. Returns how many batches.
fn delete_old(transaction: &Transaction<'_>, floor: Index) -> rusqlite::Result<usize> {
    let floor = floor.0.cast_signed();
    transaction.prepare_cached("DELETE FROM snapshots WHERE position <= ?1")?.execute([floor])?;
    transaction
        .prepare_cached(
            "DELETE FROM batches WHERE last IN (SELECT last FROM batches WHERE last <= ?1 ORDER BY last LIMIT ?2)",
        )?
        .execute(params![floor, DELETE_STEP])
}

/// Why a transaction failed before it was told to commit, so that nothing of it is in the log. `near` is where the batch
/// would be.
fn not_begun(error: &rusqlite::Error, near: Index) -> AppendError {
    match RowError::sqlite(error, near) {
        RowError::Corrupt(damage) => damage.into(),
        RowError::Unavailable(problem) => AppendError::Unavailable(problem.what),
    }
}

/// Why a transaction failed while it was committed. SQLite finds a full disk before it writes the last piece of a commit,
/// so nothing happened. After any other failure the whole commit may be on the disk.
fn not_committed(error: &rusqlite::Error) -> AppendError {
    let reason = match RowError::sqlite(error, Index::ZERO) {
        RowError::Unavailable(problem) => problem.what,
        RowError::Corrupt(_) => error.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => AppendError::Unavailable(reason),
        _ => AppendError::OutcomeUnknown(reason),
    }
}

/// A connection that writes to the log in `directory`.
pub(super) fn connect(directory: &Path) -> Result<Connection, RowError> {
    let database =
        Connection::open(files::database(directory)).map_err(|error| RowError::sqlite(&error, Index::ZERO))?;
    prepare(&database)?;
    Ok(database)
}

fn prepare(database: &Connection) -> Result<(), RowError> {
    let prepare = || -> rusqlite::Result<String> {
        super::configure(database)?;
        database.pragma_update(None, "page_size", pages::BYTES.cast_signed())?;
        let mode = database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        database.pragma_update(None, "synchronous", "FULL")?;
        database.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        Ok(mode)
    };
    let mode = prepare().map_err(|error| RowError::sqlite(&error, Index::ZERO))?;
    if mode == "wal" {
        return Ok(());
    }
    let what = format!("the file system cannot keep a write-ahead log (SQLite stays with journal mode {mode})");
    Err(RowError::unavailable(Cause::NoWriteAheadLog, what))
}

/// Makes the tables of a new log.
fn begin(database: &mut Connection, log: LogId) -> rusqlite::Result<Summary> {
    let start = Snapshot::take(log, Position::origin(log), 0);
    let summary =
        Summary { log, term: Term(0), tail: start, floor: start, producers: rows::ProducersChecksum::default() };
    let transaction = database.transaction()?;
    schema::create(&transaction)?;
    summary.insert(&transaction)?;
    transaction.commit()?;
    Ok(summary)
}

/// Whether a leader was stopped before it had made the tables: the database has none, and there is no watermark.
fn is_unfinished(directory: &Path) -> Result<bool, OpenError> {
    if Watermark::paths(directory).iter().any(|path| path.exists()) {
        return Ok(false);
    }
    let path = files::database(directory);
    let length = std::fs::metadata(&path).map_err(|reason| OpenError::Files { path: path.clone(), reason })?.len();
    if length == 0 {
        return Ok(true);
    }
    // A leader that was stopped while SQLite wrote the file's first page left a journal. Only a connection that may write
    // can undo the page with it. A finished log has no such journal.
    let stopped_at_the_first_page = directory.join("log.sqlite-journal").exists();
    let flags =
        if stopped_at_the_first_page { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let empty = Connection::open_with_flags(&path, flags).and_then(|database| schema::is_empty(&database));
    Ok(empty.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use bytes::Bytes;
    use engine::Digest;

    use super::*;
    use crate::StoredBatch;

    #[test]
    fn no_term_is_taken_over_a_commit_that_was_not_seen() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::MIN,
            retain: NonZeroU64::MIN,
            retain_bytes: None,
        };
        let mut leader = WriteConnection::open(&options, LogId(1)).unwrap();
        let mut seen = leader.summary();
        let end = Position { index: Index(1), digest: Digest(10) };
        let batch = StoredBatch { first: Index(1), end, term: Term(1), frame: Bytes::from_static(b"frame") };
        let tail = Snapshot::take(LogId(1), end, 5);
        leader.append(&Commit { batch, tail, producers: ProducerChanges::default() }).unwrap();

        let mut database = connect(directory.path()).ok().unwrap();
        assert!(matches!(take_term(&mut database, &mut seen), Err(RowError::Unavailable(_))));
        let mut now = Summary::read(&database).ok().unwrap();
        assert_eq!((now.tail, now.term), (tail, Term(1)), "nothing was changed");
        assert!(take_term(&mut database, &mut now).is_ok());
        assert_eq!(Summary::read(&database).ok().unwrap().term, Term(2));
    }
    #[test]
    fn a_file_system_without_shared_memory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        // Locks by making files, as for file systems that have neither locks nor shared memory.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let path = files::database(directory.path());
        let database = Connection::open_with_flags_and_vfs(&path, flags, "unix-dotfile").unwrap();
        let Err(RowError::Unavailable(problem)) = prepare(&database) else { panic!("it is not refused") };
        assert_eq!(problem.cause, Cause::NoWriteAheadLog);
        assert!(problem.what.contains("journal mode delete"), "{problem}");
    }
}
