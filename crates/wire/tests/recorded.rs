//! Bytes that published versions sent or stored. Every later version reads them with the same meaning.
//!
//! `recorded/` has a file for each version with new bytes. The files never change;
//! `cargo test -p wire --test recorded -- --nocapture` prints what a version adds.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::fs;
use std::time::Duration;

use engine::frame::SnapshotFrame;
use engine::{
    Batch, Digest, Durability, Frame, Goodbye, GoodbyeReason, Heartbeat, Index, LogId, Operation, Position, Snapshot,
    SnapshotReason, StreamId, Term, Timestamp, Verdict, Welcome,
};
use prost::Message;
use wire::frame::{decode_next, encode};
use wire::{pb, sharedcalculator};

const LOG: LogId = LogId(0x00ff_1234_5678_9abc_def0_1122_3344_5566);
const NOW: u64 = 1_790_000_000_000_000;

/// The recorded pieces by name.
struct Book {
    recorded: BTreeMap<String, Vec<u8>>,
    /// Pieces that are not recorded yet, as this version writes them.
    new: String,
}

impl Book {
    fn open() -> Self {
        let mut recorded = BTreeMap::new();
        for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded")).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let (name, hex) = line.split_once(' ').unwrap();
                assert!(recorded.insert(name.to_owned(), bytes(hex)).is_none(), "{name} is recorded twice");
            }
        }
        Self { recorded, new: String::new() }
    }

    fn take(&mut self, name: &str, now: &[u8]) -> Option<Vec<u8>> {
        let recorded = self.recorded.remove(name);
        if recorded.is_none() {
            let hex: String = now.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(self.new, "{name} {hex}").unwrap();
        }
        recorded
    }

    /// Checks a frame of the stream. Stored batches are such frames too.
    fn frame(&mut self, name: &str, meaning: &Frame) {
        if let Some(recorded) = self.take(name, &encode(meaning)) {
            assert_eq!(decode_next(&mut recorded.into()).unwrap().as_ref(), Some(meaning), "{name}");
        }
    }

    fn message<M: Message + Default + PartialEq + Debug>(&mut self, name: &str, meaning: &M) {
        if let Some(recorded) = self.take(name, &meaning.encode_to_vec()) {
            assert_eq!(&M::decode(&recorded[..]).unwrap(), meaning, "{name}");
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn position() -> Position {
    Position { index: Index(26), digest: Digest(0xfedc_ba98_7654_3210) }
}

fn welcome(verdict: Verdict, durability: Durability) -> Welcome {
    Welcome {
        log: LOG,
        term: Term(3),
        tail: Index(300),
        floor: Index(20),
        heartbeat_interval: Duration::from_secs(1),
        durability,
        leader_time: Timestamp(NOW),
        verdict,
        damaged: false,
        stream: StreamId(0),
    }
}

fn frames(book: &mut Book) {
    use Operation::{Add, Divide, Multiply, PowerOfTwo, SquareRoot, Subtract};
    use SnapshotReason::{Ahead, Compacted, Diverged, Fresh, OtherLog};

    for (name, verdict, durability) in [
        ("welcome/resumed", Verdict::Resumed, Durability::Fsync),
        ("welcome/fresh", Verdict::Snapshot(Fresh), Durability::Memory),
        ("welcome/other_log", Verdict::Snapshot(OtherLog), Durability::Os),
        ("welcome/ahead", Verdict::Snapshot(Ahead), Durability::Fsync),
        ("welcome/compacted", Verdict::Snapshot(Compacted), Durability::Fsync),
        ("welcome/diverged", Verdict::Snapshot(Diverged), Durability::Fsync),
    ] {
        book.frame(name, &Frame::Welcome(welcome(verdict, durability)));
    }
    let damaged = Welcome {
        damaged: true,
        stream: StreamId(0x0102_0304_0506_0708),
        ..welcome(Verdict::Snapshot(Compacted), Durability::Fsync)
    };
    book.frame("welcome/damaged", &Frame::Welcome(damaged));
    let snapshot = Snapshot::take(LOG, position(), -7);
    book.frame("snapshot", &Frame::Snapshot(SnapshotFrame { term: Term(3), snapshot }));
    let operations =
        vec![Add(i64::MAX), Subtract(-1), Multiply(i64::MIN), Divide(100), SquareRoot, PowerOfTwo, Add(0), Divide(-1)];
    let batch = Batch::new(Term(2), Index(27), operations, Digest(0x0123_4567_89ab_cdef), Timestamp(NOW + 1));
    book.frame("batch", &Frame::Batch(batch.unwrap()));
    let heartbeat = Heartbeat { term: Term(3), tail: Index(34), floor: Index(20), leader_time: Timestamp(NOW + 2) };
    book.frame("heartbeat", &Frame::Heartbeat(heartbeat));
    for (name, reason) in [
        ("goodbye/shutting_down", GoodbyeReason::ShuttingDown),
        ("goodbye/overloaded", GoodbyeReason::Overloaded),
        ("goodbye/stepped_down", GoodbyeReason::SteppedDown),
    ] {
        book.frame(name, &Frame::Goodbye(Goodbye { reason, retry_after: Duration::from_millis(300) }));
    }
}

fn messages(book: &mut Book) {
    let replica = |kind: pb::ReplicaKind| {
        Some(pb::Replica { id: "0123456789abcdef".to_owned(), name: "Anna".to_owned(), kind: kind.into() })
    };
    let at = pb::LogPosition { log_id: LOG.0.to_be_bytes().to_vec(), index: 26, digest: position().digest.0 };
    let subscribe =
        pb::SubscribeRequest { replica: replica(pb::ReplicaKind::Native), resume_from: None, ..Default::default() };
    book.message("subscribe/fresh", &subscribe);
    let resume = pb::SubscribeRequest {
        replica: replica(pb::ReplicaKind::Browser),
        resume_from: Some(at.clone()),
        ..Default::default()
    };
    book.message("subscribe/resume", &resume);
    let add = pb::SubmitRequest { operation: Some(Operation::Add(5).into()), ..Default::default() };
    book.message("submit/plain", &add);
    let once = pb::SubmitRequest {
        operation: Some(Operation::SquareRoot.into()),
        producer: Some(pb::Producer { id: "me".to_owned(), sequence: 9 }),
        expected_index: Some(0),
        ..Default::default()
    };
    book.message("submit/once", &once);
    let by = pb::SubmitRequest { author: replica(pb::ReplicaKind::Browser), ..once };
    book.message("submit/author", &by);
    book.message("submit/answer", &pb::SubmitResponse { index: 27, value: -7 });
    book.message("read_events", &pb::ReadEventsRequest { first_index: 7, page_size: 100 });
    let page = pb::ReadEventsResponse {
        first_index: 7,
        operations: vec![Operation::Divide(-3).into(), Operation::PowerOfTwo.into()],
        next_index: 9,
        tail: 26,
        floor: 5,
        ..Default::default()
    };
    book.message("read_events/answer", &page);
    let batch = pb::BatchEnd { index: 9, digest: 0xfedc, term: 3, committed_at_us: NOW };
    let before = Some(pb::LogPosition { index: 6, ..at.clone() });
    let checked = pb::ReadEventsResponse { before, value_before: -7, batches: vec![batch], ..page };
    book.message("read_events/checked", &checked);
    book.message("read_snapshot", &pb::ReadSnapshotRequest { index: 7 });
    let status = pb::GetStatusResponse {
        log_id: LOG.0.to_be_bytes().to_vec(),
        term: 3,
        tail: 26,
        digest: 0xfedc,
        value: -7,
        floor: 5,
        subscribers: 2,
        durability: pb::Durability::Os.into(),
        uptime_ms: 12_345,
        version: "0.1.0".to_owned(),
        log_problem: "the disk is full".to_owned(),
        ..Default::default()
    };
    book.message("status/answer", &status);
    let damage = "the stored log is damaged at index 2".to_owned();
    book.message("status/damaged", &pb::GetStatusResponse { log_damage: damage, ..status });
    let report = pb::ReportProgressRequest {
        replica: replica(pb::ReplicaKind::Native),
        position: Some(at.clone()),
        lag_ms: 3,
        ..Default::default()
    };
    book.message("report", &report);
    book.message("report/of_stream", &pb::ReportProgressRequest { stream_id: 0x0102_0304_0506_0708, ..report });
    let answer = pb::ReportProgressResponse { standing: pb::Standing::Diverged.into(), tail: 26, ..Default::default() };
    book.message("report/answer", &answer);
    let timed =
        pb::ReportProgressResponse { log_id: LOG.0.to_be_bytes().to_vec(), term: 3, leader_time_us: NOW, ..answer };
    book.message("report/answer_timed", &timed);
    let listed = pb::ReplicaStatus {
        replica: replica(pb::ReplicaKind::Browser),
        connected: true,
        position: Some(at),
        standing: pb::Standing::InStep.into(),
        lag_ms: 4,
        last_heard_ms: 900,
        ..Default::default()
    };
    book.message("replicas/answer", &pb::ListReplicasResponse { replicas: vec![listed] });
    book.message("original/updates", &sharedcalculator::GetUpdatesRequest { from_index: 26 });
    let event = sharedcalculator::Event { eventindex: 26, operation: "DIVIDE".to_owned(), argument: -3 };
    book.message("original/event", &event);
    let value = sharedcalculator::GetMostRecentValueResponse { current_value: -7, latest_index: 27 };
    book.message("original/value", &value);
}

#[test]
fn recorded_bytes_keep_their_meaning() {
    let mut book = Book::open();
    let pieces = book.recorded.len();
    frames(&mut book);
    messages(&mut book);
    assert!(book.recorded.is_empty(), "recorded, but nobody says what it means: {:?}", book.recorded.keys());
    println!("not recorded yet:\n{}", book.new);
    assert!(pieces >= 30, "only {pieces} pieces are recorded");
}
