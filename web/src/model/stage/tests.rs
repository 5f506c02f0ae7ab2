//! What the lanes show of a roster.

use engine::{Digest, LogId, Position, Resume, Snapshot, Term, Timestamp};
use wire::Identity;

use super::*;

const LOG: LogId = LogId(7);

fn at(seconds: u64) -> Now {
    Now { at: engine::Moment(Duration::from_secs(seconds)), ..Now::default() }
}

fn position(index: u64) -> Position {
    Position { index: Index(index), digest: Digest(0xabcd_0000_0000_0000 + index) }
}

fn row(name: &str, index: u64) -> RosterRow {
    RosterRow {
        identity: Identity { id: name.to_owned(), name: name.to_owned(), kind: ReplicaKind::Native },
        original: false,
        connected: true,
        position: Some(Resume { log: LOG, position: position(index) }),
        value: Some(42),
        standing: Standing::InStep,
        lag: Duration::from_millis(2),
        last_heard: Duration::from_millis(200),
        sent: Index(index),
        streaming: Some(Duration::from_secs(60)),
        verdict: Some(Verdict::Resumed),
        streams: 1,
    }
}

fn roster(tail: u64, replicas: Vec<RosterRow>) -> Roster {
    Roster {
        tail: Snapshot::take(LOG, position(tail), 1_234),
        term: Term(3),
        floor: Index::ZERO,
        leader_time: Timestamp(0),
        newest: vec![Operation::Add(5), Operation::SquareRoot],
        connected: u32::try_from(replicas.len()).unwrap(),
        replicas,
        not_shown: 0,
        generator: None,
    }
}

/// A page that held the event before `tail` before a reload, and heard a list.
fn model(tail: u64, replicas: Vec<RosterRow>) -> Model {
    let held = Snapshot::take(LOG, position(tail - 1), 41);
    let mut model = Model::new("me".to_owned(), "browser-1a2b".to_owned(), Some(held));
    model.handle_roster(roster(tail, replicas), at(10));
    model
}

/// Sign, verdict and detail of the only other lane.
fn told(change: impl FnOnce(&mut RosterRow)) -> (&'static str, String, String) {
    let mut replica = row("replica-1", 1_000);
    change(&mut replica);
    let mut model = model(1_000, vec![replica]);
    let strip = model.strip(None, 12, at(10));
    let lane = model.other_lanes(&strip, at(10)).remove(0);
    (lane.sign, lane.verdict, lane.detail)
}

#[test]
fn a_lane_says_how_its_replica_is() {
    let says = |sign: &'static str, verdict: &str, detail: &str| (sign, verdict.to_owned(), detail.to_owned());
    assert_eq!(told(|_| {}), says("✓", "#1,000", "abcd…03e8"));
    assert_eq!(told(|row| row.streaming = Some(Duration::from_secs(2))), says("✓", "#1,000", "resumed just now"));
    let behind = |row: &mut RosterRow| {
        row.position = Some(Resume { log: LOG, position: position(900) });
        row.lag = Duration::from_millis(2_100);
    };
    assert_eq!(told(behind), says("↻", "#900", "100 events behind, 2.1 s"));
    let stalled = |row: &mut RosterRow| (row.connected, row.last_heard) = (false, Duration::from_secs(7));
    assert_eq!(told(stalled), says("○", "stalled at #1,000", "silent for 7.0 s"));
    let left = |row: &mut RosterRow| (row.connected, row.streams, row.last_heard) = (false, 0, Duration::from_secs(12));
    assert_eq!(told(left), says("", "left at #1,000", "12.0 s ago"));
    assert_eq!(told(|row| row.standing = Standing::Diverged), says("✕", "diverged at #1,000", "holds something else"));
    assert_eq!(told(|row| row.position = None), says("↻", "joins", ""));
    let original = |row: &mut RosterRow| (row.original, row.position) = (true, None);
    assert_eq!(told(original), says("→", "sent #1,000", "reports nothing"));
    let dropped = |row: &mut RosterRow| {
        row.streaming = Some(Duration::from_secs(1));
        row.verdict = Some(Verdict::Snapshot(SnapshotReason::Diverged));
    };
    assert_eq!(told(dropped), says("✓", "#1,000", "snapshot: diverged"));
}

#[test]
fn a_report_from_before_the_newest_events_is_not_behind() {
    let mut model = model(1_000, vec![row("replica-1", 1_000)]);
    // Five hundred events a second, reported 200 ms ago.
    for tenth in 0..30_u64 {
        let now = Now { at: engine::Moment(Duration::from_millis(10_000 + tenth * 100)), ..Now::default() };
        let tail = 1_000 + tenth * 50;
        model.handle_roster(roster(tail, vec![row("replica-1", tail.saturating_sub(100))]), now);
        let strip = model.strip(None, 12, now);
        if tenth > 5 {
            assert_eq!(model.other_lanes(&strip, now)[0].sign, "✓", "at {tail}");
        }
    }
}

#[test]
fn the_own_lane_stands_first_and_only_once() {
    let mut model = model(1_000, vec![row("me", 999), row("replica-1", 1_000)]);
    let strip = model.strip(None, 12, at(10));
    let others: Vec<String> = model.other_lanes(&strip, at(10)).into_iter().map(|lane| lane.who).collect();
    assert_eq!(others, ["replica-1"]);
    let own = model.own_lane(&strip, at(10));
    assert_eq!((own.who.as_str(), own.verdict.as_str(), own.detail.as_str()), ("browser-1a2b", "#999", "1 behind"));
    assert_eq!(model.audience(None, at(10)), "1 leader · 2 replicas connected · newest on the right");
}

#[test]
fn the_leaders_cells_come_from_its_list_and_this_pages_wait() {
    let mut model = model(1_000, vec![]);
    let strip = model.strip(None, 12, at(10));
    let cell = |number, of_leader| {
        let cell = model.cell(&strip, number, of_leader);
        (cell.index, cell.text, cell.state)
    };
    let shows = |index: &str, text: &str, state| (index.to_owned(), text.to_owned(), state);
    assert_eq!(cell(999, true), shows("1,000", "√", CellState::Held));
    assert_eq!(cell(998, true), shows("999", "+ 5", CellState::Held));
    assert_eq!(cell(998, false), shows("999", "+ 5", CellState::Held));
    assert_eq!(cell(999, false), shows("1,000", "√", CellState::Waiting));
    assert_eq!(cell(1_000, true), shows("1,001", "next", CellState::Empty));
    assert_eq!(cell(1_001, true).1, "", "only one event is the next");
    assert_eq!(cell(990, true).1, "·", "an operation that nobody told");
}

#[test]
fn the_leader_is_not_gone_while_either_way_to_it_works() {
    let mut model = model(1_000, vec![row("replica-1", 1_000)]);
    let lane = model.leader_lane(at(12));
    assert_eq!((lane.present, lane.verdict.as_str(), lane.value.as_str()), (true, "#1,000", "1,234"));
    assert!(!model.leader_lane(at(16)).present);
    assert!(model.audience(None, at(16)).contains("as of"));
    model.handle_roster(roster(1_001, vec![]), at(17));
    assert!(model.leader_lane(at(17)).present);
}

#[test]
fn what_an_old_list_says_of_others_is_not_shown_as_known() {
    let mut model = model(1_000, vec![row("replica-1", 1_000)]);
    let strip = model.strip(None, 12, at(10));
    let says = |model: &Model, now| {
        let lane = model.other_lanes(&strip, now).remove(0);
        (lane.tone, lane.sign, lane.verdict, lane.detail, lane.present)
    };
    assert_eq!(says(&model, at(14)).1, "✓");
    let old = (Tone::Idle, "", "#1,000".to_owned(), "as of 00:00:00".to_owned(), false);
    assert_eq!(says(&model, at(16)), old);
    assert!(!model.hears_lists(at(16)));
    // It is known sooner if the stream of the lists ends.
    model.handle_no_roster();
    assert_eq!(says(&model, at(11)), old);
    model.handle_roster(roster(1_000, vec![row("replica-1", 1_000)]), at(12));
    assert_eq!(says(&model, at(12)).1, "✓");
}

#[test]
fn a_log_that_grew_unheard_is_not_a_fast_one() {
    let mut model = model(1_000, vec![]);
    let scale_at = |model: &mut Model, tenths: u64| {
        let now = Now { at: engine::Moment(Duration::from_millis(tenths * 100)), ..Now::default() };
        model.strip(None, 12, now).scale
    };
    assert!((100..120).all(|tenths| scale_at(&mut model, tenths) == 1));
    model.handle_roster(roster(90_000, vec![]), at(60));
    assert!((600..605).all(|tenths| scale_at(&mut model, tenths) == 1));
}

#[test]
fn of_many_lanes_those_with_a_problem_come_first() {
    let of = |count: usize| {
        let mut rows: Vec<_> = (0..count).map(|number| row(&format!("replica-{number}"), 1_000)).collect();
        (rows[3].connected, rows[3].last_heard) = (false, Duration::from_secs(7));
        let mut model = model(1_000, rows);
        let strip = model.strip(None, 12, at(10));
        model.other_lanes(&strip, at(10)).into_iter().map(|lane| lane.who).collect::<Vec<_>>()
    };
    assert_eq!(of(5)[0], "replica-0");
    assert_eq!(of(6)[..3], ["replica-3", "replica-0", "replica-1"]);
}

#[test]
fn a_replica_far_behind_stays_visible_at_the_left() {
    let mut model = model(1_000, vec![row("replica-1", 3)]);
    let strip = model.strip(None, 12, at(10));
    let lane = model.other_lanes(&strip, at(10)).remove(0);
    assert!(lane.is_before && lane.place > 0, "{lane:?}");
}

#[test]
fn a_floor_that_rises_shortens_history_unless_it_is_of_another_log() {
    let mut model = model(1_000, vec![]);
    model.history.handle_log(LOG, Index(100), Index(999));
    model.travel.handle_log(LOG, Index(100), Index(999));
    model.handle_roster(Roster { floor: Index(400), ..roster(1_001, vec![]) }, at(11));
    assert_eq!((model.history.len(), model.travel.range()), (599, (Index(400), Index(999))));
    let tail = Snapshot::take(LogId(8), position(5), 0);
    model.handle_roster(Roster { floor: Index(700), tail, ..roster(5, vec![]) }, at(12));
    assert_eq!((model.history.len(), model.travel.range().0), (599, Index(400)));
}
