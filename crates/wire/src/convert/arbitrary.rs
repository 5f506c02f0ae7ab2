//! Frames of all kinds, for property tests.

use std::time::Duration;

use engine::frame::SnapshotFrame;
use engine::{
    AuthorRun, Authors, Batch, Digest, Durability, Frame, Goodbye, GoodbyeReason, Heartbeat, Identity, Index, LogId,
    Operation, Position, Snapshot, SnapshotReason, StreamId, Term, Timestamp, Verdict, Welcome,
};
use proptest::prelude::*;

/// A valid frame of any kind.
pub(crate) fn frame() -> impl Strategy<Value = Frame> {
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
    let operations = prop::collection::vec(operation(), 1..40);
    let batch = (any::<(u64, u64, u64)>(), 1..u64::MAX / 2, operations, authors()).prop_map(
        |((term, digest, time), first, operations, authors)| {
            let batch = Batch::new(Term(term), Index(first), operations, Digest(digest), Timestamp(time));
            Frame::Batch(batch.unwrap().with_authors(authors))
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

fn authors() -> impl Strategy<Value = Authors> {
    let identity = ("[a-z]{0,64}", "\\PC{0,16}").prop_map(|(id, name)| Identity { id, name, ..Identity::default() });
    let run = any::<(u32, u32)>().prop_map(|(events, author)| AuthorRun { events, author: author % 8 });
    let parts = (prop::collection::vec(identity, 0..5), prop::collection::vec(run, 0..5));
    parts.prop_map(|(dictionary, runs)| Authors::new(dictionary, runs))
}

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
