//! Checks every cell of `table.md` against what the replica does.

use super::*;
use crate::frame::SnapshotFrame;
use crate::leader::Sequencer;
use crate::{
    Batch, Digest, Durability, Goodbye, GoodbyeReason, Heartbeat, Operation, SnapshotReason, StreamId, Timestamp,
    Verdict,
};

pub(super) const LOG: LogId = LogId(0xA);
pub(super) const OTHER_LOG: LogId = LogId(0xB);
pub(super) const TERM: Term = Term(3);
pub(super) const TAIL: Index = Index(10);
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

const COLUMNS: [&str; 7] = ["connecting", "awaiting snapshot", "catching up", "live", "late", "stale", "waiting"];
const ROWS: [&str; 34] = [
    "welcome: resumed, tail ahead",
    "welcome: resumed, nothing missing",
    "welcome: snapshot, compacted",
    "welcome: snapshot, other log",
    "welcome: snapshot, diverged",
    "welcome: snapshot, fresh",
    "welcome: snapshot, ahead",
    "welcome that contradicts the request",
    "welcome with a lower term",
    "snapshot ahead",
    "snapshot before applied",
    "snapshot at applied, same digest",
    "snapshot at applied, other digest",
    "snapshot of another log",
    "batch at applied + 1",
    "batches up to the welcome's tail",
    "batch at or below applied",
    "batch that begins before applied and ends after it",
    "batch after a gap",
    "batch with a wrong digest",
    "batch with a lower term than the last",
    "heartbeat, tail = applied",
    "heartbeat, tail > applied",
    "heartbeat, tail < applied",
    "heartbeat with a lower term",
    "heartbeat that is 2.5 s old",
    "heartbeat that is 1.5 s old",
    "batch at applied + 1 that is 2.5 s old",
    "answer to a report, tail ahead",
    "answer to a report, another log or term",
    "goodbye",
    "the link closes",
    "2 s after an answer to a report",
    "half a batch, for 6 s",
];
const TIME_ROWS: [&str; 2] = ["time passes, before the deadline", "the deadline passes"];
/// When the leader's clock began, by the replica's.
const LEADER_BEGAN: Duration = Duration::from_secs(90);

#[test]
fn every_state_and_input_does_what_the_table_says() {
    let documented = include_str!("table.md");
    let actual = actual_table();
    let rows: Vec<&str> = documented.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.join("\n"), actual, "\nwhat the replica does:\n{actual}\n");
}

fn actual_table() -> String {
    let mut table = format!("| input | {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len() + 1));
    for row in ROWS.into_iter().chain(TIME_ROWS) {
        let cells = COLUMNS.map(|column| outcome(column, row));
        table += &format!("\n| {row} | {} |", cells.join(" | "));
    }
    table
}

/// What the replica does in state `column` on input `row`: the state after it, and what it told.
fn outcome(column: &str, row: &str) -> String {
    let (mut replica, now) = replica_in(column);
    assert_eq!(
        replica.state().name().replace('_', " "),
        column.replace("awaiting snapshot", "catching up").replace("late", "catching up")
    );
    while replica.poll_notice().is_some() {}
    while replica.poll_action().is_some() {}
    let before = (replica.state(), replica.snapshot());

    feed(&mut replica, row, now);

    let mut words = Vec::new();
    let mut disconnects = false;
    while let Some(action) = replica.poll_action() {
        match action {
            Action::Disconnect => disconnects = true,
            Action::Connect(_) => words.push("asks".to_owned()),
        }
    }
    while let Some(notice) = replica.poll_notice() {
        words.extend(word(&notice));
    }
    if before.1.is_some() && replica.snapshot().is_none() {
        words.push("drops its state".to_owned());
    }
    let leaves = matches!(replica.state(), State::Waiting | State::Stale) && before.0 != replica.state();
    assert_eq!(disconnects, leaves && row != "the link closes", "a link is dropped exactly when it is given up");
    let state = if before.0 == replica.state() { "·".to_owned() } else { replica.state().name().replace('_', " ") };
    if words.is_empty() { state } else { format!("{state}: {}", words.join(", ")) }
}

fn word(notice: &Notice) -> Option<String> {
    let word = match notice {
        Notice::StateChanged { .. } | Notice::Welcomed(_) => return None,
        Notice::NewLog { .. } => "new log",
        Notice::SnapshotLoaded { .. } => "loads it",
        Notice::CaughtUp(_) => "caught up",
        Notice::LagChanged => "lag changed",
        Notice::Applied { .. } => "applies it",
        Notice::Duplicate { .. } => "duplicate",
        Notice::Gap { .. } => "gap",
        Notice::Diverged(_) => "diverged",
        Notice::StaleLeader { .. } => "stale leader",
        Notice::Goodbye(_) => "goodbye",
        Notice::Violated(_) => "violation",
        Notice::LinkLost => "link lost",
        Notice::NoWelcome => "no welcome",
        Notice::Silent { .. } => "silent",
    };
    Some(word.to_owned())
}

pub(super) fn replica_in(column: &str) -> (Replica, Moment) {
    let mut replica = Replica::restore(1, snapshot_at(Index(5)));
    let mut now = Moment(LEADER_BEGAN + Duration::from_secs(10));
    replica.handle_timeout(now);
    if column == "connecting" {
        return (replica, now);
    }
    if column == "awaiting snapshot" {
        let welcome = Welcome { floor: Index(7), ..welcome(Verdict::Snapshot(SnapshotReason::Compacted)) };
        replica.handle_frame(Frame::Welcome(welcome), now);
        return (replica, now);
    }
    replica.handle_frame(Frame::Welcome(welcome(Verdict::Resumed)), now);
    // History: nobody knows how long it was on its way.
    replica.handle_frame(Frame::Batch(batch_at(Index(6), TERM)), now);
    if column == "catching up" {
        return (replica, now);
    }
    for index in 7..=TAIL.0 {
        replica.handle_frame(Frame::Batch(batch_at(Index(index), TERM)), now);
    }
    match column {
        "live" => {}
        "late" => {
            now = now.plus(LATE + Duration::from_secs(1));
            replica.handle_bytes(now);
            replica.handle_frame(heartbeat(TERM, TAIL, Timestamp(10_000_000)), now);
        }
        "stale" => {
            now = replica.poll_timeout();
            replica.handle_timeout(now);
        }
        "waiting" => replica.handle_closed(now),
        other => panic!("no state is called {other}"),
    }
    (replica, now)
}

fn feed(replica: &mut Replica, row: &str, now: Moment) {
    let applied = replica.position().index;
    let welcome_frame = |welcome| vec![Frame::Welcome(Welcome { leader_time: leader_time(now), ..welcome })];
    let lower = Term(TERM.0 - 1);
    let frames = match row {
        "welcome: resumed, tail ahead" => welcome_frame(welcome(Verdict::Resumed)),
        "welcome: resumed, nothing missing" => welcome_frame(Welcome { tail: applied, ..welcome(Verdict::Resumed) }),
        "welcome: snapshot, compacted" => {
            welcome_frame(Welcome { floor: Index(7), ..welcome(Verdict::Snapshot(SnapshotReason::Compacted)) })
        }
        "welcome: snapshot, other log" => {
            welcome_frame(Welcome { log: OTHER_LOG, ..welcome(Verdict::Snapshot(SnapshotReason::OtherLog)) })
        }
        "welcome: snapshot, diverged" => welcome_frame(welcome(Verdict::Snapshot(SnapshotReason::Diverged))),
        "welcome: snapshot, fresh" => welcome_frame(welcome(Verdict::Snapshot(SnapshotReason::Fresh))),
        "welcome: snapshot, ahead" => {
            welcome_frame(Welcome { tail: Index(4), ..welcome(Verdict::Snapshot(SnapshotReason::Ahead)) })
        }
        "welcome that contradicts the request" => {
            welcome_frame(Welcome { log: OTHER_LOG, ..welcome(Verdict::Resumed) })
        }
        "welcome with a lower term" => {
            // The replica of column "connecting" has not seen a term yet.
            replica.see_term(LOG, TERM);
            welcome_frame(Welcome { term: lower, ..welcome(Verdict::Resumed) })
        }
        "snapshot ahead" => snapshot_frame(snapshot_at(Index(12))),
        "snapshot before applied" => snapshot_frame(snapshot_at(Index(applied.0 - 1))),
        "snapshot at applied, same digest" => snapshot_frame(snapshot_at(applied)),
        "snapshot at applied, other digest" => {
            let position = Position { index: applied, digest: Digest(1) };
            snapshot_frame(Snapshot::take(LOG, position, 1))
        }
        "snapshot of another log" => snapshot_frame(Snapshot::take(OTHER_LOG, snapshot_at(Index(12)).position(), 1)),
        "batch at applied + 1" => fresh(&batch_at(applied.next(), TERM), now),
        "batches up to the welcome's tail" => {
            let missing = applied.0 + 1..=TAIL.0.max(applied.0 + 1);
            missing.flat_map(|index| fresh(&batch_at(Index(index), TERM), now)).collect()
        }
        "batch at or below applied" => vec![Frame::Batch(batch_at(applied, TERM))],
        "batch that begins before applied and ends after it" => {
            let mut sequencer = sequencer_at(Index(applied.0 - 1), TERM);
            for n in [applied.0, applied.0 + 1] {
                sequencer.propose(Operation::Add(i64::try_from(n).unwrap())).unwrap();
            }
            vec![Frame::Batch(sequencer.seal(leader_time(now)).unwrap())]
        }
        "batch after a gap" => vec![Frame::Batch(batch_at(applied.next().next(), TERM))],
        "batch with a wrong digest" => {
            let good = batch_at(applied.next(), TERM);
            let altered = vec![Operation::Add(1_000)];
            vec![Frame::Batch(Batch::new(TERM, good.first(), altered, good.digest(), Timestamp(0)).unwrap())]
        }
        "batch with a lower term than the last" => {
            vec![Frame::Batch(batch_at(applied.next(), lower))]
        }
        "heartbeat, tail = applied" => vec![heartbeat(TERM, applied, leader_time(now))],
        "heartbeat, tail > applied" => vec![heartbeat(TERM, applied.next(), leader_time(now))],
        "heartbeat, tail < applied" => vec![heartbeat(TERM, Index(applied.0 - 1), leader_time(now))],
        "heartbeat with a lower term" => vec![heartbeat(lower, applied, leader_time(now))],
        "heartbeat that is 2.5 s old" => vec![heartbeat(TERM, applied, ago(2_500, now))],
        "heartbeat that is 1.5 s old" => vec![heartbeat(TERM, applied, ago(1_500, now))],
        "batch at applied + 1 that is 2.5 s old" => {
            vec![Frame::Batch(committed(&batch_at(applied.next(), TERM), ago(2_500, now)))]
        }
        "answer to a report, tail ahead" => {
            return replica.handle_report_answer(answer(applied.next(), now), now, now);
        }
        "answer to a report, another log or term" => {
            for other in [
                Answer { log: OTHER_LOG, ..answer(applied.next(), now) },
                Answer { term: lower, ..answer(applied.next(), now) },
                Answer { term: Term(TERM.0 + 1), ..answer(applied.next(), now) },
            ] {
                replica.handle_report_answer(other, now, now);
            }
            return;
        }
        "2 s after an answer to a report" => {
            replica.handle_report_answer(answer(applied, now), now, now);
            let later = now.plus(TAIL_KNOWN_FOR);
            replica.handle_bytes(later);
            return replica.handle_timeout(later);
        }
        "half a batch, for 6 s" => {
            for tenths in 1..=60 {
                let later = now.plus(Duration::from_millis(100 * tenths));
                replica.handle_bytes(later);
                replica.handle_timeout(later);
            }
            return;
        }
        "goodbye" => {
            let reason = GoodbyeReason::ShuttingDown;
            vec![Frame::Goodbye(Goodbye { reason, retry_after: Duration::from_secs(1) })]
        }
        "the link closes" => return replica.handle_closed(now),
        "time passes, before the deadline" => {
            let deadline = replica.poll_timeout();
            let before = Moment(deadline.0.saturating_sub(Duration::from_micros(1)));
            return replica.handle_timeout(before);
        }
        "the deadline passes" => return replica.handle_timeout(replica.poll_timeout()),
        other => panic!("no input is called {other}"),
    };
    for frame in frames {
        replica.handle_frame(frame, now);
    }
}

pub(super) fn welcome(verdict: Verdict) -> Welcome {
    Welcome {
        log: LOG,
        term: TERM,
        tail: TAIL,
        floor: Index(0),
        heartbeat_interval: HEARTBEAT,
        durability: Durability::Memory,
        leader_time: Timestamp(10_000_000),
        verdict,
        damaged: false,
        stream: StreamId(1),
    }
}

pub(super) fn heartbeat(term: Term, tail: Index, leader_time: Timestamp) -> Frame {
    Frame::Heartbeat(Heartbeat { term, tail, floor: Index(0), leader_time })
}

pub(super) fn answer(tail: Index, now: Moment) -> Answer {
    Answer { log: LOG, term: TERM, tail, leader_time: leader_time(now) }
}

pub(super) fn leader_time(now: Moment) -> Timestamp {
    ago(0, now)
}

pub(super) fn ago(millis: u64, now: Moment) -> Timestamp {
    let then = now.0 - LEADER_BEGAN - Duration::from_millis(millis);
    Timestamp(u64::try_from(then.as_micros()).unwrap())
}

fn committed(batch: &Batch, at: Timestamp) -> Batch {
    Batch::new(batch.term(), batch.first(), batch.operations().to_vec(), batch.digest(), at).unwrap()
}

pub(super) fn fresh(batch: &Batch, now: Moment) -> Vec<Frame> {
    vec![Frame::Batch(committed(batch, leader_time(now)))]
}

pub(super) fn snapshot_frame(snapshot: Snapshot) -> Vec<Frame> {
    vec![Frame::Snapshot(SnapshotFrame { term: TERM, snapshot })]
}

/// The log of this test: event `n` adds `n`.
fn sequencer_at(index: Index, term: Term) -> Sequencer {
    let mut sequencer = Sequencer::new(term, Snapshot::take(LOG, Position::origin(LOG), 0), []);
    for n in 1..=index.0 {
        sequencer.propose(Operation::Add(i64::try_from(n).unwrap())).unwrap();
    }
    sequencer.seal(Timestamp(0));
    sequencer.commit();
    sequencer
}

pub(super) fn snapshot_at(index: Index) -> Snapshot {
    sequencer_at(index, TERM).committed()
}

pub(super) fn batch_at(index: Index, term: Term) -> Batch {
    let mut sequencer = sequencer_at(Index(index.0 - 1), term);
    sequencer.propose(Operation::Add(i64::try_from(index.0).unwrap())).unwrap();
    sequencer.seal(Timestamp(0)).unwrap()
}
