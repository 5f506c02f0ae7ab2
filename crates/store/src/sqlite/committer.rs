//! The one connection that writes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Durability, Index, LogId, Position, ProducerChanges, ProducerId, Snapshot, Submitted, Term};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};

use super::error::{Cause, OpenError, RowError};
use super::files;
use super::reader::SqliteReader;
use super::rows::{self, State, StoredRow};
use super::watermark::{Watermark, WatermarkFile};
use super::{Options, forced, schema};
use crate::{AppendError, Commit, Fenced, NotNext};

/// How many rows below the floor one commit deletes: more than it adds, so that they come to an end, and few enough
/// that nobody waits for it when the floor rises over a million.
const DELETE_STEP: u32 = 64;

/// How large the write-ahead log may stay once all of it is in the database: what a busy moment needed is given back.
const WAL_BYTES: i64 = 16 << 20;

/// How large it may become before readers are held up for a moment: it begins anew only when none is in it, and with
/// enough of them there may never be such a moment by itself.
const LONG_WAL_BYTES: u64 = 2 * WAL_BYTES.unsigned_abs();

/// Writes commits, snapshots, and the end of old history.
#[derive(Debug)]
pub(super) struct Committer {
    database: Connection,
    watermark: WatermarkFile,
    state: State,
    producers: std::collections::BTreeMap<ProducerId, Submitted>,
    /// Those in the database, oldest first; all above the floor.
    snapshots: VecDeque<Snapshot>,
    options: Options,
    /// Rows below the floor may be left.
    leftovers: bool,
    /// They cannot be deleted.
    is_stuck: bool,
    /// The write-ahead log, and how many bytes of it are too many.
    wal: PathBuf,
    long_wal: u64,
}

impl Committer {
    /// Opens the log in the directory of `options` for writing, which takes a new term; makes one called `new_log` if
    /// there is none.
    pub(super) fn open(options: Options, new_log: LogId) -> Result<Self, OpenError> {
        let directory = options.directory.clone();
        forced::force_files(&directory)?;
        // Everything is looked at before anything is written.
        let found = match SqliteReader::open_first(&directory) {
            Ok(mut reader) => Some((reader.state(), reader.producers()?, reader.sound_snapshots()?)),
            Err(OpenError::Missing { .. }) => None,
            Err(error) if is_unfinished(&directory)? => {
                tracing::debug!(%error, "a log was begun and never finished");
                None
            }
            Err(error) => return Err(error),
        };
        let fail = |error: rusqlite::Error| RowError::sqlite(&error, Index::ZERO).into_open(directory.clone());
        let mut database = connect(&directory).map_err(|error| error.into_open(directory.clone()))?;
        forced::write_anew(&database, &directory)?;
        let (mut state, producers, snapshots) = match found {
            Some(found) => found,
            None => (begin(&mut database, new_log).map_err(fail)?, Vec::new(), Vec::new()),
        };
        take_term(&mut database, &mut state).map_err(|error| error.into_open(directory.clone()))?;
        if options.durability != Durability::Fsync {
            database.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
        }
        let watermark = WatermarkFile::open(&directory, &watermark_at(&state, options.durability))?;
        let producers = producers.into_iter().map(|row| (row.producer.clone(), row)).collect();
        let database_file = files::database(&directory);
        let wal = files::beside(&database_file.canonicalize().unwrap_or(database_file), "-wal");
        Ok(Self {
            database,
            watermark,
            state,
            producers,
            snapshots: snapshots.into(),
            options,
            leftovers: true,
            is_stuck: false,
            wal,
            long_wal: LONG_WAL_BYTES,
        })
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn producers(&self) -> Vec<Submitted> {
        self.producers.values().cloned().collect()
    }

    /// The newest state from which the rest of the log can be replayed.
    pub(super) fn newest_snapshot(&self) -> Snapshot {
        self.snapshots.back().copied().unwrap_or(self.state.floor)
    }

    /// Whether the write-ahead log is so long that it should begin anew, for which nobody may read.
    pub(super) fn is_wal_long(&self) -> bool {
        std::fs::metadata(&self.wal).is_ok_and(|file| file.len() > self.long_wal)
    }

    /// Lets the write-ahead log begin anew. If somebody else reads, it is tried again when it has become longer still.
    pub(super) fn truncate_wal(&mut self) {
        let checkpoint = || -> rusqlite::Result<i64> {
            // Not worth waiting for.
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
        let tail = self.state.tail.position();
        if commit.batch.first != tail.index.next() {
            // A leader that was replaced hears of that, whatever it appends.
            check_term(&self.database, self.state.term, commit.batch.first)?;
            return Err(NotNext { tail: tail.index, got: commit.batch.first }.into());
        }
        let mut state = State { tail: commit.tail, ..self.state };
        sum_up(&mut state, &self.producers, &commit.producers);
        let taken = self.is_snapshot_due(commit.tail.position()).then_some(commit.tail);
        let compacted = self.compactable(commit.tail.position().index);
        if let Some(floor) = compacted {
            state.floor = floor;
        }

        let row = StoredRow { batch: commit.batch.clone(), before: tail.digest, value: commit.tail.value() };
        let changes = Changes { state, row, producers: &commit.producers, snapshot: taken };
        let cleans = !self.is_stuck && (self.leftovers || compacted.is_some());
        let deleted = match self.write(&changes, cleans) {
            Err(WriteError::OldHistory(error)) => {
                tracing::error!(%error, "old history is damaged and stays on the disk until the leader starts again");
                self.is_stuck = true;
                self.write(&changes, false)
            }
            written => written,
        };
        let deleted = deleted.map_err(|error| match error {
            WriteError::OldHistory(error) => not_begun(&error, commit.batch.first),
            WriteError::Append(error) => error,
        })?;

        self.state = state;
        for submitted in &commit.producers.written {
            self.producers.insert(submitted.producer.clone(), submitted.clone());
        }
        for producer in &commit.producers.forgotten {
            self.producers.remove(producer);
        }
        self.snapshots.extend(taken);
        if compacted.is_some() {
            let floor = state.floor.position().index;
            self.snapshots.retain(|snapshot| snapshot.position().index > floor);
        }
        self.leftovers = usize::try_from(DELETE_STEP) == Ok(deleted);
        self.watermark.write(&watermark_at(&self.state, self.options.durability));
        Ok(state.floor.position().index)
    }

    /// Writes what belongs together, in one transaction. Returns how many rows below the floor were deleted.
    fn write(&mut self, changes: &Changes<'_>, cleans: bool) -> Result<usize, WriteError> {
        let near = changes.row.batch.first;
        let failed = |error: rusqlite::Error| WriteError::Append(not_begun(&error, near));
        let own = self.state.term;
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        check_term(&transaction, own, near).map_err(WriteError::Append)?;
        changes.write(&transaction).map_err(failed)?;
        let deleted = match if cleans { delete_old(&transaction, changes.state.floor.position().index) } else { Ok(0) }
        {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                return Err(WriteError::OldHistory(error));
            }
            deleted => deleted.map_err(failed)?,
        };
        transaction.commit().map_err(|error| WriteError::Append(not_committed(&error)))?;
        Ok(deleted)
    }

    /// Commits nothing, to find out whether something could be committed.
    pub(super) fn probe(&mut self) -> Result<(), AppendError> {
        let (own, near) = (self.state.term, self.state.tail.position().index.next());
        let failed = |error: rusqlite::Error| not_begun(&error, near);
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        check_term(&transaction, own, near)?;
        // What is written as it stands is not written at all.
        for _there_and_back in 0..2 {
            transaction.execute("UPDATE state SET term = -term WHERE id = 1", []).map_err(failed)?;
        }
        // Whatever becomes of it, the log is the same.
        transaction.commit().map_err(failed)
    }

    fn is_snapshot_due(&self, tail: Position) -> bool {
        tail.index.events_since(self.newest_snapshot().position().index) >= self.options.snapshot_every.get()
    }

    /// The newest snapshot with at least `retain` events after it, if it is above the floor.
    fn compactable(&self, tail: Index) -> Option<Snapshot> {
        let retain = self.options.retain.get();
        let old_enough = |snapshot: &Snapshot| tail.events_since(snapshot.position().index) >= retain;
        // They are in order, so the old ones come first.
        let newest = self.snapshots.partition_point(old_enough).checked_sub(1)?;
        self.snapshots.get(newest).copied()
    }
}

/// Takes the next term, unless somebody wrote to the log since `state` was read. Terms never go back, so it is forced to
/// the disk whatever the durability, and everything before it with it.
fn take_term(database: &mut Connection, state: &mut State) -> Result<(), RowError> {
    let failed = |error: rusqlite::Error| RowError::sqlite(&error, Index::ZERO);
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if State::read(&transaction)? != *state {
        let what = "another leader wrote to it meanwhile, in spite of the lock";
        return Err(RowError::unavailable(Cause::AnotherLeader, what));
    }
    state.term = Term(state.term.0 + 1);
    state.insert(&transaction).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn watermark_at(state: &State, durability: Durability) -> Watermark {
    Watermark { log: state.log, position: state.tail.position(), durability }
}

/// Updates the sum over what the database remembers of producers.
fn sum_up(state: &mut State, present: &std::collections::BTreeMap<ProducerId, Submitted>, changes: &ProducerChanges) {
    let written = changes.written.iter().map(|row| &row.producer);
    for row in written.chain(&changes.forgotten).filter_map(|producer| present.get(producer)) {
        state.producers.remove(row);
    }
    for row in &changes.written {
        state.producers.add(row);
    }
}

/// Another leader may have opened the log meanwhile, on a machine where the lock does not reach.
fn check_term(database: &Connection, own: Term, near: Index) -> Result<(), AppendError> {
    let term = database
        .prepare_cached("SELECT term FROM state WHERE id = 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
        .map_err(|error| not_begun(&error, near))?;
    let by = Term(term.cast_unsigned());
    if by == own { Ok(()) } else { Err(Fenced { own, by }.into()) }
}

/// What one commit writes.
struct Changes<'a> {
    state: State,
    row: StoredRow,
    producers: &'a ProducerChanges,
    snapshot: Option<Snapshot>,
}

impl Changes<'_> {
    fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.row.insert(transaction)?;
        self.state.insert(transaction)?;
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

/// Deletes some of what lies at or below the floor. Returns how many batches.
fn delete_old(transaction: &Transaction<'_>, floor: Index) -> rusqlite::Result<usize> {
    let floor = floor.0.cast_signed();
    transaction.prepare_cached("DELETE FROM snapshots WHERE position <= ?1")?.execute([floor])?;
    transaction
        .prepare_cached(
            "DELETE FROM batches WHERE last IN (SELECT last FROM batches WHERE last <= ?1 ORDER BY last LIMIT ?2)",
        )?
        .execute(params![floor, DELETE_STEP])
}

/// Nothing of the commit is in the log: the transaction had not been told to commit. `near` is where it would be.
fn not_begun(error: &rusqlite::Error, near: Index) -> AppendError {
    match RowError::sqlite(error, near) {
        RowError::Corrupt(damage) => damage.into(),
        RowError::Unavailable(problem) => AppendError::Unavailable(problem.what),
    }
}

/// A full disk is found before the last piece of a commit is written, so the commit is void. After any other failure a
/// complete commit may lie on the disk, though SQLite reported none.
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

fn connect(directory: &Path) -> Result<Connection, RowError> {
    let database =
        Connection::open(files::database(directory)).map_err(|error| RowError::sqlite(&error, Index::ZERO))?;
    prepare(&database)?;
    Ok(database)
}

fn prepare(database: &Connection) -> Result<(), RowError> {
    let prepare = || -> rusqlite::Result<String> {
        super::configure(database)?;
        database.pragma_update(None, "page_size", 4096)?;
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
fn begin(database: &mut Connection, log: LogId) -> rusqlite::Result<State> {
    let start = Snapshot::take(log, Position::origin(log), 0);
    let state = State { log, term: Term(0), tail: start, floor: start, producers: rows::ProducerSum::default() };
    let transaction = database.transaction()?;
    schema::create(&transaction)?;
    state.insert(&transaction)?;
    transaction.commit()?;
    Ok(state)
}

/// Whether there is a database without a table, and no watermark: a leader was stopped while it made them.
fn is_unfinished(directory: &Path) -> Result<bool, OpenError> {
    if Watermark::paths(directory).iter().any(|path| path.exists()) {
        return Ok(false);
    }
    let path = files::database(directory);
    let length = std::fs::metadata(&path).map_err(|reason| OpenError::Files { path: path.clone(), reason })?.len();
    if length == 0 {
        return Ok(true);
    }
    // One that was stopped while SQLite wrote the file's first page left a journal, which undoes that page; only a
    // connection that may write can. A log that was ever finished has no such journal.
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
        };
        let mut leader = Committer::open(options, LogId(1)).unwrap();
        let mut seen = leader.state();
        let end = Position { index: Index(1), digest: Digest(10) };
        let batch = StoredBatch { first: Index(1), end, term: Term(1), frame: Bytes::from_static(b"frame") };
        let tail = Snapshot::take(LogId(1), end, 5);
        leader.append(&Commit { batch, tail, producers: ProducerChanges::default() }).unwrap();

        let mut database = connect(directory.path()).ok().unwrap();
        assert!(matches!(take_term(&mut database, &mut seen), Err(RowError::Unavailable(_))));
        let mut now = State::read(&database).ok().unwrap();
        assert_eq!((now.tail, now.term), (tail, Term(1)), "nothing was changed");
        assert!(take_term(&mut database, &mut now).is_ok());
        assert_eq!(State::read(&database).ok().unwrap().term, Term(2));
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
