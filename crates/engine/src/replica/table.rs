//! Checks every cell of `table.md` against what the replica does.

use super::*;
use crate::frame::SnapshotFrame;
use crate::leader::Sequencer;
use crate::{
    Batch, Digest, Durability, Goodbye, GoodbyeReason, Heartbeat, Operation, SnapshotReason, StreamId, Timestamp,
    Verdict,
};

const LOG: LogId = LogId(0xA);
const OTHER_LOG: LogId = LogId(0xB);
const TERM: Term = Term(3);
const TAIL: Index = Index(10);
const HEARTBEAT: Duration = Duration::from_secs(1);

const COLUMNS: [&str; 6] = ["connecting", "awaiting snapshot", "catching up", "live", "stale", "waiting"];
const ROWS: [&str; 22] = [
    "welcome: resumed, tail ahead",
    "welcome: resumed, nothing missing",
    "welcome: snapshot, compacted",
    "welcome: snapshot, other log",
    "welcome: snapshot, diverged",
    "welcome that contradicts the request",
    "welcome with a lower term",
    "snapshot ahead",
    "snapshot at applied, same digest",
    "snapshot at applied, other digest",
    "snapshot of another log",
    "batch at applied + 1",
    "batches up to the welcome's tail",
    "batch at or below applied",
    "batch after a gap",
    "batch with a wrong digest",
    "batch with a lower term than the last",
    "heartbeat, tail = applied",
    "heartbeat, tail > applied",
    "heartbeat with a lower term",
    "goodbye",
    "the link closes",
];
const TIME_ROWS: [&str; 2] = ["time passes, before the deadline", "the deadline passes"];

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
    assert_eq!(replica.state().name().replace('_', " "), column.replace("awaiting snapshot", "catching up"));
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

fn replica_in(column: &str) -> (Replica, Moment) {
    let mut replica = Replica::restore(1, snapshot_at(Index(5)));
    let mut now = Moment(Duration::from_secs(100));
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
    replica.handle_frame(Frame::Batch(batch_at(Index(6), TERM)), now);
    if column == "catching up" {
        return (replica, now);
    }
    for index in 7..=TAIL.0 {
        replica.handle_frame(Frame::Batch(batch_at(Index(index), TERM)), now);
    }
    match column {
        "live" => {}
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
    let welcome_frame = |welcome| vec![Frame::Welcome(welcome)];
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
        "welcome that contradicts the request" => {
            welcome_frame(Welcome { log: OTHER_LOG, ..welcome(Verdict::Resumed) })
        }
        "welcome with a lower term" => {
            // The replica of column "connecting" has not seen a term yet.
            replica.see_term(LOG, TERM);
            welcome_frame(Welcome { term: lower, ..welcome(Verdict::Resumed) })
        }
        "snapshot ahead" => snapshot_frame(snapshot_at(Index(12))),
        "snapshot at applied, same digest" => snapshot_frame(snapshot_at(applied)),
        "snapshot at applied, other digest" => {
            let position = Position { index: applied, digest: Digest(1) };
            snapshot_frame(Snapshot::take(LOG, position, 1))
        }
        "snapshot of another log" => snapshot_frame(Snapshot::take(OTHER_LOG, snapshot_at(Index(12)).position(), 1)),
        "batch at applied + 1" => vec![Frame::Batch(batch_at(applied.next(), TERM))],
        "batches up to the welcome's tail" => {
            (applied.0 + 1..=TAIL.0.max(applied.0 + 1)).map(|i| Frame::Batch(batch_at(Index(i), TERM))).collect()
        }
        "batch at or below applied" => vec![Frame::Batch(batch_at(applied, TERM))],
        "batch after a gap" => vec![Frame::Batch(batch_at(applied.next().next(), TERM))],
        "batch with a wrong digest" => {
            let good = batch_at(applied.next(), TERM);
            let altered = vec![Operation::Add(1_000)];
            vec![Frame::Batch(Batch::new(TERM, good.first(), altered, good.digest(), Timestamp(0)).unwrap())]
        }
        "batch with a lower term than the last" => {
            vec![Frame::Batch(batch_at(applied.next(), lower))]
        }
        "heartbeat, tail = applied" => heartbeat(TERM, applied),
        "heartbeat, tail > applied" => heartbeat(TERM, applied.next()),
        "heartbeat with a lower term" => heartbeat(lower, applied),
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

fn welcome(verdict: Verdict) -> Welcome {
    Welcome {
        log: LOG,
        term: TERM,
        tail: TAIL,
        floor: Index(0),
        heartbeat_interval: HEARTBEAT,
        durability: Durability::Memory,
        leader_time: Timestamp(0),
        verdict,
        damaged: false,
        stream: StreamId(1),
    }
}

fn heartbeat(term: Term, tail: Index) -> Vec<Frame> {
    vec![Frame::Heartbeat(Heartbeat { term, tail, floor: Index(0), leader_time: Timestamp(0) })]
}

fn snapshot_frame(snapshot: Snapshot) -> Vec<Frame> {
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

fn snapshot_at(index: Index) -> Snapshot {
    sequencer_at(index, TERM).committed()
}

fn batch_at(index: Index, term: Term) -> Batch {
    let mut sequencer = sequencer_at(Index(index.0 - 1), term);
    sequencer.propose(Operation::Add(i64::try_from(index.0).unwrap())).unwrap();
    sequencer.seal(Timestamp(0)).unwrap()
}

#[test]
fn a_leader_cannot_send_a_replica_away_for_longer_than_a_minute() {
    let (mut replica, now) = replica_in("live");
    let forever = Goodbye { reason: GoodbyeReason::ShuttingDown, retry_after: Duration::from_secs(u64::MAX) };
    replica.handle_frame(Frame::Goodbye(forever), now);
    assert!(replica.poll_timeout() <= now.plus(MAX_RETRY_AFTER + Duration::from_secs(5)));
}

#[test]
fn a_heartbeat_interval_that_would_hide_a_dead_link_is_not_believed() {
    for (interval, state) in [(MAX_HEARTBEAT_INTERVAL, State::CatchingUp), (Duration::MAX, State::Waiting)] {
        let (mut replica, now) = replica_in("connecting");
        let welcome = Welcome { heartbeat_interval: interval, ..welcome(Verdict::Resumed) };
        replica.handle_frame(Frame::Welcome(welcome), now);
        assert_eq!(replica.state(), state, "{interval:?}");
    }
}
