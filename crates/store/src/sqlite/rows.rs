//! The rows of the database and their checksums.
//!
//! SQLite does not notice a changed byte in a value. So every row carries an XXH3-64 checksum over all its values. The one
//! `state` row names the end of the log, and has a checksum over rows whose absence nothing else would show.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{
    Digest, Event, Index, LogId, Operation, Position, ProducerChanges, ProducerId, Sequence, Snapshot, Submitted, Term,
};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Row, params};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::error::RowError;
use crate::{Corrupt, StoredBatch};

/// What a row of `batches` takes beside its frame, roughly: seven numbers, and how SQLite finds them.
const ROW_BYTES: u64 = 64;

/// The one row of the table `state`. It is rewritten with every commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) log: LogId,
    /// The last leader that opened the log for writing; 0 before the first.
    pub(super) term: Term,
    pub(super) tail: Snapshot,
    /// Where history starts, and the value there.
    pub(super) floor: Snapshot,
    pub(super) producers: ProducersChecksum,
}

/// A checksum over the rows of `producers`, which shows if one is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProducersChecksum {
    pub(super) count: u64,
    /// The checksums of the rows, combined by exclusive or.
    pub(super) checksums: u64,
}

impl ProducersChecksum {
    /// Follows `changes` to the rows, which before them are those of `present`.
    pub(super) fn update(&mut self, present: &BTreeMap<ProducerId, Submitted>, changes: &ProducerChanges) {
        let written = changes.written.iter().map(|row| &row.producer);
        for row in written.chain(&changes.forgotten).filter_map(|producer| present.get(producer)) {
            self.remove(row);
        }
        for row in &changes.written {
            self.add(row);
        }
    }

    fn add(&mut self, row: &Submitted) {
        self.count += 1;
        self.checksums ^= producer_checksum(row);
    }

    fn remove(&mut self, row: &Submitted) {
        self.count -= 1;
        self.checksums ^= producer_checksum(row);
    }
}

/// A batch as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The batch.
    pub batch: StoredBatch,
    /// The digest before its first event, which ties it to the batch before.
    pub before: Digest,
    /// The value after its last event.
    pub value: i64,
}

/// How much some batches take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) batches: u64,
    /// Bytes of their frames.
    pub(super) frames: u64,
}

impl Stored {
    pub(super) fn of(batch: &StoredBatch) -> Self {
        Self { batches: 1, frames: batch.frame.len() as u64 }
    }

    /// What the batches after `index` take.
    pub(super) fn after(database: &Connection, index: Index) -> Result<Self, RowError> {
        let text = "SELECT count(*), coalesce(sum(length(frame)), 0) FROM batches WHERE last > ?1";
        let read = |row: &Row<'_>| Ok(Self { batches: unsigned(row, 0)?, frames: unsigned(row, 1)? });
        database.query_row(text, [index.0.cast_signed()], read).map_err(|error| RowError::sqlite(&error, index))
    }

    pub(super) fn plus(self, more: Self) -> Self {
        Self { batches: self.batches + more.batches, frames: self.frames + more.frames }
    }

    /// Bytes on the disk, roughly.
    pub(super) fn bytes(self) -> u64 {
        self.frames + self.batches * ROW_BYTES
    }
}

impl Summary {
    pub(super) fn insert(&self, database: &Connection) -> rusqlite::Result<()> {
        let mut statement = database.prepare_cached(
            "INSERT INTO state VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET term = ?2, tail_index = ?3, tail_digest = ?4, tail_value = ?5,
             floor_index = ?6, floor_digest = ?7, floor_value = ?8, producers = ?9, producer_checksums = ?10,
             checksum = ?11",
        )?;
        let (tail, floor) = (self.tail.position(), self.floor.position());
        statement.execute(params![
            self.log.0.to_be_bytes(),
            self.term.0.cast_signed(),
            tail.index.0.cast_signed(),
            tail.digest.0.cast_signed(),
            self.tail.value(),
            floor.index.0.cast_signed(),
            floor.digest.0.cast_signed(),
            self.floor.value(),
            self.producers.count.cast_signed(),
            self.producers.checksums.cast_signed(),
            self.checksum().cast_signed(),
        ])?;
        Ok(())
    }

    /// Reads the row. If it is damaged, nothing in the log can be trusted.
    pub(super) fn read(database: &Connection) -> Result<Self, RowError> {
        let at = |error: &rusqlite::Error| RowError::sqlite(error, Index::ZERO);
        let mut statement = database
            .prepare_cached(
                "SELECT log, term, tail_index, tail_digest, tail_value, floor_index, floor_digest, floor_value, producers,
                 producer_checksums, checksum FROM state WHERE id = 1",
            )
            .map_err(|error| at(&error))?;
        let row = statement
            .query_row([], |row| {
                let log = LogId(u128::from_be_bytes(row.get(0)?));
                let snapshot = |first| -> rusqlite::Result<Snapshot> {
                    let position =
                        Position { index: Index(unsigned(row, first)?), digest: Digest(unsigned(row, first + 1)?) };
                    Ok(Snapshot::take(log, position, row.get(first + 2)?))
                };
                let summary = Self {
                    log,
                    term: Term(unsigned(row, 1)?),
                    tail: snapshot(2)?,
                    floor: snapshot(5)?,
                    producers: ProducersChecksum { count: unsigned(row, 8)?, checksums: unsigned(row, 9)? },
                };
                Ok((summary, unsigned(row, 10)?))
            })
            .optional()
            .map_err(|error| at(&error))?;
        match row {
            Some((summary, checksum)) if checksum == summary.checksum() => Ok(summary),
            Some(_) => Err(RowError::corrupt(Index::ZERO, "the row with the end of the log was altered")),
            None => Err(RowError::corrupt(Index::ZERO, "the row with the end of the log is missing")),
        }
    }

    fn checksum(&self) -> u64 {
        let mut bytes = Vec::with_capacity(88);
        bytes.extend(self.log.0.to_le_bytes());
        bytes.extend(self.term.0.to_le_bytes());
        bytes.extend(self.tail.checksum().to_le_bytes());
        bytes.extend(self.tail.position().digest.0.to_le_bytes());
        bytes.extend(self.floor.checksum().to_le_bytes());
        bytes.extend(self.floor.position().digest.0.to_le_bytes());
        bytes.extend(self.producers.count.to_le_bytes());
        bytes.extend(self.producers.checksums.to_le_bytes());
        xxh3_64_with_seed(&bytes, 1)
    }
}

impl StoredRow {
    /// The columns that [`from_row`](Self::from_row) takes, in its order.
    pub(super) const COLUMNS: &str = "first, last, term, before, digest, value, checksum, frame";

    pub(super) fn insert(&self, database: &Connection) -> rusqlite::Result<()> {
        let mut statement = database.prepare_cached(
            "INSERT INTO batches (first, last, term, before, digest, value, checksum, frame)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let StoredBatch { first, end, term, frame } = &self.batch;
        statement.execute(params![
            first.0.cast_signed(),
            end.index.0.cast_signed(),
            term.0.cast_signed(),
            self.before.0.cast_signed(),
            end.digest.0.cast_signed(),
            self.value,
            self.checksum().cast_signed(),
            frame.as_ref(),
        ])?;
        Ok(())
    }

    /// Parses a row and checks its checksum. `near` is where it should be.
    pub(super) fn from_row(row: &Row<'_>, near: Index) -> Result<Self, RowError> {
        let parse = || -> rusqlite::Result<(Self, u64)> {
            let end = Position { index: Index(unsigned(row, 1)?), digest: Digest(unsigned(row, 4)?) };
            let frame = Bytes::copy_from_slice(row.get_ref(7)?.as_blob()?);
            let batch = StoredBatch { first: Index(unsigned(row, 0)?), end, term: Term(unsigned(row, 2)?), frame };
            let stored = Self { batch, before: Digest(unsigned(row, 3)?), value: row.get(5)? };
            Ok((stored, unsigned(row, 6)?))
        };
        let (stored, checksum) = parse().map_err(|error| RowError::sqlite(&error, near))?;
        if stored.checksum() == checksum {
            Ok(stored)
        } else {
            Err(RowError::corrupt(near, "a stored batch does not have its checksum"))
        }
    }

    fn checksum(&self) -> u64 {
        let StoredBatch { first, end, term, frame } = &self.batch;
        let mut header = [0; 56];
        let numbers =
            [first.0, end.index.0, term.0, self.before.0, end.digest.0, self.value.cast_unsigned(), frame.len() as u64];
        for (bytes, number) in header.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        xxh3_64_with_seed(frame, xxh3_64_with_seed(&header, 2))
    }
}

/// Where the last batch ends that ends at or before `index`; 0 if there is none.
pub(super) fn last_end(database: &Connection, index: Index) -> Result<Index, RowError> {
    let find = || -> rusqlite::Result<i64> {
        let mut statement = database.prepare_cached("SELECT coalesce(max(last), 0) FROM batches WHERE last <= ?1")?;
        statement.query_row([index.0.cast_signed()], |row| row.get(0))
    };
    find().map(|last| Index(last.cast_unsigned())).map_err(|error| RowError::sqlite(&error, index))
}

pub(super) fn insert_snapshot(database: &Connection, snapshot: &Snapshot) -> rusqlite::Result<()> {
    let position = snapshot.position();
    let mut statement = database.prepare_cached("INSERT OR REPLACE INTO snapshots VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute(params![
        position.index.0.cast_signed(),
        position.digest.0.cast_signed(),
        snapshot.value(),
        snapshot.checksum().cast_signed(),
    ])?;
    Ok(())
}

/// All snapshots, oldest first. An altered one is an error in its place.
pub(super) fn snapshots(database: &Connection, log: LogId) -> Result<Vec<Result<Snapshot, Corrupt>>, RowError> {
    let at = |error: &rusqlite::Error| RowError::sqlite(error, Index::ZERO);
    let mut statement = database
        .prepare("SELECT position, digest, value, checksum FROM snapshots ORDER BY position")
        .map_err(|error| at(&error))?;
    let mut rows = statement.query([]).map_err(|error| at(&error))?;
    let mut snapshots = Vec::new();
    while let Some(row) = rows.next().map_err(|error| at(&error))? {
        let parse = || -> rusqlite::Result<_> {
            let position = Position { index: Index(unsigned(row, 0)?), digest: Digest(unsigned(row, 1)?) };
            Ok((position, row.get(2)?, unsigned(row, 3)?))
        };
        let (position, value, checksum) = parse().map_err(|error| at(&error))?;
        let what = "a stored snapshot does not have its checksum";
        let snapshot = Snapshot::verify(log, position, value, checksum);
        snapshots.push(snapshot.map_err(|_| Corrupt { index: position.index, what: what.to_owned() }));
    }
    Ok(snapshots)
}

pub(super) fn put_producer(database: &Connection, row: &Submitted) -> rusqlite::Result<()> {
    let mut statement =
        database.prepare_cached("INSERT OR REPLACE INTO producers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    statement.execute(params![
        row.producer.as_str(),
        row.sequence.0.cast_signed(),
        row.event.index.0.cast_signed(),
        row.event.operation.code(),
        row.event.operation.argument(),
        row.event.value,
        producer_checksum(row).cast_signed(),
    ])?;
    Ok(())
}

pub(super) fn delete_producer(database: &Connection, producer: &ProducerId) -> rusqlite::Result<()> {
    database.prepare_cached("DELETE FROM producers WHERE id = ?1")?.execute([producer.as_str()])?;
    Ok(())
}

/// All producers, ordered by id. They must have the checksum `expected`.
pub(super) fn producers(database: &Connection, expected: ProducersChecksum) -> Result<Vec<Submitted>, RowError> {
    let at = |error: &rusqlite::Error| RowError::sqlite(error, Index::ZERO);
    let damaged = || RowError::corrupt(Index::ZERO, "the table of producers was altered");
    let mut statement = database
        .prepare("SELECT id, sequence, position, code, argument, value, checksum FROM producers ORDER BY id")
        .map_err(|error| at(&error))?;
    let mut rows = statement.query([]).map_err(|error| at(&error))?;
    let mut producers = Vec::new();
    let mut found = ProducersChecksum::default();
    while let Some(row) = rows.next().map_err(|error| at(&error))? {
        let parse = || -> rusqlite::Result<_> {
            let id: String = row.get(0)?;
            let operation = Operation::from_code(row.get(3)?, row.get(4)?);
            Ok((id, unsigned(row, 1)?, unsigned(row, 2)?, operation, row.get(5)?, unsigned(row, 6)?))
        };
        let (id, sequence, index, operation, value, checksum) = parse().map_err(|error| at(&error))?;
        let (Ok(producer), Some(operation)) = (ProducerId::new(&id), operation) else { return Err(damaged()) };
        let event = Event { index: Index(index), operation, value };
        let submitted = Submitted { producer, sequence: Sequence(sequence), event };
        if producer_checksum(&submitted) != checksum {
            return Err(damaged());
        }
        found.add(&submitted);
        producers.push(submitted);
    }
    if found == expected { Ok(producers) } else { Err(damaged()) }
}

fn producer_checksum(row: &Submitted) -> u64 {
    let mut bytes = Vec::with_capacity(97);
    bytes.extend(row.sequence.0.to_le_bytes());
    bytes.extend(row.event.index.0.to_le_bytes());
    bytes.push(row.event.operation.code());
    bytes.extend(row.event.operation.argument().unwrap_or(0).to_le_bytes());
    bytes.extend(row.event.value.to_le_bytes());
    bytes.extend(row.producer.as_str().as_bytes());
    xxh3_64_with_seed(&bytes, 3)
}

/// An unsigned number, whose bits are stored as SQLite's signed integer.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let signed: i64 = i64::column_result(row.get_ref(column)?)?;
    Ok(signed.cast_unsigned())
}
