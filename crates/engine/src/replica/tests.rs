//! What a replica reports about itself, and its bounds.

use super::table::{
    LOG, OTHER_LOG, TAIL, TERM, answer, batch_at, heartbeat, leader_time, replica_in, snapshot_at, snapshot_frame,
    welcome,
};
use super::*;
use crate::{Batch, Goodbye, GoodbyeReason, Verdict};

fn notices(replica: &mut Replica) -> Vec<Notice> {
    std::iter::from_fn(|| replica.poll_notice()).collect()
}

#[test]
fn a_replica_says_what_it_holds_and_what_it_knows_of_its_leader() {
    let (replica, _) = replica_in("connecting");
    assert_eq!((replica.welcome(), replica.term(), replica.tail()), (None, None, Index(5)));
    let (mut replica, now) = replica_in("catching up");
    assert_eq!(replica.welcome().map(|welcome| welcome.tail), Some(TAIL));
    assert_eq!((replica.value(), replica.term(), replica.tail()), (Some(21), Some(TERM), TAIL));
    assert_eq!(replica.lag_events(), Some(Lag { events: 4, exact: false }));
    replica.handle_closed(now);
    assert_eq!((replica.welcome(), replica.lag_events()), (None, None));
    assert_eq!(
        (replica.value(), replica.term(), replica.position()),
        (Some(21), Some(TERM), snapshot_at(Index(6)).position())
    );
}

#[test]
fn each_change_of_state_is_reported_once() {
    use State::{CatchingUp, Connecting, Live, Stale, Waiting};
    let changes = |replica: &mut Replica| {
        let change = |notice| if let Notice::StateChanged { from, to } = notice { Some((from, to)) } else { None };
        notices(replica).into_iter().filter_map(change).collect::<Vec<_>>()
    };
    let (mut replica, _) = replica_in("live");
    assert_eq!(changes(&mut replica), [(Waiting, Connecting), (Connecting, CatchingUp), (CatchingUp, Live)]);
    let timeout = replica.poll_timeout();
    replica.handle_timeout(timeout);
    assert_eq!(changes(&mut replica), [(Live, Stale)]);
    let (mut replica, now) = replica_in("live");
    changes(&mut replica);
    replica.handle_bytes(now);
    replica.handle_frame(heartbeat(TERM, TAIL, leader_time(now)), now);
    assert_eq!(changes(&mut replica), []);
    let (mut replica, _) = replica_in("stale");
    assert_eq!(changes(&mut replica).last().map(|change| change.1), Some(Stale));
}

#[test]
fn a_welcome_must_fit_the_position_that_was_asked_from() {
    use SnapshotReason::Compacted;
    // The replica of column "connecting" asks from event 5.
    let fits = |verdict, floor, tail| {
        let (mut replica, now) = replica_in("connecting");
        let welcome =
            Welcome { floor: Index(floor), tail: Index(tail), leader_time: leader_time(now), ..welcome(verdict) };
        replica.handle_frame(Frame::Welcome(welcome), now);
        replica.state() != State::Waiting
    };
    let resumed = |floor, tail| fits(Verdict::Resumed, floor, tail);
    assert!(resumed(5, 5) && resumed(0, 10));
    assert!(!resumed(6, 10), "it lies below the floor");
    assert!(!resumed(0, 4), "it lies beyond the tail");
    assert!(fits(Verdict::Snapshot(Compacted), 6, 10));
    assert!(!fits(Verdict::Snapshot(Compacted), 5, 10), "it was not compacted");
    assert!(!fits(Verdict::Snapshot(SnapshotReason::Fresh), 11, 10), "the floor lies beyond the tail");
}

#[test]
fn the_way_to_live_says_where_it_began_and_how_many_events_it_took() {
    let (mut replica, _) = replica_in("live");
    let resync = notices(&mut replica).into_iter().find_map(|notice| match notice {
        Notice::CaughtUp(resync) => Some(resync),
        _ => None,
    });
    let resync = resync.unwrap();
    assert_eq!(
        (resync.from.map(|from| from.position), resync.snapshot),
        (Some(snapshot_at(Index(5)).position()), None)
    );
    assert_eq!((resync.events, resync.verdict), (5, Verdict::Resumed));
}

/// The leader's clock when it was `age` before `now`.
fn aged(age: Duration, now: Moment) -> Timestamp {
    Timestamp(leader_time(now).0 - u64::try_from(age.as_micros()).unwrap())
}

const MICROSECOND: Duration = Duration::from_micros(1);

#[test]
fn lag_is_the_time_from_commit_to_apply() {
    let (mut replica, now) = replica_in("live");
    assert_eq!(replica.lag(), Some(Duration::from_secs(10)), "history was committed when the leader's clock began");
    let batch = batch_at(TAIL.next(), TERM);
    let committed_at = aged(Duration::from_millis(300), now);
    let batch = Batch::new(batch.term(), batch.first(), batch.operations().to_vec(), batch.digest(), committed_at);
    replica.handle_frame(Frame::Batch(batch.unwrap()), now);
    assert_eq!(replica.lag(), Some(Duration::from_millis(300)));
    assert_eq!(replica_in("connecting").0.lag(), None);
}

#[test]
fn late_and_prompt_include_their_limits() {
    for (age, state) in [(LATE, State::Live), (LATE + MICROSECOND, State::CatchingUp)] {
        let (mut replica, now) = replica_in("live");
        replica.handle_frame(heartbeat(TERM, TAIL, aged(age, now)), now);
        assert_eq!(replica.state(), state, "{age:?}");
    }
    for (age, state) in [(PROMPT, State::Live), (PROMPT + MICROSECOND, State::CatchingUp)] {
        let (mut replica, now) = replica_in("late");
        replica.handle_frame(heartbeat(TERM, TAIL, aged(age, now)), now);
        assert_eq!(replica.state(), state, "{age:?}");
    }
}

#[test]
fn a_state_is_overdue_after_three_heartbeats_and_the_limit_for_late() {
    let limit = STALE_AFTER_HEARTBEATS * super::table::HEARTBEAT + LATE;
    for (age, state) in [(limit, State::Live), (limit + MICROSECOND, State::CatchingUp)] {
        let (mut replica, now) = replica_in("live");
        let later = now.plus(age);
        // Bytes keep the link from being silent.
        replica.handle_bytes(later);
        assert!(replica.poll_timeout() >= now.plus(limit + MICROSECOND), "nothing is due before");
        replica.judge_timeliness(later);
        assert_eq!(replica.state(), state, "{age:?}");
    }
}

#[test]
fn the_tail_in_an_answer_counts_for_two_seconds_from_the_request() {
    let exact = |asked_before: Duration| {
        let (mut replica, now) = replica_in("live");
        let now = now.plus(TAIL_KNOWN_FOR);
        let asked = Moment(now.0 - asked_before);
        replica.handle_report_answer(answer(TAIL.next(), now), asked, now);
        replica.lag_events()
    };
    let lag = |exact| Some(Lag { events: 1, exact });
    assert_eq!(exact(TAIL_KNOWN_FOR - MICROSECOND), lag(true));
    assert_eq!(exact(TAIL_KNOWN_FOR), lag(false));
}

#[test]
fn the_clock_of_the_same_leader_is_kept_and_that_of_another_one_learned_anew() {
    // The leader writes its welcome at once, and it travels for two seconds: taken alone, that is a second off.
    for (term, seconds) in [(TERM, 5), (Term(TERM.0 + 1), 4)] {
        let (mut replica, _) = replica_in("waiting");
        let asked = replica.poll_timeout();
        replica.handle_timeout(asked);
        let now = asked.plus(Duration::from_secs(2));
        let welcome = Welcome { term, leader_time: leader_time(asked), ..welcome(Verdict::Resumed) };
        replica.handle_frame(Frame::Welcome(welcome), now);
        let five_seconds_ago = aged(Duration::from_secs(5), now);
        assert_eq!(replica.clock.age(five_seconds_ago, now), Some(Duration::from_secs(seconds)), "{term}");
    }
}

#[test]
fn terms_of_another_log_do_not_count() {
    let (mut replica, now) = replica_in("connecting");
    replica.see_term(LOG, Term(9));
    let elsewhere = Welcome { log: OTHER_LOG, ..welcome(Verdict::Snapshot(SnapshotReason::OtherLog)) };
    replica.handle_frame(Frame::Welcome(Welcome { leader_time: leader_time(now), ..elsewhere }), now);
    assert_eq!(replica.state(), State::CatchingUp, "term 3 of another log is not lower than term 9");
    replica.see_term(OTHER_LOG, Term(2));
    assert_eq!(replica.seen_term, Some((OTHER_LOG, TERM)), "a lower term of the same log changes nothing");
    replica.see_term(OTHER_LOG, Term(4));
    assert_eq!(replica.seen_term, Some((OTHER_LOG, Term(4))));
    replica.see_term(LOG, Term(1));
    assert_eq!(replica.seen_term, Some((LOG, Term(1))));
}

#[test]
fn a_leader_cannot_send_a_replica_away_for_longer_than_a_minute() {
    let (mut replica, now) = replica_in("live");
    let forever = Goodbye { reason: GoodbyeReason::ShuttingDown, retry_after: Duration::from_secs(u64::MAX) };
    replica.handle_frame(Frame::Goodbye(forever), now);
    assert!(replica.poll_timeout() <= now.plus(MAX_RETRY_AFTER + Duration::from_secs(5)));
}

#[test]
fn what_was_dropped_first_is_told_once_live_again() {
    let (mut replica, mut now) = replica_in("waiting");
    let held = replica.position();
    while replica.poll_notice().is_some() {}
    let mut told = Vec::new();
    // The first stream breaks before its snapshot comes.
    for reason in [SnapshotReason::Diverged, SnapshotReason::Fresh, SnapshotReason::Fresh] {
        while replica.state() != State::Connecting {
            now = replica.poll_timeout();
            replica.handle_timeout(now);
        }
        let welcome = welcome(Verdict::Snapshot(reason));
        replica.handle_frame(Frame::Welcome(Welcome { leader_time: leader_time(now), ..welcome }), now);
        if reason == SnapshotReason::Fresh {
            snapshot_frame(snapshot_at(TAIL)).into_iter().for_each(|frame| replica.handle_frame(frame, now));
        }
        while let Some(notice) = replica.poll_notice() {
            if let Notice::CaughtUp(resync) = notice {
                told.push(resync.dropped);
            }
        }
        replica.drop_held(SnapshotReason::Ahead);
        replica.handle_closed(now);
    }
    let later = Dropped { reason: SnapshotReason::Ahead, at: snapshot_at(TAIL).position() };
    assert_eq!(told, [Some(Dropped { reason: SnapshotReason::Diverged, at: held }), Some(later)]);
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
