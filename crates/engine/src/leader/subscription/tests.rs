//! Checks every cell of `subscription.md`.

use super::*;
use crate::{Digest, LogId, Position, Term};

const LOG: LogId = LogId(1);

/// The log of these tests: history after event 10, the tail at 20. Every event is a batch of its own.
fn view() -> LogView {
    LogView { log: LOG, term: Term(1), tail: end(20), floor: Index(10) }
}

fn end(index: u64) -> Position {
    Position { index: Index(index), digest: Digest(index * 7) }
}

/// Event 18 is frame 100, and so on up to the tail, with a heartbeat as the last frame.
struct Ring {
    oldest: u64,
    first: Option<u64>,
}

const RING: Ring = Ring { oldest: 100, first: Some(18) };
const NEXT_FRAME: u64 = 104;

impl RecentFrames for Ring {
    fn first_event(&self) -> Option<Index> {
        self.first.map(Index)
    }

    fn oldest(&self) -> u64 {
        self.oldest
    }

    fn next(&self) -> u64 {
        NEXT_FRAME
    }

    fn locate(&self, index: Index) -> u64 {
        if index.0 > 20 { NEXT_FRAME } else { 100 + index.0 - 18 }
    }
}

const OPEN_COLUMNS: [&str; 3] = ["history is sound", "events 13 and 14 are damaged", "events 18 to 20 are damaged"];
const OPEN_ROWS: [&str; 13] = [
    "nothing",
    "a position in another log",
    "event 21",
    "event 9",
    "event 9, whose digest is damaged",
    "event 10",
    "event 12",
    "event 12, another digest",
    "event 12, where no batch ends",
    "event 13, whose digest is damaged",
    "event 14",
    "event 17",
    "event 20",
];

fn opened(column: &str, row: &str) -> String {
    let held = |index| Some(Resume { log: LOG, position: end(index) });
    let same = |index| KnownDigest::End(end(index).digest);
    let (resume, known) = match row {
        "nothing" => (None, KnownDigest::NoEnd),
        "a position in another log" => (Some(Resume { log: LogId(2), position: end(12) }), same(12)),
        "event 21" => (held(21), KnownDigest::NoEnd),
        "event 9" => (held(9), KnownDigest::NoEnd),
        "event 9, whose digest is damaged" => (held(9), KnownDigest::Damaged),
        "event 10" => (held(10), same(10)),
        "event 12" => (held(12), same(12)),
        "event 12, another digest" => (held(12), same(11)),
        "event 12, where no batch ends" => (held(12), KnownDigest::NoEnd),
        "event 13, whose digest is damaged" => (held(13), KnownDigest::Damaged),
        "event 14" => (held(14), same(14)),
        "event 17" => (held(17), same(17)),
        "event 20" => (held(20), same(20)),
        other => panic!("nobody holds {other}"),
    };
    let damage = match column {
        "history is sound" => None,
        "events 13 and 14 are damaged" => Some(Index(13)..=Index(14)),
        "events 18 to 20 are damaged" => Some(Index(18)..=Index(20)),
        other => panic!("no history is called {other}"),
    };
    let admission = Subscription::open(&view(), resume, known, damage, RING.first_event());
    let Admission { verdict, floor, damaged, subscription } = admission;
    let resumed = verdict == Verdict::Resumed;
    assert_eq!(subscription.next() == Index(21), !resumed || row == "event 20", "a snapshot is one of the tail");
    let damaged = if damaged { format!("damaged, floor {floor}, ") } else { String::new() };
    assert!(damaged.is_empty() == (floor == view().floor));
    format!("{verdict}, {damaged}then from {}", subscription.next())
}

const STEP_COLUMNS: [&str; 7] = [
    "in the ring, frames left",
    "in the ring, all sent",
    "fell out of the ring",
    "outside, next is in the ring",
    "outside, next is in the store",
    "outside, next is compacted",
    "outside, all sent",
];
const STEP_ROWS: [&str; 9] = [
    "asks",
    "asks after the goodbye",
    "asks when all is compacted but the tail",
    "asks when the ring is empty",
    "was sent frames up to event 19",
    "was sent frames up to the last",
    "was sent batches up to event 14",
    "was sent batches up to event 19",
    "was sent a snapshot",
];

fn in_state(column: &str) -> Subscription {
    match column {
        "in the ring, frames left" => Subscription { next: Index(19), in_ring: Some(101) },
        "in the ring, all sent" => Subscription { next: Index(21), in_ring: Some(NEXT_FRAME) },
        "fell out of the ring" => Subscription { next: Index(15), in_ring: Some(97) },
        "outside, next is in the ring" => Subscription::new(Index(18)),
        "outside, next is in the store" => Subscription::new(Index(12)),
        "outside, next is compacted" => Subscription::new(Index(10)),
        "outside, all sent" => Subscription::new(Index(21)),
        other => panic!("no state is called {other}"),
    }
}

fn stepped(column: &str, row: &str) -> String {
    let mut subscription = in_state(column);
    let (mut view, mut ring, mut closed) = (view(), RING, false);
    match row {
        "asks" => {}
        "asks after the goodbye" => closed = true,
        "asks when all is compacted but the tail" => view.floor = Index(19),
        "asks when the ring is empty" => ring = Ring { oldest: NEXT_FRAME, first: None },
        "was sent frames up to event 19" => subscription.sent_frames(102, Index(19)),
        "was sent frames up to the last" => subscription.sent_frames(NEXT_FRAME, Index(20)),
        "was sent batches up to event 14" => subscription.sent_batches(Index(14)),
        "was sent batches up to event 19" => subscription.sent_batches(Index(19)),
        "was sent a snapshot" => subscription.sent_snapshot(view.tail.index),
        other => panic!("no input is called {other}"),
    }
    let step = match subscription.poll_send(&view, &ring, closed) {
        ToSend::Ring(frame) => format!("ring, frame {frame}"),
        ToSend::Store(from) => format!("store, event {from}"),
        ToSend::Snapshot => "snapshot".to_owned(),
        ToSend::Wait => "waits".to_owned(),
        ToSend::Goodbye => "goodbye".to_owned(),
    };
    assert!(subscription.next() >= in_state(column).next(), "a subscriber never goes back");
    step
}

#[test]
fn every_state_and_input_does_what_the_tables_say() {
    let table = |first: &str, columns: &[&str], rows: &[&str], outcome: fn(&str, &str) -> String| {
        let mut table = format!("| {first} | {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len() + 1));
        for row in rows {
            let cells: Vec<String> = columns.iter().map(|column| outcome(column, row)).collect();
            table += &format!("\n| {row} | {} |", cells.join(" | "));
        }
        table
    };
    let actual = [
        table("the replica holds", &OPEN_COLUMNS, &OPEN_ROWS, opened),
        table("the subscriber", &STEP_COLUMNS, &STEP_ROWS, stepped),
    ]
    .join("\n");
    let documented: Vec<&str> =
        include_str!("../subscription.md").lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(documented.join("\n"), actual, "\nwhat happens:\n{actual}\n");
}
