//! Replaying a stored log: to verify it, and to print it.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{Batch, Digest, Frame, Index, Refusal, Snapshot, Term};
use serde::Serialize;
use store::sqlite::{SqliteReader, StoredRow};
use store::{ReadError, Store};
use thiserror::Error;
use wire::frame::{FrameError, decode_next};

/// How many bytes of history are read at a time.
const READ_BYTES: usize = 1 << 20;

/// What [`look_through`] reads at a time, and how long it leaves the disk to others then: a million small events take some
/// two seconds.
const LOOK_BYTES: usize = 64 << 10;
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// What is stored does not replay to what was committed.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The floor rose past the place that is read next.
    #[error("a leader compacted the events up to index {0} away meanwhile; run this again")]
    CompactedMeanwhile(Index),
    /// It cannot be read, or a row was altered.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes of a batch are not a batch.
    #[error("at index {at}, what is stored is not a batch: {error}")]
    Frame {
        /// Where the batch should start.
        at: Index,
        /// What is wrong with the bytes.
        error: FrameError,
    },
    /// The bytes are another frame, or more than one.
    #[error("at index {at}, what is stored is not one batch")]
    NotABatch {
        /// Where the batch should start.
        at: Index,
    },
    /// An operation of the log cannot be done to the value that it meets.
    #[error("in the batch at index {at}: {refusal}")]
    Refused {
        /// Where the batch starts.
        at: Index,
        /// Why not.
        refusal: Refusal,
    },
    /// A batch leads elsewhere than it says.
    #[error("the batch at index {at} does not lead to the digest and value that are stored with it")]
    Elsewhere {
        /// Where the batch starts.
        at: Index,
    },
    /// Terms go back along the log.
    #[error("the batch at index {at} has term {got}, after term {before}")]
    TermWentBack {
        /// Where the batch starts.
        at: Index,
        /// The term before it.
        before: Term,
        /// Its own.
        got: Term,
    },
    /// A snapshot is not what the events lead to.
    #[error("the snapshot at index {at} is not what the events up to there lead to")]
    Snapshot {
        /// Where it is.
        at: Index,
    },
}

/// A batch that was replayed.
struct Replayed {
    batch: Batch,
    value_before: i64,
    digest_before: Digest,
}

/// Replays a log from a snapshot on, and checks each batch against what is stored beside it.
struct Replay {
    reader: SqliteReader,
    at: Snapshot,
    term: Term,
    ready: std::vec::IntoIter<StoredRow>,
}

impl Replay {
    fn new(reader: SqliteReader, start: Snapshot) -> Self {
        Self { reader, at: start, term: Term(0), ready: Vec::new().into_iter() }
    }

    /// The next batch; `None` at the end of the log as of opening it.
    fn next(&mut self) -> Result<Option<Replayed>, AuditError> {
        let at = self.at.position().index.next();
        if at > self.reader.tail().position().index {
            return Ok(None);
        }
        let row = match self.ready.next() {
            Some(row) => row,
            None => {
                let rows = self.reader.rows(at, READ_BYTES).map_err(|error| match error {
                    ReadError::Compacted(compacted) => AuditError::CompactedMeanwhile(compacted.floor),
                    error => error.into(),
                });
                self.ready = rows?.into_iter();
                let missing = || ReadError::Unavailable(format!("the event at index {at} is not there"));
                self.ready.next().ok_or_else(missing)?
            }
        };
        self.check(at, &row).map(Some)
    }

    fn check(&mut self, at: Index, row: &StoredRow) -> Result<Replayed, AuditError> {
        let mut frame = row.batch.frame.clone();
        let decoded = decode_next(&mut frame).map_err(|error| AuditError::Frame { at, error })?;
        let Some(Frame::Batch(batch)) = decoded.filter(|_| frame.is_empty()) else {
            return Err(AuditError::NotABatch { at });
        };
        if batch.term() < self.term {
            return Err(AuditError::TermWentBack { at, before: self.term, got: batch.term() });
        }
        let (value_before, digest_before) = (self.at.value(), self.at.position().digest);
        let (value, digest) =
            batch.replay(value_before, digest_before).map_err(|refusal| AuditError::Refused { at, refusal })?;
        let stored = (row.batch.first, row.batch.end, row.batch.term, row.value);
        if stored != (at, batch.end(), batch.term(), value) || batch.first() != at || digest != batch.digest() {
            return Err(AuditError::Elsewhere { at });
        }
        self.term = batch.term();
        self.at = Snapshot::take(self.at.log(), batch.end(), value);
        Ok(Replayed { batch, value_before, digest_before })
    }
}

/// Replays the log from `start` to its end. Returns how many events that were.
///
/// # Errors
///
/// [`AuditError`] says where the log stops to be what was committed.
pub fn verify_from(reader: SqliteReader, start: Snapshot) -> Result<u64, AuditError> {
    let tail = reader.tail();
    let mut replay = Replay::new(reader, start);
    while replay.next()?.is_some() {}
    if replay.at == tail {
        Ok(tail.position().index.events_since(start.position().index))
    } else {
        Err(AuditError::Elsewhere { at: tail.position().index })
    }
}

/// Checks everything about the log in `directory`, and reports to `output`.
///
/// # Errors
///
/// What is wrong first. That nobody reads the output any more is none.
pub fn verify(directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    unless_nobody_reads(verify_all(directory, output))
}

/// Whoever reads the output may stop when they have seen enough.
fn unless_nobody_reads(done: anyhow::Result<()>) -> anyhow::Result<()> {
    done.or_else(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::BrokenPipe) => Ok(()),
        Some(_) => Err(error.context("cannot write the output; make room, or write elsewhere")),
        None => Err(error),
    })
}

fn verify_all(directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let mut reader = SqliteReader::open(directory)?;
    let (floor, tail) = (reader.floor(), reader.tail());
    writeln!(output, "log        {}", reader.log())?;
    writeln!(output, "term       {}", reader.term())?;
    writeln!(output, "history    events {} to {}", floor.position().index.next(), tail.position().index)?;
    writeln!(output, "value      {} (digest {})", tail.value(), tail.position().digest)?;

    let producers = reader.producers()?.len();
    writeln!(output, "producers  {producers}, sound")?;
    let snapshots = reader.snapshots()?;

    let pages = reader.examine_pages()?;
    match pages.as_slice() {
        [] => writeln!(output, "pages      sound")?,
        pages => pages.iter().try_for_each(|found| writeln!(output, "pages      {found}"))?,
    }

    let mut replay = Replay::new(reader, floor);
    match replay_all(&mut replay, &snapshots, tail) {
        Ok(batches) => {
            let events = tail.position().index.events_since(floor.position().index);
            writeln!(output, "events     {events} in {batches} batches, all replayed, sound")?;
            writeln!(output, "snapshots  {}, each what the events lead to", snapshots.len())?;
        }
        Err(error @ AuditError::CompactedMeanwhile(_)) => return Err(error.into()),
        Err(damage) => {
            let sound = replay.at.position().index;
            writeln!(output, "events     sound up to index {sound}; `export` prints them")?;
            let newest = snapshots.last().copied().unwrap_or(floor);
            let rests_on = newest.position().index;
            let goes_on = verify_from(SqliteReader::open(directory)?, newest).is_ok();
            if goes_on {
                writeln!(
                    output,
                    "leader     goes on, without what is damaged: its value rests on index {rests_on} and what follows"
                )?;
            } else {
                writeln!(output, "leader     does not lead this log: what its value rests on is damaged")?;
            }
            return Err(damage.into());
        }
    }
    if pages.is_empty() { Ok(()) } else { Err(PagesDamaged.into()) }
}

/// Every event can be read, but not every page is as it should be.
#[derive(Debug, Error)]
#[error(
    "pages of the database are damaged, though every event can be read: keep a copy of the directory before a leader goes on with it"
)]
struct PagesDamaged;

/// Returns how many batches there are.
fn replay_all(replay: &mut Replay, snapshots: &[Snapshot], tail: Snapshot) -> Result<u64, AuditError> {
    let mut awaited = snapshots.iter().peekable();
    let mut batches = 0_u64;
    while replay.next()?.is_some() {
        batches += 1;
        let at = replay.at.position().index;
        if let Some(snapshot) = awaited.next_if(|snapshot| snapshot.position().index <= at)
            && *snapshot != replay.at
        {
            return Err(AuditError::Snapshot { at: snapshot.position().index });
        }
    }
    if replay.at == tail { Ok(batches) } else { Err(AuditError::Elsewhere { at: tail.position().index }) }
}

/// Reads the stored history once, slowly, so that damage in it is told before somebody needs it. The store remembers and
/// tells it.
pub async fn look_through(store: Arc<dyn Store>) {
    let end = store.opened_at().position().index;
    let mut next = store.floor().next();
    while next <= end {
        next = match store.read(next, LOOK_BYTES).await {
            Ok(batches) => match batches.last() {
                Some(last) => last.end.index.next(),
                None => return,
            },
            Err(ReadError::Compacted(compacted)) => compacted.floor.next(),
            Err(ReadError::Corrupt(_)) => {
                let damage = store.damage();
                let here = damage.iter().find(|place| place.first <= next && next <= place.last);
                let Some(here) = here else { return };
                here.last.next()
            }
            Err(ReadError::Unavailable(_)) => return,
        };
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// One event as a line of JSON. The field names are an interface: README documents them.
#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    term: u64,
    committed_at_us: u64,
    operation: &'a str,
    argument: Option<String>,
    value: String,
    digest: String,
}

/// Prints every event of the log in `directory` to `output`, oldest first. Stops at the first that cannot be trusted.
///
/// # Errors
///
/// What is wrong first. That nobody reads the output any more is none.
pub fn export(directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    unless_nobody_reads(print_all(directory, output))
}

fn print_all(directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let mut output = BufWriter::new(output);
    let reader = SqliteReader::open(directory)?;
    let floor = reader.floor();
    let mut replay = Replay::new(reader, floor);
    loop {
        let next = replay.next();
        let Some(Replayed { batch, value_before, mut digest_before }) = next.inspect_err(|_| {
            // What comes before the damage is worth having.
            let _ = output.flush();
        })?
        else {
            break;
        };
        for event in batch.events(value_before) {
            digest_before = digest_before.after(event.index, event.operation, event.value);
            let line = Line {
                index: event.index.0,
                term: batch.term().0,
                committed_at_us: batch.committed_at().0,
                operation: event.operation.name(),
                argument: event.operation.argument().map(|argument| argument.to_string()),
                value: event.value.to_string(),
                digest: digest_before.to_string(),
            };
            serde_json::to_writer(&mut output, &line).map_err(io::Error::from)?;
            output.write_all(b"\n")?;
        }
    }
    output.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use bytes::Bytes;
    use engine::{Durability, Heartbeat, LogId, Operation, Position, ProducerChanges, Timestamp, leader::Sequencer};
    use store::sqlite::Options;
    use store::{Commit, SqliteStore, StoredBatch};
    use wire::frame::{encode, encode_batch};

    use super::*;

    const LOG: LogId = LogId(5);

    /// What verifying says of a log with one sound batch and then `second`, which the store takes as it is.
    async fn verified(second: impl FnOnce(&mut Sequencer) -> Commit) -> Result<u64, AuditError> {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::new(1_000).unwrap(),
            retain: NonZeroU64::new(1_000).unwrap(),
        };
        let store = SqliteStore::open(options, LOG).unwrap();
        let mut sequencer = Sequencer::new(Term(5), store.opened_at(), []);
        let first = seal(&mut sequencer, Operation::Add(7));
        store.append(first).await.unwrap();
        store.append(second(&mut sequencer)).await.unwrap();
        drop(store);
        let reader = SqliteReader::open(directory.path()).unwrap();
        let start = Snapshot::take(LOG, Position::origin(LOG), 0);
        verify_from(reader, start)
    }

    fn seal(sequencer: &mut Sequencer, operation: Operation) -> Commit {
        sequencer.propose(operation).unwrap();
        let batch = sequencer.seal(Timestamp(0)).unwrap();
        sequencer.commit();
        commit(&batch, sequencer.committed().value())
    }

    fn commit(batch: &Batch, value: i64) -> Commit {
        let tail = Snapshot::take(LOG, batch.end(), value);
        let batch = StoredBatch::new(batch, encode_batch(batch));
        Commit { batch, tail, producers: ProducerChanges::default() }
    }

    fn batch(term: u64, operation: Operation, digest: Digest) -> Batch {
        Batch::new(Term(term), Index(2), vec![operation], digest, Timestamp(0)).unwrap()
    }

    fn digest_of_add_one(sequencer: &Sequencer) -> Digest {
        sequencer.committed().position().digest.after(Index(2), Operation::Add(1), 8)
    }

    #[tokio::test]
    async fn a_sound_log_replays() {
        assert_eq!(verified(|sequencer| seal(sequencer, Operation::Add(1))).await.unwrap(), 2);
    }

    /// What verifying prints and says of a log of 2,000 events whose page with the event at `index` is lost.
    async fn verified_without_the_page_of(index: u64, snapshot_every: u64) -> (String, String) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::new(snapshot_every).unwrap(),
            retain: NonZeroU64::MAX,
        };
        let store = SqliteStore::open(options, LOG).unwrap();
        let mut sequencer = Sequencer::new(Term(1), store.opened_at(), []);
        let mut frame = Bytes::new();
        for event in 1..=2_000 {
            let commit = seal(&mut sequencer, Operation::Add(1));
            if event == index {
                frame = commit.batch.frame.clone();
            }
            store.append(commit).await.unwrap();
        }
        drop(store);
        let path = directory.path().join("log.sqlite");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(frame.len()).position(|window| window == frame).unwrap();
        bytes[at / 4_096 * 4_096..][..4_096].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let mut output = Vec::new();
        let error = verify(directory.path(), &mut output).unwrap_err();
        (String::from_utf8(output).unwrap(), error.to_string())
    }

    #[tokio::test]
    async fn damaged_pages_do_not_keep_verify_from_saying_how_far_the_log_can_be_trusted() {
        for (snapshot_every, leads) in [(100, true), (1_000_000, false)] {
            let (output, error) = verified_without_the_page_of(1_000, snapshot_every).await;
            let sound = output.lines().find_map(|line| line.strip_prefix("events     sound up to index ")).unwrap();
            let sound: u64 = sound.split(';').next().unwrap().parse().unwrap();
            assert!((900..1_000).contains(&sound), "{output}");
            assert!(error.contains(&format!("at index {}", sound + 1)), "{error}");
            assert!(output.contains("\npages      ") && !output.contains("pages      sound"), "{output}");
            assert_eq!(output.contains("\nleader     goes on"), leads, "{output}");
            assert_eq!(output.contains("\nleader     does not lead"), !leads, "{output}");
        }
    }

    #[tokio::test]
    async fn events_that_a_leader_compacts_away_meanwhile_are_no_damage() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::MIN,
            retain: NonZeroU64::MIN,
        };
        let store = SqliteStore::open(options, LOG).unwrap();
        let mut sequencer = Sequencer::new(Term(1), store.opened_at(), []);
        for _ in 0..5 {
            store.append(seal(&mut sequencer, Operation::Add(1))).await.unwrap();
        }
        let start = Snapshot::take(LOG, Position::origin(LOG), 0);
        let compacted = verify_from(store.reader().unwrap(), start);
        // The reader was opened when the log was empty, so there is nothing that it would have to find.
        assert_eq!(compacted.unwrap(), 0);
        let compacted = verify_from(SqliteReader::open(directory.path()).unwrap(), start);
        assert!(matches!(compacted, Err(AuditError::CompactedMeanwhile(Index(4)))), "{compacted:?}");
    }

    #[tokio::test]
    async fn what_does_not_replay_is_told_though_every_row_has_its_checksum() {
        let wrong_digest = verified(|_| commit(&batch(5, Operation::Add(1), Digest(1)), 8)).await;
        assert!(matches!(wrong_digest, Err(AuditError::Elsewhere { at: Index(2) })), "{wrong_digest:?}");

        let wrong_value = verified(|log| commit(&batch(5, Operation::Add(1), digest_of_add_one(log)), 9)).await;
        assert!(matches!(wrong_value, Err(AuditError::Elsewhere { at: Index(2) })), "{wrong_value:?}");

        let lower_term = verified(|log| commit(&batch(4, Operation::Add(1), digest_of_add_one(log)), 8)).await;
        assert!(matches!(lower_term, Err(AuditError::TermWentBack { at: Index(2), .. })), "{lower_term:?}");

        let impossible = verified(|_| commit(&batch(5, Operation::Divide(0), Digest(1)), 8)).await;
        assert!(matches!(impossible, Err(AuditError::Refused { at: Index(2), .. })), "{impossible:?}");

        let with_frame = |frame: Bytes| {
            verified(move |log| {
                let mut commit = commit(&batch(5, Operation::Add(1), digest_of_add_one(log)), 8);
                commit.batch.frame = frame;
                commit
            })
        };
        let garbage = with_frame(Bytes::from_static(b"no frame at all")).await;
        assert!(matches!(garbage, Err(AuditError::Frame { at: Index(2), .. })), "{garbage:?}");
        let heartbeat = Heartbeat { term: Term(5), tail: Index(2), floor: Index(0), leader_time: Timestamp(0) };
        let another_frame = with_frame(encode(&Frame::Heartbeat(heartbeat))).await;
        assert!(matches!(another_frame, Err(AuditError::NotABatch { at: Index(2) })), "{another_frame:?}");
    }
}
