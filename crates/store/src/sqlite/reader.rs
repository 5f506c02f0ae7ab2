//! Reading a log in a directory, beside its leader or without one.

use std::path::{Path, PathBuf};

use engine::{Digest, Durability, Index, LogId, Snapshot, Submitted, Term};
use rusqlite::{Connection, OpenFlags, Rows, Transaction};

use super::error::{OpenError, RowError};
use super::extent;
use super::files;
use super::rows::{self, StoredRow, Summary};
use super::watermark::Watermark;
use super::{schema, unwritable};
use crate::{Compacted, Corrupt, ReadError};

/// A log in a directory, opened for reading. It changes nothing in the log, and a leader may write to the log meanwhile.
/// (SQLite may write beside it: the first connection after a crash makes a new index of the write-ahead log.)
///
/// ```no_run
/// use std::path::Path;
///
/// use store::sqlite::SqliteReader;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = SqliteReader::open(Path::new("calculator-data"))?;
/// let first = reader.floor().position().index.next();
/// for row in reader.rows(first, 64 << 10)? {
///     println!("events {} to {} lead to {}", row.batch.first, row.batch.end.index, row.value);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SqliteReader {
    pub(super) database: Connection,
    directory: PathBuf,
    opened: Summary,
}

impl SqliteReader {
    /// Opens the log in `directory`, and checks that it holds everything that was acknowledged.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_with(directory, !files::Lock::is_ours(directory)?)
    }

    /// The same for a process that has no connection to the database yet. Only such a process may look at the file's head:
    /// closing any handle on a file gives up every lock that the process has on it, also those of SQLite's connections.
    /// Without them, another program takes itself for the last one and removes the write-ahead log that a leader writes to.
    pub(super) fn open_first(directory: &Path) -> Result<Self, OpenError> {
        Self::open_with(directory, true)
    }

    fn open_with(directory: &Path, looks_at_head: bool) -> Result<Self, OpenError> {
        // The watermark comes first: a leader that writes meanwhile only moves the log's end further away from it.
        let watermarks = Watermark::read(directory)?;
        let path = files::database(directory);
        if !path.try_exists().map_err(|reason| OpenError::Files { path: path.clone(), reason })? {
            let acknowledged = watermarks.into_iter().find(|(_, watermark)| watermark.position.index > Index::ZERO);
            return Err(match acknowledged {
                Some((path, watermark)) => lost(directory, Index::ZERO, path, &watermark),
                None => OpenError::Missing { directory: directory.to_owned() },
            });
        }
        if looks_at_head {
            schema::check_header(&path)?;
        }
        let damaged = |error: RowError| error.into_open(directory.to_owned());
        let failed = |error: rusqlite::Error| RowError::sqlite(&error, Index::ZERO).into_open(directory.to_owned());
        let mut database = connect_first(&path).map_err(failed)?;
        let transaction = database.transaction().map_err(failed)?;
        schema::check(&transaction, &path)?;
        let opened = Summary::read(&transaction).map_err(damaged)?;
        for (path, watermark) in watermarks {
            compare(directory, path, &watermark, &opened)?;
        }
        check_tail(&transaction, &opened).map_err(damaged)?;
        drop(transaction);
        Ok(Self { database, directory: directory.to_owned(), opened })
    }

    /// Another connection to a log that is open already.
    pub(super) fn reopen(directory: &Path, opened: Summary) -> rusqlite::Result<Self> {
        Ok(Self { database: connect(&files::database(directory))?, directory: directory.to_owned(), opened })
    }

    /// The log's identity.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.opened.log
    }

    /// The last leader that opened the log for writing, as of opening.
    #[must_use]
    pub fn term(&self) -> Term {
        self.opened.term
    }

    /// The end of the log, as of opening.
    #[must_use]
    pub fn tail(&self) -> Snapshot {
        self.opened.tail
    }

    /// Where history starts, and the value there, as of opening.
    #[must_use]
    pub fn floor(&self) -> Snapshot {
        self.opened.floor
    }

    pub(super) fn summary(&self) -> Summary {
        self.opened
    }

    /// The last leader that opened the log for writing, as of now.
    pub(super) fn term_now(&self) -> Result<Term, RowError> {
        Summary::read(&self.database).map(|summary| summary.term)
    }

    /// All snapshots above the floor, oldest first.
    ///
    /// # Errors
    ///
    /// [`OpenError::Damaged`] if one was altered.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, OpenError> {
        let damaged = |damage| self.open_error(RowError::Corrupt(damage));
        let found = rows::snapshots(&self.database, self.opened.log).map_err(|error| self.open_error(error))?;
        let mut snapshots = found.into_iter().collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        // A leader may add and delete some meanwhile.
        snapshots.retain(|snapshot| {
            let index = snapshot.position().index;
            self.opened.floor.position().index < index && index <= self.opened.tail.position().index
        });
        Ok(snapshots)
    }

    /// The [`snapshots`](Self::snapshots) that are sound. A leader can start from any of them.
    pub(super) fn sound_snapshots(&self) -> Result<Vec<Snapshot>, OpenError> {
        let (floor, tail) = (self.opened.floor.position().index, self.opened.tail.position().index);
        let found = rows::snapshots(&self.database, self.opened.log).map_err(|error| self.open_error(error))?;
        let sound = found.into_iter().filter_map(|row| match row {
            Ok(snapshot) => Some(snapshot),
            Err(damage) => {
                tracing::error!(%damage, "a snapshot is not used");
                None
            }
        });
        Ok(sound.filter(|snapshot| floor < snapshot.position().index && snapshot.position().index <= tail).collect())
    }

    /// The last submission of each producer, ordered by producer.
    ///
    /// # Errors
    ///
    /// [`OpenError::Damaged`] if a row was altered or is missing.
    pub fn producers(&mut self) -> Result<Vec<Submitted>, OpenError> {
        let read = self.transaction(Index::ZERO).and_then(|transaction| {
            let summary = Summary::read(&transaction)?;
            rows::producers(&transaction, summary.producers)
        });
        read.map_err(|error| self.open_error(error))
    }

    /// Has SQLite examine every page of the database, and returns what it finds wrong. Takes as long as reading the whole
    /// file.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the pages cannot be examined.
    pub fn examine_pages(&self) -> Result<Vec<String>, OpenError> {
        let examine = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.database.prepare("PRAGMA integrity_check(20)")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        match examine() {
            Ok(found) => {
                Ok(found.iter().flat_map(|text| text.lines()).filter(|line| *line != "ok").map(str::to_owned).collect())
            }
            // Some kinds of damage end the examination.
            Err(error) => match RowError::sqlite(&error, Index::ZERO) {
                RowError::Corrupt(damage) => Ok(vec![damage.what]),
                error => Err(self.open_error(error)),
            },
        }
    }

    /// Consecutive rows from the one that holds the event at `from`: as many as fit in `max_bytes` of frames, but at least
    /// one. Empty if `from` lies beyond the tail. Each row is checked by its checksum and against the row before it. Where
    /// a damaged row follows, returns the rows before it.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the event at `from` was compacted away, is damaged, or cannot be read at present.
    pub fn rows(&mut self, from: Index, max_bytes: usize) -> Result<Vec<StoredRow>, ReadError> {
        let read = self.transaction(from).and_then(|transaction| {
            let summary = Summary::read(&transaction)?;
            let floor = summary.floor.position().index;
            if from <= floor {
                return Ok(Err(Compacted { asked: from, floor }));
            }
            if from > summary.tail.position().index {
                return Ok(Ok(Vec::new()));
            }
            rows_from(&transaction, from, max_bytes).map(Ok)
        });
        match read {
            Ok(rows) => Ok(rows?),
            Err(error) => Err(error.into()),
        }
    }

    /// The digest after the event at `index`; `None` if no batch ends there, or if it was compacted away.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the place is damaged, or cannot be read at present.
    pub fn digest_at(&mut self, index: Index) -> Result<Option<Digest>, ReadError> {
        let transaction = self.transaction(index)?;
        let summary = Summary::read(&transaction)?;
        let (floor, tail) = (summary.floor.position(), summary.tail.position());
        if index == floor.index {
            return Ok(Some(floor.digest));
        }
        if index < floor.index || index > tail.index {
            return Ok(None);
        }
        let damage = match rows_from(&transaction, index, 1) {
            Ok(row) => {
                let end = row.first().map(|row| row.batch.end);
                return Ok(end.filter(|end| end.index == index).map(|end| end.digest));
            }
            Err(error) => error,
        };
        // A batch that cannot be read leaves its digest in the one after it.
        match extent::sound_row(&transaction, index.next()) {
            Some(next) if next.batch.first == index.next() => Ok(Some(next.before)),
            _ => Err(damage.into()),
        }
    }

    /// The newest state at or before `index` that is stored: the end of a batch, or the floor. An index beyond the tail
    /// means the tail.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if `index` lies below the floor, the place is damaged, or it cannot be read at present.
    pub fn snapshot_at(&mut self, index: Index) -> Result<Snapshot, ReadError> {
        let log = self.opened.log;
        let transaction = self.transaction(index)?;
        let summary = Summary::read(&transaction)?;
        let floor = summary.floor.position().index;
        if index < floor {
            return Err(Compacted { asked: index, floor }.into());
        }
        if index >= summary.tail.position().index {
            return Ok(summary.tail);
        }
        let last = rows::last_end(&transaction, index)?;
        if last <= floor {
            return Ok(summary.floor);
        }
        let row = rows_from(&transaction, last, 1)?;
        Ok(row.first().map_or(summary.floor, |row| Snapshot::take(log, row.batch.end, row.value)))
    }

    /// The first and the last event of the damage that was found at `at`.
    pub(super) fn extent(&mut self, at: Index) -> Result<(Index, Index), ReadError> {
        let transaction = self.transaction(at)?;
        let summary = Summary::read(&transaction)?;
        Ok(extent::of(&transaction, summary.floor.position().index, summary.tail.position().index, at))
    }

    /// A consistent view of the database, which the writer does not change.
    fn transaction(&mut self, near: Index) -> Result<Transaction<'_>, RowError> {
        self.database.transaction().map_err(|error| RowError::sqlite(&error, near))
    }

    fn open_error(&self, error: RowError) -> OpenError {
        error.into_open(self.directory.clone())
    }
}

impl From<RowError> for ReadError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Corrupt(damage) => Self::Corrupt(damage),
            RowError::Unavailable(problem) => Self::Unavailable(problem.what),
        }
    }
}

fn connect_first(path: &Path) -> rusqlite::Result<Connection> {
    let Some(database) = unwritable::connect(path)? else { return connect(path) };
    super::configure(&database)?;
    Ok(database)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let database =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    super::configure(&database)?;
    Ok(database)
}

/// The rows from the one that holds `from`, up to the first that is damaged. It is an error if that one is the very first,
/// or if there is none.
fn rows_from(database: &Connection, from: Index, max_bytes: usize) -> Result<Vec<StoredRow>, RowError> {
    let failed = |error: rusqlite::Error| RowError::sqlite(&error, from);
    let text = format!("SELECT {} FROM batches WHERE last >= ?1 ORDER BY last", StoredRow::COLUMNS);
    let mut statement = database.prepare_cached(&text).map_err(failed)?;
    let mut found = statement.query([from.0.cast_signed()]).map_err(failed)?;
    let mut rows: Vec<StoredRow> = Vec::new();
    let mut bytes = 0;
    loop {
        let row = match next_row(&mut found, rows.last(), from) {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) if rows.is_empty() => return Err(error),
            // The next read begins with it.
            Err(_) => break,
        };
        bytes += row.batch.frame.len();
        if !rows.is_empty() && bytes > max_bytes {
            break;
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(RowError::corrupt(from, "the batch is missing"));
    }
    Ok(rows)
}

fn next_row(found: &mut Rows<'_>, previous: Option<&StoredRow>, from: Index) -> Result<Option<StoredRow>, RowError> {
    let near = previous.map_or(from, |row| row.batch.end.index.next());
    let Some(row) = found.next().map_err(|error| RowError::sqlite(&error, near))? else { return Ok(None) };
    let row = StoredRow::from_row(row, near)?;
    let follows = match previous {
        Some(previous) => row.batch.first == near && row.before == previous.batch.end.digest,
        None => row.batch.first <= from && from <= row.batch.end.index,
    };
    if follows {
        Ok(Some(row))
    } else {
        Err(RowError::corrupt(near, format!("the next stored batch starts at {}", row.batch.first)))
    }
}

/// Checks that the last row is the one that `summary` names.
fn check_tail(database: &Connection, summary: &Summary) -> Result<(), RowError> {
    let (tail, floor) = (summary.tail, summary.floor.position().index);
    let index = tail.position().index;
    let newest: i64 = database
        .query_row("SELECT coalesce(max(last), 0) FROM batches", [], |row| row.get(0))
        .map_err(|error| RowError::sqlite(&error, index))?;
    let newest = Index(newest.cast_unsigned());
    if index > floor && newest < index {
        return Err(RowError::corrupt(
            newest.next(),
            format!("the batches up to the log's end at {index} are missing"),
        ));
    }
    if newest > index {
        return Err(RowError::corrupt(index.next(), "batches lie beyond the log's end"));
    }
    if index > floor {
        let rows = rows_from(database, index, 1)?;
        let last = rows.first().filter(|row| row.batch.end == tail.position() && row.value == tail.value());
        last.ok_or_else(|| RowError::corrupt(index, "the last batch is not the end of the log"))?;
    }
    Ok(())
}

fn compare(directory: &Path, path: PathBuf, watermark: &Watermark, summary: &Summary) -> Result<(), OpenError> {
    if watermark.log != summary.log {
        return Err(OpenError::Mixed { watermark: path, named: watermark.log, found: summary.log });
    }
    let tail = summary.tail.position();
    if watermark.position.index == tail.index && watermark.position.digest != tail.digest {
        let what = "the end of the log is not the one that was acknowledged".to_owned();
        return Err(OpenError::Damaged {
            directory: directory.to_owned(),
            damage: Corrupt { index: tail.index, what },
        });
    }
    if watermark.position.index > tail.index {
        if watermark.durability == Durability::Fsync {
            return Err(lost(directory, tail.index, path, watermark));
        }
        tracing::warn!(
            tail = %tail.index,
            acknowledged = %watermark.position.index,
            "the newest events are gone; they were not forced to the disk, so a power cut could take them"
        );
    }
    Ok(())
}

fn lost(directory: &Path, tail: Index, path: PathBuf, watermark: &Watermark) -> OpenError {
    let acknowledged = watermark.position.index;
    OpenError::Lost { directory: directory.to_owned(), tail, acknowledged, watermark: path }
}
