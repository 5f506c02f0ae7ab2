//! Generated types to engine types and back. What is malformed is told apart by a typed error, never guessed.

use std::time::Duration;

use engine::frame::SnapshotFrame;
use engine::producer::InvalidProducerId;
use engine::{
    Batch, Digest, Durability, EmptyBatch, Frame, Goodbye, GoodbyeReason, Heartbeat, Index, LogId, Operation, Position,
    ProducerId, Resume, Sequence, Snapshot, SnapshotMismatch, SnapshotReason, Standing, StreamId, Submission, Term,
    Timestamp, Verdict, Welcome,
};
use thiserror::Error;

use crate::pb;
use crate::pb::operation::Kind;
use crate::pb::subscribe_response::Frame as PbFrame;

/// A message that breaks a rule of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A field that must be set is not.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A log id of the wrong length.
    #[error(transparent)]
    LogId(#[from] LogIdLength),
    /// A value of an enumeration that this version does not know, or the unspecified one.
    #[error(transparent)]
    Enumeration(#[from] UnknownValue),
    /// A batch without events.
    #[error(transparent)]
    EmptyBatch(#[from] EmptyBatch),
    /// A snapshot that was altered.
    #[error(transparent)]
    Snapshot(#[from] SnapshotMismatch),
    /// A batch whose last index would not fit.
    #[error(transparent)]
    IndexRange(#[from] IndexRange),
    /// A producer's id of the wrong length.
    #[error(transparent)]
    ProducerId(#[from] InvalidProducerId),
    /// A producer's sequence that is 0.
    #[error(transparent)]
    Sequence(#[from] ZeroSequence),
}

/// A field that must be set is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is not set")]
pub struct Missing(pub &'static str);

/// A log id of the wrong length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("log_id has {0} bytes, expected 16")]
pub struct LogIdLength(pub usize);

/// A value of an enumeration that this version does not know, or the unspecified one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field} has the unknown value {value}")]
pub struct UnknownValue {
    /// The field.
    pub field: &'static str,
    /// Its number.
    pub value: i32,
}

/// A batch's first index is 0 or its last does not fit into 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a batch of {events} events cannot start at index {first}")]
pub struct IndexRange {
    /// Where it claims to start.
    pub first: u64,
    /// How many events it holds.
    pub events: usize,
}

/// A producer's sequence is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("producer.sequence is 0; the first is 1")]
pub struct ZeroSequence;

/// A log id as it travels: 16 bytes, big-endian.
#[must_use]
pub fn log_id_bytes(log: LogId) -> Vec<u8> {
    log.0.to_be_bytes().to_vec()
}

/// The log id that travelled as `bytes`.
///
/// # Errors
///
/// [`LogIdLength`] if there are not 16.
pub fn log_id(bytes: &[u8]) -> Result<LogId, LogIdLength> {
    bytes.try_into().map(|bytes| LogId(u128::from_be_bytes(bytes))).map_err(|_| LogIdLength(bytes.len()))
}

impl From<Operation> for pb::Operation {
    fn from(operation: Operation) -> Self {
        let kind = match operation {
            Operation::Add(n) => Kind::Add(n),
            Operation::Subtract(n) => Kind::Subtract(n),
            Operation::Multiply(n) => Kind::Multiply(n),
            Operation::Divide(n) => Kind::Divide(n),
            Operation::SquareRoot => Kind::SquareRoot(pb::SquareRoot {}),
            Operation::PowerOfTwo => Kind::PowerOfTwo(pb::PowerOfTwo {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Operation> for Operation {
    type Error = Missing;

    fn try_from(operation: pb::Operation) -> Result<Self, Self::Error> {
        Ok(match operation.kind.ok_or(Missing("operation.kind"))? {
            Kind::Add(n) => Self::Add(n),
            Kind::Subtract(n) => Self::Subtract(n),
            Kind::Multiply(n) => Self::Multiply(n),
            Kind::Divide(n) => Self::Divide(n),
            Kind::SquareRoot(pb::SquareRoot {}) => Self::SquareRoot,
            Kind::PowerOfTwo(pb::PowerOfTwo {}) => Self::PowerOfTwo,
        })
    }
}

impl From<Submission> for pb::SubmitRequest {
    fn from(submission: Submission) -> Self {
        let producer =
            submission.producer.map(|(id, sequence)| pb::Producer { id: id.as_str().to_owned(), sequence: sequence.0 });
        let expected_index = submission.expected.map(|index| index.0);
        Self { operation: Some(submission.operation.into()), producer, expected_index }
    }
}

impl TryFrom<pb::SubmitRequest> for Submission {
    type Error = DecodeError;

    fn try_from(request: pb::SubmitRequest) -> Result<Self, Self::Error> {
        let operation = request.operation.ok_or(Missing("operation"))?.try_into()?;
        let producer = match request.producer {
            Some(pb::Producer { sequence: 0, .. }) => return Err(ZeroSequence.into()),
            Some(pb::Producer { id, sequence }) => Some((ProducerId::new(&id)?, Sequence(sequence))),
            None => None,
        };
        Ok(Self { operation, producer, expected: request.expected_index.map(Index) })
    }
}

impl From<Resume> for pb::LogPosition {
    fn from(Resume { log, position }: Resume) -> Self {
        Self { log_id: log_id_bytes(log), index: position.index.0, digest: position.digest.0 }
    }
}

impl TryFrom<pb::LogPosition> for Resume {
    type Error = LogIdLength;

    fn try_from(position: pb::LogPosition) -> Result<Self, Self::Error> {
        Ok(Self {
            log: log_id(&position.log_id)?,
            position: Position { index: Index(position.index), digest: Digest(position.digest) },
        })
    }
}

impl From<&Frame> for pb::SubscribeResponse {
    fn from(frame: &Frame) -> Self {
        let frame = match frame {
            Frame::Welcome(welcome) => PbFrame::Welcome((*welcome).into()),
            Frame::Snapshot(snapshot) => PbFrame::Snapshot((*snapshot).into()),
            Frame::Batch(batch) => PbFrame::Batch(batch.into()),
            Frame::Heartbeat(heartbeat) => PbFrame::Heartbeat((*heartbeat).into()),
            Frame::Goodbye(goodbye) => PbFrame::Goodbye((*goodbye).into()),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<pb::SubscribeResponse> for Frame {
    type Error = DecodeError;

    fn try_from(response: pb::SubscribeResponse) -> Result<Self, Self::Error> {
        Ok(match response.frame.ok_or(Missing("frame"))? {
            PbFrame::Welcome(welcome) => Self::Welcome(welcome.try_into()?),
            PbFrame::Snapshot(snapshot) => Self::Snapshot(snapshot.try_into()?),
            PbFrame::Batch(batch) => Self::Batch(batch.try_into()?),
            PbFrame::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat.into()),
            PbFrame::Goodbye(goodbye) => Self::Goodbye(goodbye.into()),
        })
    }
}

impl From<Welcome> for pb::Welcome {
    fn from(welcome: Welcome) -> Self {
        let (verdict, reason) = match welcome.verdict {
            Verdict::Resumed => (pb::Verdict::Resumed, pb::SnapshotReason::Unspecified),
            Verdict::Snapshot(reason) => (pb::Verdict::Snapshot, reason.into()),
        };
        Self {
            log_id: log_id_bytes(welcome.log),
            term: welcome.term.0,
            tail: welcome.tail.0,
            floor: welcome.floor.0,
            heartbeat_interval_ms: millis(welcome.heartbeat_interval),
            durability: pb::Durability::from(welcome.durability).into(),
            leader_time_us: welcome.leader_time.0,
            damaged: welcome.damaged,
            stream_id: welcome.stream.0,
            verdict: verdict.into(),
            snapshot_reason: reason.into(),
        }
    }
}

impl TryFrom<pb::Welcome> for Welcome {
    type Error = DecodeError;

    fn try_from(welcome: pb::Welcome) -> Result<Self, Self::Error> {
        // Values that this version does not know come from a newer leader, and must not end the stream.
        let durability = match welcome.durability() {
            pb::Durability::Memory => Durability::Memory,
            pb::Durability::Os => Durability::Os,
            pb::Durability::Fsync => Durability::Fsync,
            pb::Durability::Unspecified => Durability::Unknown,
        };
        let reason = match welcome.snapshot_reason() {
            pb::SnapshotReason::Fresh => SnapshotReason::Fresh,
            pb::SnapshotReason::OtherLog => SnapshotReason::OtherLog,
            pb::SnapshotReason::Ahead => SnapshotReason::Ahead,
            pb::SnapshotReason::Compacted => SnapshotReason::Compacted,
            pb::SnapshotReason::Diverged => SnapshotReason::Diverged,
            pb::SnapshotReason::Unspecified => SnapshotReason::Unknown,
        };
        let verdict = match welcome.verdict() {
            pb::Verdict::Resumed => Verdict::Resumed,
            // A replica that waits for a snapshot accepts nothing else, so this is the safe one to take an unknown one for.
            pb::Verdict::Snapshot | pb::Verdict::Unspecified => Verdict::Snapshot(reason),
        };
        Ok(Self {
            log: log_id(&welcome.log_id)?,
            term: Term(welcome.term),
            tail: Index(welcome.tail),
            floor: Index(welcome.floor),
            heartbeat_interval: Duration::from_millis(welcome.heartbeat_interval_ms.into()),
            durability,
            leader_time: Timestamp(welcome.leader_time_us),
            damaged: welcome.damaged,
            stream: StreamId(welcome.stream_id),
            verdict,
        })
    }
}

impl From<SnapshotReason> for pb::SnapshotReason {
    fn from(reason: SnapshotReason) -> Self {
        match reason {
            SnapshotReason::Fresh => Self::Fresh,
            SnapshotReason::OtherLog => Self::OtherLog,
            SnapshotReason::Ahead => Self::Ahead,
            SnapshotReason::Compacted => Self::Compacted,
            SnapshotReason::Diverged => Self::Diverged,
            SnapshotReason::Unknown => Self::Unspecified,
        }
    }
}

impl From<Durability> for pb::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Memory => Self::Memory,
            Durability::Os => Self::Os,
            Durability::Fsync => Self::Fsync,
            Durability::Unknown => Self::Unspecified,
        }
    }
}

impl From<SnapshotFrame> for pb::Snapshot {
    fn from(SnapshotFrame { term, snapshot }: SnapshotFrame) -> Self {
        Self {
            log_id: log_id_bytes(snapshot.log()),
            term: term.0,
            index: snapshot.position().index.0,
            digest: snapshot.position().digest.0,
            value: snapshot.value(),
            checksum: snapshot.checksum(),
        }
    }
}

impl TryFrom<pb::Snapshot> for SnapshotFrame {
    type Error = DecodeError;

    fn try_from(snapshot: pb::Snapshot) -> Result<Self, Self::Error> {
        let position = Position { index: Index(snapshot.index), digest: Digest(snapshot.digest) };
        let log = log_id(&snapshot.log_id)?;
        let term = Term(snapshot.term);
        Ok(Self { term, snapshot: Snapshot::verify(log, position, snapshot.value, snapshot.checksum)? })
    }
}

impl From<&Batch> for pb::Batch {
    fn from(batch: &Batch) -> Self {
        Self {
            term: batch.term().0,
            first_index: batch.first().0,
            operations: batch.operations().iter().copied().map(Into::into).collect(),
            digest: batch.digest().0,
            committed_at_us: batch.committed_at().0,
        }
    }
}

impl TryFrom<pb::Batch> for Batch {
    type Error = DecodeError;

    fn try_from(batch: pb::Batch) -> Result<Self, Self::Error> {
        let events = batch.operations.len();
        let range = IndexRange { first: batch.first_index, events };
        if batch.first_index == 0 || batch.first_index.checked_add(events as u64).is_none() {
            return Err(range.into());
        }
        let operations = batch.operations.into_iter().map(Operation::try_from).collect::<Result<_, _>>()?;
        Ok(Self::new(
            Term(batch.term),
            Index(batch.first_index),
            operations,
            Digest(batch.digest),
            Timestamp(batch.committed_at_us),
        )?)
    }
}

impl From<Heartbeat> for pb::Heartbeat {
    fn from(heartbeat: Heartbeat) -> Self {
        Self {
            term: heartbeat.term.0,
            tail: heartbeat.tail.0,
            floor: heartbeat.floor.0,
            leader_time_us: heartbeat.leader_time.0,
        }
    }
}

impl From<pb::Heartbeat> for Heartbeat {
    fn from(heartbeat: pb::Heartbeat) -> Self {
        Self {
            term: Term(heartbeat.term),
            tail: Index(heartbeat.tail),
            floor: Index(heartbeat.floor),
            leader_time: Timestamp(heartbeat.leader_time_us),
        }
    }
}

impl From<Goodbye> for pb::Goodbye {
    fn from(goodbye: Goodbye) -> Self {
        let reason = match goodbye.reason {
            GoodbyeReason::ShuttingDown => pb::GoodbyeReason::ShuttingDown,
            GoodbyeReason::Overloaded => pb::GoodbyeReason::Overloaded,
            GoodbyeReason::SteppedDown => pb::GoodbyeReason::SteppedDown,
            GoodbyeReason::Unknown => pb::GoodbyeReason::Unspecified,
        };
        Self { reason: reason.into(), retry_after_ms: millis(goodbye.retry_after) }
    }
}

impl From<pb::Goodbye> for Goodbye {
    fn from(goodbye: pb::Goodbye) -> Self {
        let reason = match goodbye.reason() {
            pb::GoodbyeReason::Overloaded => GoodbyeReason::Overloaded,
            pb::GoodbyeReason::SteppedDown => GoodbyeReason::SteppedDown,
            pb::GoodbyeReason::ShuttingDown => GoodbyeReason::ShuttingDown,
            // One that this version does not know ends the stream all the same.
            pb::GoodbyeReason::Unspecified => GoodbyeReason::Unknown,
        };
        Self { reason, retry_after: Duration::from_millis(goodbye.retry_after_ms.into()) }
    }
}

impl From<Standing> for pb::Standing {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::InStep => Self::InStep,
            Standing::OtherLog => Self::OtherLog,
            Standing::Ahead => Self::Ahead,
            Standing::Compacted => Self::Compacted,
            Standing::Diverged => Self::Diverged,
            Standing::Unknown => Self::Unspecified,
        }
    }
}

impl From<pb::Standing> for Standing {
    fn from(standing: pb::Standing) -> Self {
        match standing {
            pb::Standing::InStep => Self::InStep,
            pb::Standing::OtherLog => Self::OtherLog,
            pb::Standing::Ahead => Self::Ahead,
            pb::Standing::Compacted => Self::Compacted,
            pb::Standing::Diverged => Self::Diverged,
            pb::Standing::Unspecified => Self::Unknown,
        }
    }
}

/// Whole milliseconds, saturating at 49 days.
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{FrameError, decode_next, encode};

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            any::<i64>().prop_map(Operation::Add),
            any::<i64>().prop_map(Operation::Subtract),
            any::<i64>().prop_map(Operation::Multiply),
            any::<i64>().prop_map(Operation::Divide),
            Just(Operation::SquareRoot),
            Just(Operation::PowerOfTwo),
        ]
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        use SnapshotReason::{Ahead, Compacted, Diverged, Fresh, OtherLog};
        prop_oneof![
            Just(Verdict::Resumed),
            prop::sample::select(vec![Fresh, OtherLog, Ahead, Compacted, Diverged]).prop_map(Verdict::Snapshot),
        ]
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let durability = prop::sample::select(vec![Durability::Memory, Durability::Os, Durability::Fsync]);
        let welcome = (any::<(u128, u64, u64, u64, u32, u64, bool, u64)>(), durability, verdict()).prop_map(
            |((log, term, tail, floor, heartbeat, time, damaged, stream), durability, verdict)| {
                Frame::Welcome(Welcome {
                    log: LogId(log),
                    term: Term(term),
                    tail: Index(tail),
                    floor: Index(floor),
                    heartbeat_interval: Duration::from_millis(heartbeat.into()),
                    durability,
                    leader_time: Timestamp(time),
                    verdict,
                    damaged,
                    stream: StreamId(stream),
                })
            },
        );
        let snapshot = any::<(u128, u64, u64, u64, i64)>().prop_map(|(log, term, index, digest, value)| {
            let position = Position { index: Index(index), digest: Digest(digest) };
            Frame::Snapshot(SnapshotFrame { term: Term(term), snapshot: Snapshot::take(LogId(log), position, value) })
        });
        let batch = (any::<(u64, u64, u64)>(), 1..u64::MAX / 2, prop::collection::vec(operation(), 1..40)).prop_map(
            |((term, digest, time), first, operations)| {
                let batch = Batch::new(Term(term), Index(first), operations, Digest(digest), Timestamp(time));
                Frame::Batch(batch.unwrap())
            },
        );
        let heartbeat = any::<(u64, u64, u64, u64)>().prop_map(|(term, tail, floor, time)| {
            Frame::Heartbeat(Heartbeat {
                term: Term(term),
                tail: Index(tail),
                floor: Index(floor),
                leader_time: Timestamp(time),
            })
        });
        let reason = prop::sample::select(vec![
            GoodbyeReason::ShuttingDown,
            GoodbyeReason::Overloaded,
            GoodbyeReason::SteppedDown,
            GoodbyeReason::Unknown,
        ]);
        let goodbye = (reason, any::<u32>()).prop_map(|(reason, millis)| {
            Frame::Goodbye(Goodbye { reason, retry_after: Duration::from_millis(millis.into()) })
        });
        prop_oneof![welcome, snapshot, batch, heartbeat, goodbye]
    }

    proptest! {
        #[test]
        fn a_run_of_frames_survives_the_wire(frames in prop::collection::vec(frame(), 0..8)) {
            let mut bytes: Bytes = frames.iter().flat_map(encode).collect();
            let mut decoded = Vec::new();
            while let Some(frame) = decode_next(&mut bytes).unwrap() {
                decoded.push(frame);
            }
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut bytes = Bytes::from(bytes);
            while let Ok(Some(_)) = decode_next(&mut bytes) {}
        }

        #[test]
        fn a_frame_that_is_cut_off_is_told(frame in frame(), cut: prop::sample::Index) {
            let whole = encode(&frame);
            let mut part = whole.slice(..cut.index(whole.len() - 1) + 1);
            if part.len() < whole.len() {
                let truncated = matches!(decode_next(&mut part), Err(FrameError::Truncated { .. }));
                prop_assert!(truncated);
            }
        }
    }

    #[test]
    fn a_submission_survives_the_wire_and_a_malformed_one_is_told_apart() {
        let producer = Some((ProducerId::new("me").unwrap(), Sequence(3)));
        for (producer, expected) in [(None, None), (producer.clone(), Some(Index(0))), (producer, None)] {
            let submission = Submission { operation: Operation::Divide(0), producer, expected };
            assert_eq!(pb::SubmitRequest::from(submission.clone()).try_into(), Ok(submission));
        }
        let with = |id: &str, sequence| pb::SubmitRequest {
            producer: Some(pb::Producer { id: id.to_owned(), sequence }),
            ..Submission::from(Operation::SquareRoot).into()
        };
        assert_eq!(Submission::try_from(with("me", 0)), Err(ZeroSequence.into()));
        assert_eq!(Submission::try_from(with("", 1)), Err(InvalidProducerId(0).into()));
        let nothing = pb::SubmitRequest::default();
        assert_eq!(Submission::try_from(nothing), Err(Missing("operation").into()));
    }

    #[test]
    fn a_standing_survives_the_wire() {
        use Standing::{Ahead, Compacted, Diverged, InStep, OtherLog, Unknown};
        for (number, standing) in (0..).zip([Unknown, InStep, OtherLog, Ahead, Compacted, Diverged]) {
            let sent = pb::Standing::from(standing);
            assert_eq!((i32::from(sent), Standing::from(sent)), (number, standing));
        }
        let newer = pb::ReportProgressResponse { standing: 99, ..Default::default() };
        assert_eq!(Standing::from(newer.standing()), Unknown);
    }

    #[test]
    fn an_altered_snapshot_is_refused() {
        let snapshot = Snapshot::take(LogId(5), Position { index: Index(3), digest: Digest(9) }, 70);
        let mut message = pb::Snapshot::from(SnapshotFrame { term: Term(1), snapshot });
        assert!(SnapshotFrame::try_from(message.clone()).is_ok());
        message.value += 1;
        assert!(matches!(SnapshotFrame::try_from(message), Err(DecodeError::Snapshot(_))));
    }

    #[test]
    fn malformed_messages_name_what_is_wrong() {
        let batch = pb::Batch { first_index: 1, ..Default::default() };
        let empty = Batch::try_from(batch.clone()).unwrap_err();
        assert_eq!(empty.to_string(), "the batch that starts at index 1 holds no events");

        let unset = pb::Batch { operations: vec![pb::Operation { kind: None }], ..batch };
        assert_eq!(Batch::try_from(unset.clone()).unwrap_err().to_string(), "operation.kind is not set");

        let beyond = pb::Batch { first_index: u64::MAX, ..unset };
        assert!(matches!(Batch::try_from(beyond), Err(DecodeError::IndexRange(_))));

        let position = pb::LogPosition { log_id: vec![1, 2, 3], ..Default::default() };
        assert_eq!(Resume::try_from(position).unwrap_err().to_string(), "log_id has 3 bytes, expected 16");
    }

    #[test]
    fn values_that_a_newer_leader_adds_do_not_make_a_frame_unreadable() {
        let newer = |verdict: pb::Verdict, raw| {
            let verdict = if raw == 0 { verdict.into() } else { raw };
            let welcome =
                pb::Welcome { log_id: vec![0; 16], durability: 77, verdict, snapshot_reason: 88, ..Default::default() };
            Welcome::try_from(welcome).unwrap()
        };
        assert_eq!(newer(pb::Verdict::Resumed, 0).durability, Durability::Unknown);
        assert_eq!(newer(pb::Verdict::Resumed, 0).verdict, Verdict::Resumed);
        assert_eq!(newer(pb::Verdict::Snapshot, 0).verdict, Verdict::Snapshot(SnapshotReason::Unknown));
        assert_eq!(newer(pb::Verdict::Unspecified, 99).verdict, Verdict::Snapshot(SnapshotReason::Unknown));
        let goodbye = pb::Goodbye { reason: 99, retry_after_ms: 5 };
        let unknown = Goodbye { reason: GoodbyeReason::Unknown, retry_after: Duration::from_millis(5) };
        assert_eq!(Goodbye::from(goodbye), unknown);
    }
}
