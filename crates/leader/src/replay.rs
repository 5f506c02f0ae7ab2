//! Replays a log: every batch must yield the digest and value that are stored with it.

use engine::{Batch, Digest, Frame, Index, Refusal, Snapshot, Term};
use store::sqlite::{SqliteReader, StoredRow};
use store::{LogReader, ReadError, StoredBatch};
use thiserror::Error;
use wire::frame::{FrameError, decode_next};

const READ_BYTES: usize = 1 << 20;

/// Why a stored log does not replay.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The floor rose past the next event.
    #[error("a leader compacted the events up to index {0} away during this run; run it again")]
    CompactedMeanwhile(Index),
    /// The log cannot be read, or a row is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes of a batch are not a batch.
    #[error("the stored bytes at index {at} are not a batch: {error}")]
    Frame {
        /// Where the batch should start.
        at: Index,
        /// What is wrong with the bytes.
        error: FrameError,
    },
    /// The bytes are another frame, or more than one.
    #[error("the stored bytes at index {at} are not exactly one batch")]
    NotABatch {
        /// Where the batch should start.
        at: Index,
    },
    /// The calculator refuses an operation of the log.
    #[error("in the batch at index {at}: {refusal}")]
    Refused {
        /// Where the batch starts.
        at: Index,
        /// Why the calculator refuses it.
        refusal: Refusal,
    },
    /// A batch yields another digest or value than is stored with it.
    #[error("the batch at index {at} does not yield the digest and value that are stored with it")]
    Mismatch {
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
        /// The batch's term.
        got: Term,
    },
    /// A snapshot differs from the replayed state.
    #[error("the snapshot at index {at} differs from the state that the events yield")]
    Snapshot {
        /// The snapshot's index.
        at: Index,
    },
}

pub(crate) struct Replayed {
    pub(crate) batch: Batch,
    pub(crate) value_before: i64,
    pub(crate) digest_before: Digest,
}

struct Replay {
    at: Snapshot,
    term: Term,
}

impl Replay {
    fn new(start: Snapshot) -> Self {
        Self { at: start, term: Term(0) }
    }

    fn next_index(&self) -> Index {
        self.at.position().index.next()
    }

    /// Replays the next batch and compares it with the row that it is stored in.
    fn apply(&mut self, stored: &StoredBatch) -> Result<Replayed, ReplayError> {
        let at = self.next_index();
        let mut frame = stored.frame.clone();
        let decoded = decode_next(&mut frame).map_err(|error| ReplayError::Frame { at, error })?;
        let Some(Frame::Batch(batch)) = decoded.filter(|_| frame.is_empty()) else {
            return Err(ReplayError::NotABatch { at });
        };
        if batch.term() < self.term {
            return Err(ReplayError::TermWentBack { at, before: self.term, got: batch.term() });
        }
        let (value_before, digest_before) = (self.at.value(), self.at.position().digest);
        let (value, digest) =
            batch.replay(value_before, digest_before).map_err(|refusal| ReplayError::Refused { at, refusal })?;
        let expected = (batch.first(), batch.end(), batch.term());
        if (stored.first, stored.end, stored.term) != expected || batch.first() != at || digest != batch.digest() {
            return Err(ReplayError::Mismatch { at });
        }
        self.term = batch.term();
        self.at = Snapshot::take(self.at.log(), batch.end(), value);
        Ok(Replayed { batch, value_before, digest_before })
    }

    fn finish(&self, tail: Snapshot) -> Result<(), ReplayError> {
        if self.at == tail { Ok(()) } else { Err(ReplayError::Mismatch { at: tail.position().index }) }
    }
}

/// Replays the log of any store from the state `from` to the state `to`. Returns how many events it replayed.
///
/// # Errors
///
/// [`ReplayError`] for the first batch that does not replay.
pub async fn check(log: &dyn LogReader, from: Snapshot, to: Snapshot) -> Result<u64, ReplayError> {
    let mut replay = Replay::new(from);
    let tail = to.position().index;
    while replay.next_index() <= tail {
        let batches = log.read(replay.next_index(), READ_BYTES).await?;
        if batches.is_empty() {
            return Err(missing(replay.next_index()));
        }
        for batch in &batches {
            replay.apply(batch)?;
        }
    }
    replay.finish(to)?;
    Ok(tail.events_since(from.position().index))
}

fn missing(at: Index) -> ReplayError {
    ReadError::Unavailable(format!("the event at index {at} is missing")).into()
}

/// Replays the log in a directory, up to its tail at the time of opening.
pub(crate) struct DirectoryReplay {
    reader: SqliteReader,
    replay: Replay,
    ready: std::vec::IntoIter<StoredRow>,
}

impl DirectoryReplay {
    pub(crate) fn new(reader: SqliteReader, start: Snapshot) -> Self {
        Self { reader, replay: Replay::new(start), ready: Vec::new().into_iter() }
    }

    pub(crate) fn at(&self) -> Snapshot {
        self.replay.at
    }

    /// Replays the next batch. Returns `None` at the tail, if the state matches the stored one.
    pub(crate) fn next(&mut self) -> Result<Option<Replayed>, ReplayError> {
        let at = self.replay.next_index();
        if at > self.reader.tail().position().index {
            self.replay.finish(self.reader.tail())?;
            return Ok(None);
        }
        let row = match self.ready.next() {
            Some(row) => row,
            None => {
                let rows = self.reader.rows(at, READ_BYTES).map_err(|error| match error {
                    ReadError::Compacted(compacted) => ReplayError::CompactedMeanwhile(compacted.floor),
                    error => error.into(),
                });
                self.ready = rows?.into_iter();
                self.ready.next().ok_or_else(|| missing(at))?
            }
        };
        let before = self.replay.at;
        let replayed = self.replay.apply(&row.batch)?;
        if row.value != self.replay.at.value() {
            self.replay.at = before;
            return Err(ReplayError::Mismatch { at });
        }
        Ok(Some(replayed))
    }
}

/// Replays the log of `reader` from `start` to its tail.
///
/// # Errors
///
/// [`ReplayError`] for the first batch that does not replay.
pub(crate) fn check_directory(reader: SqliteReader, start: Snapshot) -> Result<(), ReplayError> {
    let mut replay = DirectoryReplay::new(reader, start);
    while replay.next()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use bytes::Bytes;
    use engine::leader::Sequencer;
    use engine::{Durability, Heartbeat, LogId, Operation, Position, ProducerChanges, Timestamp};
    use store::sqlite::Options;
    use store::{Commit, SqliteStore};
    use wire::frame::{encode, encode_batch};

    use super::*;

    const LOG: LogId = LogId(5);

    /// Stores a sound batch and then `second`, which the store does not check. Replays the log as `verify` does, and as a
    /// leader does at its start.
    async fn checked(second: impl FnOnce(&mut Sequencer) -> Commit) -> [Result<(), ReplayError>; 2] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::new(1_000).unwrap(),
            retain: NonZeroU64::new(1_000).unwrap(),
            retain_bytes: None,
        };
        let place = SqliteStore::new(options, LOG);
        let mut opened = place.open_blocking().unwrap();
        let mut sequencer = Sequencer::new(Term(5), opened.tail, []);
        let first = seal(&mut sequencer, Operation::Add(7));
        opened.writer.append(first).await.unwrap();
        opened.writer.append(second(&mut sequencer)).await.unwrap();
        drop(opened);
        let reader = SqliteReader::open(directory.path()).unwrap();
        let start = Snapshot::take(LOG, Position::origin(LOG), 0);
        let by_verify = check_directory(reader, start);
        let opened = place.open_blocking().unwrap();
        let by_leader = check(&*opened.reader, opened.snapshot, opened.tail).await;
        [by_verify, by_leader.map(|events| assert_eq!(events, 2))]
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
        for result in checked(|sequencer| seal(sequencer, Operation::Add(1))).await {
            result.unwrap();
        }
    }

    #[tokio::test]
    async fn events_that_a_leader_compacts_during_a_replay_are_not_damage() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::MIN,
            retain: NonZeroU64::MIN,
            retain_bytes: None,
        };
        let mut opened = SqliteStore::new(options, LOG).open_blocking().unwrap();
        let mut sequencer = Sequencer::new(Term(1), opened.tail, []);
        let before = SqliteReader::open(directory.path()).unwrap();
        for _ in 0..5 {
            opened.writer.append(seal(&mut sequencer, Operation::Add(1))).await.unwrap();
        }
        let start = Snapshot::take(LOG, Position::origin(LOG), 0);
        check_directory(before, start).expect("the log was empty when the reader was opened");
        let compacted = check_directory(SqliteReader::open(directory.path()).unwrap(), start);
        assert!(matches!(compacted, Err(ReplayError::CompactedMeanwhile(Index(4)))), "{compacted:?}");
    }

    #[tokio::test]
    async fn replay_finds_wrong_batches_whose_checksums_are_right() {
        let wrong_digest = checked(|_| commit(&batch(5, Operation::Add(1), Digest(1)), 8)).await;
        assert!(
            matches!(
                wrong_digest,
                [Err(ReplayError::Mismatch { at: Index(2) }), Err(ReplayError::Mismatch { at: Index(2) })]
            ),
            "{wrong_digest:?}"
        );

        let wrong_value = checked(|log| commit(&batch(5, Operation::Add(1), digest_of_add_one(log)), 9)).await;
        assert!(
            matches!(
                wrong_value,
                [Err(ReplayError::Mismatch { at: Index(2) }), Err(ReplayError::Mismatch { at: Index(2) })]
            ),
            "{wrong_value:?}"
        );

        let lower_term = checked(|log| commit(&batch(4, Operation::Add(1), digest_of_add_one(log)), 8)).await;
        assert!(
            matches!(
                lower_term,
                [
                    Err(ReplayError::TermWentBack { at: Index(2), .. }),
                    Err(ReplayError::TermWentBack { at: Index(2), .. })
                ]
            ),
            "{lower_term:?}"
        );

        let impossible = checked(|_| commit(&batch(5, Operation::Divide(0), Digest(1)), 8)).await;
        assert!(
            matches!(
                impossible,
                [Err(ReplayError::Refused { at: Index(2), .. }), Err(ReplayError::Refused { at: Index(2), .. })]
            ),
            "{impossible:?}"
        );

        let with_frame = |frame: Bytes| {
            checked(move |log| {
                let mut commit = commit(&batch(5, Operation::Add(1), digest_of_add_one(log)), 8);
                commit.batch.frame = frame;
                commit
            })
        };
        let garbage = with_frame(Bytes::from_static(b"no frame at all")).await;
        assert!(
            matches!(
                garbage,
                [Err(ReplayError::Frame { at: Index(2), .. }), Err(ReplayError::Frame { at: Index(2), .. })]
            ),
            "{garbage:?}"
        );
        let heartbeat = Heartbeat { term: Term(5), tail: Index(2), floor: Index(0), leader_time: Timestamp(0) };
        let another_frame = with_frame(encode(&Frame::Heartbeat(heartbeat))).await;
        assert!(
            matches!(
                another_frame,
                [Err(ReplayError::NotABatch { at: Index(2) }), Err(ReplayError::NotABatch { at: Index(2) })]
            ),
            "{another_frame:?}"
        );
    }
}
