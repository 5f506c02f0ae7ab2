//! Valid inputs, to be altered.

use std::sync::LazyLock;
use std::time::Duration;

use engine::frame::SnapshotFrame;
use engine::leader::Sequencer;
use engine::{
    Authors, Batch, BatchEnd, Durability, Frame, Goodbye, GoodbyeReason, Heartbeat, HistoryPage, Index, LogId,
    Operation, Position, ProducerId, Resume, Sequence, Snapshot, SnapshotReason, StreamId, Submission, Submitted, Term,
    Timestamp, Verdict, Welcome,
};
use prost::Message;
use wire::{Identity, ReplicaKind, pb};

/// The log that all samples are of.
pub const LOG: LogId = LogId(0x00ff_1234_5678_9abc_def0_1122_3344_5566);

/// The leader's term.
pub const TERM: Term = Term(3);

/// Made once, because a fuzzer uses it a thousand times a second.
static BATCHES: LazyLock<Vec<(Snapshot, Batch)>> = LazyLock::new(make_log);

/// Some batches of a log, each with the state before it.
#[must_use]
pub fn log() -> &'static [(Snapshot, Batch)] {
    &BATCHES
}

fn make_log() -> Vec<(Snapshot, Batch)> {
    use Operation::{Add, Divide, Multiply, PowerOfTwo, SquareRoot, Subtract};
    let batches: [&[Operation]; 5] = [
        &[Add(7)],
        &[PowerOfTwo, Subtract(-5), SquareRoot],
        &[Multiply(i64::from(i32::MAX)), Divide(-3)],
        &[Add(1); 20],
        &[Add(i64::MAX), Subtract(i64::MAX), Divide(1)],
    ];
    let mut sequencer = Sequencer::new(TERM, Snapshot::take(LOG, Position::origin(LOG), 0), []);
    let mut log = Vec::new();
    for (n, operations) in (1..).zip(batches) {
        let before = sequencer.committed();
        for (place, operation) in operations.iter().enumerate() {
            // Each second event is somebody's, who says so or not.
            let name = ["", "Anna", "Bert"][place / 2 % 3];
            let author = Identity { name: name.to_owned(), ..Identity::default() };
            let submission = Submission { author: Some(author), ..(*operation).into() };
            let is_proposed = match place % 2 {
                0 => sequencer.propose(*operation).is_ok(),
                _ => sequencer.submit(&submission).is_ok(),
            };
            assert!(is_proposed, "{operation} does not apply");
        }
        log.extend(sequencer.seal(Timestamp(1_790_000_000_000_000 + n)).map(|batch| (before, batch)));
        sequencer.commit();
    }
    log
}

/// The state after all of [`log`].
#[must_use]
pub fn tail() -> Snapshot {
    let replayed = log().last().and_then(|(before, batch)| {
        let (value, _) = batch.replay(before.value(), before.position().digest).ok()?;
        Some(Snapshot::take(LOG, batch.end(), value))
    });
    replayed.unwrap_or_else(|| Snapshot::take(LOG, Position::origin(LOG), 0))
}

/// The end of the second batch.
#[must_use]
pub fn middle() -> Snapshot {
    log()[2].0
}

/// A whole stream that resumes in the middle of the log, or starts there with a snapshot.
#[must_use]
pub fn stream(resumed: bool) -> Vec<Frame> {
    let verdict = if resumed { Verdict::Resumed } else { Verdict::Snapshot(SnapshotReason::Fresh) };
    let mut frames = vec![Frame::Welcome(welcome(verdict))];
    if !resumed {
        frames.push(Frame::Snapshot(SnapshotFrame { term: TERM, snapshot: middle() }));
    }
    for (before, batch) in &log()[2..] {
        frames.push(heartbeat(before.position().index));
        frames.push(Frame::Batch(batch.clone()));
    }
    frames.push(heartbeat(tail().position().index));
    frames.push(Frame::Goodbye(Goodbye { reason: GoodbyeReason::Overloaded, retry_after: Duration::from_millis(300) }));
    frames
}

/// A welcome with `verdict`.
#[must_use]
pub fn welcome(verdict: Verdict) -> Welcome {
    Welcome {
        log: LOG,
        term: TERM,
        tail: tail().position().index,
        floor: Index(1),
        heartbeat_interval: Duration::from_secs(1),
        durability: Durability::Fsync,
        leader_time: Timestamp(1_790_000_000_000_000),
        verdict,
        damaged: false,
        stream: StreamId(0x0102_0304_0506_0708),
    }
}

fn heartbeat(tail: Index) -> Frame {
    Frame::Heartbeat(Heartbeat { term: TERM, tail, floor: Index(1), leader_time: Timestamp(1_790_000_001_000_000) })
}

/// Encoded requests of the three kinds that are converted.
#[must_use]
pub fn requests() -> Vec<Vec<u8>> {
    let replica = |kind| pb::Replica::from(Identity { id: "0123456789abcdef".into(), name: "Anna".into(), kind });
    let position = pb::LogPosition::from(Resume { log: LOG, position: middle().position() });
    let mut requests = vec![
        pb::SubscribeRequest {
            replica: Some(replica(ReplicaKind::Browser)),
            resume_from: Some(position.clone()),
            ..Default::default()
        }
        .encode_to_vec(),
        pb::SubscribeRequest { replica: Some(replica(ReplicaKind::Native)), resume_from: None, ..Default::default() }
            .encode_to_vec(),
        pb::ReportProgressRequest {
            replica: Some(replica(ReplicaKind::Native)),
            position: Some(position),
            ..Default::default()
        }
        .encode_to_vec(),
    ];
    let producer = ProducerId::from_random(LOG.0);
    let submissions = [
        (Operation::Add(5), Some((producer.clone(), Sequence(1))), None),
        (Operation::Divide(0), Some((producer, Sequence(9))), Some(Index(26))),
        (Operation::SquareRoot, None, Some(tail().position().index)),
        (Operation::Multiply(i64::MIN), None, None),
    ];
    for (operation, producer, expected) in submissions {
        let author = Some(Identity { name: "Anna".into(), ..Identity::default() });
        requests.push(pb::SubmitRequest::from(Submission { operation, producer, expected, author }).encode_to_vec());
    }
    requests
}

/// The producers that a log remembers.
#[must_use]
pub fn producers() -> Vec<Submitted> {
    let (before, batch) = &log()[2];
    let event = batch.events(before.value()).next();
    let producer = ProducerId::from_random(LOG.0);
    event.map(|event| Submitted { producer, sequence: Sequence(4), event }).into_iter().collect()
}

/// A page of history that begins and ends inside of batches, and the state before it.
#[must_use]
pub fn page() -> (Snapshot, HistoryPage) {
    // The second event of the second batch up to the middle of the fourth.
    let (start, _) = log()[1];
    let operations: Vec<Operation> = log()[1..4].iter().flat_map(|(_, batch)| batch.operations()).copied().collect();
    let authors = log()[1..4].iter().flat_map(|(_, batch)| batch.authors().each().take(batch.operations().len()));
    let end = |(_, batch): &(Snapshot, Batch)| BatchEnd {
        end: batch.end(),
        term: batch.term(),
        committed_at: batch.committed_at(),
    };
    let whole = HistoryPage {
        first: start.position().index.next(),
        operations: operations.clone(),
        before: Some(start),
        batches: log()[1..4].iter().map(end).collect(),
        authors: Authors::default(),
        tail: tail().position().index,
        floor: Index(0),
    };
    let first = whole.replay(start).next().and_then(Result::ok);
    let before = first
        .map_or(start, |(event, digest)| Snapshot::take(LOG, Position { index: event.index, digest }, event.value));
    let page = HistoryPage {
        first: before.position().index.next(),
        operations: operations[1..15].to_vec(),
        before: Some(before),
        authors: Authors::of(authors.skip(1).take(14)),
        ..whole
    };
    (before, page)
}

/// The most alterations that [`altered`] makes.
pub const MAX_ALTERATIONS: usize = 8;

/// `sample` with alterations. Four bytes describe each: its place (two bytes), its kind (a byte is changed, removed or
/// inserted), and a byte.
#[must_use]
pub fn altered(sample: &[u8], alterations: &[u8]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for alteration in alterations.chunks_exact(4).take(MAX_ALTERATIONS) {
        let &[low, high, what, byte] = alteration else { continue };
        let at = usize::from(u16::from_le_bytes([low, high])) % (bytes.len() + 1);
        match (what % 4, bytes.get_mut(at)) {
            (0 | 1, Some(there)) => *there ^= byte,
            (2, Some(_)) => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
    }
    bytes
}
