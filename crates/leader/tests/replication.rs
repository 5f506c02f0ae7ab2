//! Replicas and a leader over real connections: what replicas hold, and how they recover.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod common;

use std::time::{Duration, Instant};

use common::{Follower, Proxy, TestLeader, config, identity};
use engine::replica::{Notice, State};
use engine::{Index, LinkFault, LogId, Operation, Replica, SnapshotReason, Verdict};
use follower::{FaultyLink, SharedInjector, connect};
use leader::config::Generator;

fn log_of(follower: &Follower) -> LogId {
    follower.recorder.read(|record| record.now.unwrap().log())
}

fn assert_nothing_was_missed(follower: &Follower) {
    follower.recorder.read(|record| {
        for pair in record.applied.windows(2) {
            assert_eq!(pair[1], pair[0].next(), "an event was missed or applied twice");
        }
    });
}

async fn three_replicas_agree_at(rate: u32, events: u64) {
    let leader = TestLeader::start(config(Generator::Rate(rate))).await;
    let replicas = [1, 2, 3].map(|number| Follower::start(&leader.url(), &format!("replica-{number}")));
    for replica in &replicas {
        replica.recorder.until_index(events).await;
    }
    let [first, others @ ..] = &replicas;
    for other in others {
        first.recorder.read(|first| {
            other.recorder.read(|other| {
                let both: Vec<_> = first.values.iter().filter(|(at, _)| other.values.contains_key(at)).collect();
                assert!(both.len() as u64 >= events / 2, "only {} indexes to compare", both.len());
                for (at, value) in both {
                    assert_eq!(other.values[at], *value, "at {at:?}");
                }
                for (at, digest) in &first.digests {
                    assert!(other.digests.get(at).is_none_or(|there| there == digest), "at {at:?}");
                }
            });
        });
    }
    leader.stop().await;
}

#[tokio::test]
async fn three_replicas_hold_the_same_at_the_same_index_at_ten_events_a_second() {
    three_replicas_agree_at(10, 30).await;
}

#[tokio::test]
async fn three_replicas_hold_the_same_at_the_same_index_at_a_thousand_events_a_second() {
    three_replicas_agree_at(1_000, 3_000).await;
}

#[tokio::test]
async fn a_restarted_replica_joins_by_snapshot_and_is_live_in_under_a_second() {
    let leader = TestLeader::start(config(Generator::Rate(1_000))).await;
    let first_life = Follower::start(&leader.url(), "replica");
    first_life.recorder.until_index(200).await;
    drop(first_life);

    let start = Instant::now();
    let second_life = Follower::start(&leader.url(), "replica");
    second_life.recorder.until_live().await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let fresh = |notice: &Notice| matches!(notice, Notice::CaughtUp(resync) if resync.verdict == Verdict::Snapshot(SnapshotReason::Fresh));
    assert_eq!(second_life.recorder.count(fresh), 1);
    second_life.recorder.until_index(600).await;
    assert_nothing_was_missed(&second_life);
    leader.stop().await;
}

#[tokio::test]
async fn a_cut_connection_resumes_with_no_snapshot_and_no_event_missed() {
    let leader = TestLeader::start(config(Generator::Rate(1_000))).await;
    let proxy = Proxy::start(leader.address).await;
    let follower = Follower::start(&format!("http://{}", proxy.address), "replica");
    for cut in 1..=5_usize {
        follower.recorder.until_index(200 * cut as u64).await;
        proxy.cut();
        let resumed = |notice: &Notice| matches!(notice, Notice::CaughtUp(r) if r.verdict == Verdict::Resumed);
        let recorder = &follower.recorder;
        recorder.until("resumed", |record| record.notices.iter().filter(|n| resumed(n)).count() == cut).await;
    }
    follower.recorder.until_index(1_500).await;
    assert_eq!(follower.recorder.snapshots_loaded(), 1, "a reconnect took a snapshot");
    assert_nothing_was_missed(&follower);
    leader.stop().await;
}

#[tokio::test]
async fn a_new_log_is_noticed_even_if_it_is_already_longer() {
    for new_log_rate in [10, 100_000] {
        let leader = TestLeader::start(config(Generator::Rate(1_000))).await;
        let (address, url) = (leader.address, leader.url());
        let follower = Follower::start(&url, "replica");
        follower.recorder.until_index(500).await;
        let old = log_of(&follower);
        leader.kill().await;
        follower.recorder.until("noticed", |record| record.state != Some(State::Live)).await;
        let held = follower.recorder.read(|record| record.now.unwrap().position().index);

        // The address stays the same; at the high rate, the new log is longer than the old one before the replica is back.
        let leader = TestLeader::start_on(address, config(Generator::Rate(new_log_rate))).await;
        follower.recorder.until("new log", |record| record.now.is_some_and(|now| now.log() != old)).await;
        let noticed = follower.recorder.count(|notice| matches!(notice, Notice::NewLog { old: o, .. } if *o == old));
        assert_eq!(noticed, 1);
        let other_log = |notice: &Notice| matches!(notice, Notice::Welcomed(w) if w.verdict == Verdict::Snapshot(SnapshotReason::OtherLog));
        assert_eq!(follower.recorder.count(other_log), 1);
        follower.recorder.until_live().await;
        if new_log_rate > 1_000 {
            follower.recorder.until("longer", |record| record.now.unwrap().position().index > held).await;
        }
        leader.stop().await;
    }
}

/// A comparison of indexes alone would see nothing: the new log is longer from the start.
#[tokio::test]
async fn a_longer_new_log_is_not_mistaken_for_a_continuation() {
    let short = TestLeader::start(config(Generator::Off)).await;
    short.calls().submit(Operation::Add(5)).await.unwrap();
    let proxy_to_short = Proxy::start(short.address).await;
    let follower = Follower::start(&format!("http://{}", proxy_to_short.address), "replica");
    follower.recorder.until_index(1).await;
    let held = follower.recorder.read(|record| record.now.unwrap());

    let long = TestLeader::start(config(Generator::Off)).await;
    for n in 1..=50 {
        long.calls().submit(Operation::Add(n)).await.unwrap();
    }
    let resumed = Follower::start_with(Replica::restore(1, held), connect(&long.url(), identity("moved")).unwrap());
    resumed.recorder.until_index(50).await;
    assert_eq!(resumed.recorder.count(|notice| matches!(notice, Notice::NewLog { .. })), 1);
    assert_eq!(resumed.recorder.read(|record| record.now.unwrap().value()), (1..=50).sum::<i64>());
    short.stop().await;
    long.stop().await;
}

fn faulty_follower(leader: &TestLeader, injector: &SharedInjector) -> Follower {
    let link = connect(&leader.url(), identity("replica")).unwrap();
    Follower::start_with(Replica::new(1), FaultyLink::new(link, injector.clone()))
}

async fn after(faults: &[LinkFault]) -> (TestLeader, Follower) {
    let leader = TestLeader::start(config(Generator::Rate(200))).await;
    let injector = SharedInjector::default();
    let follower = faulty_follower(&leader, &injector);
    follower.recorder.until_live().await;
    faults.iter().for_each(|fault| injector.lock().inject(*fault));
    follower.recorder.until("all faults injected", |_| injector.lock().is_idle()).await;
    let index = follower.recorder.read(|record| record.now.map_or(0, |now| now.position().index.0));
    follower.recorder.until_index(index + 100).await;
    follower.recorder.until_live().await;
    (leader, follower)
}

#[tokio::test]
async fn a_lost_batch_is_a_gap_and_resumes_without_a_snapshot() {
    let (leader, follower) = after(&[LinkFault::Lose]).await;
    assert_eq!(follower.recorder.count(|notice| matches!(notice, Notice::Gap { .. })), 1);
    assert_eq!(follower.recorder.snapshots_loaded(), 1, "the gap took a snapshot");
    assert_nothing_was_missed(&follower);
    leader.stop().await;
}

#[tokio::test]
async fn the_next_heartbeat_reveals_that_the_last_batch_was_lost() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let injector = SharedInjector::default();
    let follower = faulty_follower(&leader, &injector);
    follower.recorder.until_live().await;
    injector.lock().inject(LinkFault::Lose);
    leader.calls().submit(Operation::Add(5)).await.unwrap();
    follower.recorder.until_index(1).await;
    let gap = |notice: &Notice| matches!(notice, Notice::Gap { expected: Index(1), got: Index(2), by_heartbeat: true });
    assert_eq!(follower.recorder.count(gap), 1);
    leader.stop().await;
}

#[tokio::test]
async fn a_repeated_batch_is_ignored() {
    let (leader, follower) = after(&[LinkFault::Repeat, LinkFault::Repeat]).await;
    assert_eq!(follower.recorder.count(|notice| matches!(notice, Notice::Duplicate { .. })), 2);
    assert_eq!(follower.recorder.count(|notice| matches!(notice, Notice::Welcomed(_))), 1, "the replica reconnected");
    assert_nothing_was_missed(&follower);
    leader.stop().await;
}

#[tokio::test]
async fn exchanged_batches_are_a_gap_and_resume_without_a_snapshot() {
    let (leader, follower) = after(&[LinkFault::Exchange]).await;
    assert_eq!(follower.recorder.count(|notice| matches!(notice, Notice::Gap { .. })), 1);
    assert_eq!(follower.recorder.snapshots_loaded(), 1);
    assert_nothing_was_missed(&follower);
    leader.stop().await;
}

#[tokio::test]
async fn an_altered_batch_is_a_divergence_that_is_reported_and_healed_by_a_fresh_snapshot() {
    let (leader, follower) = after(&[LinkFault::Alter]).await;
    assert_eq!(follower.recorder.count(|notice| matches!(notice, Notice::Diverged(_))), 1);
    assert_eq!(follower.recorder.snapshots_loaded(), 2);
    let other = Follower::start(&leader.url(), "other");
    other.recorder.until_live().await;
    let index = other.recorder.read(|record| record.now.unwrap().position().index.0);
    other.recorder.until_index(index + 50).await;
    follower.recorder.until_index(index + 50).await;
    let (at, digest) = other.recorder.read(|record| record.digests.iter().next().map(|(at, d)| (*at, *d)).unwrap());
    assert_eq!(follower.recorder.read(|record| record.digests.get(&at).copied()), Some(digest));
    leader.stop().await;
}

#[tokio::test]
async fn a_stream_cut_between_wire_and_engine_resumes() {
    let (leader, follower) = after(&[LinkFault::Cut, LinkFault::Cut]).await;
    assert_eq!(follower.recorder.snapshots_loaded(), 1);
    assert_nothing_was_missed(&follower);
    leader.stop().await;
}

#[tokio::test]
async fn a_replica_that_was_away_past_the_floor_gets_a_snapshot_as_compacted() {
    let mut short = config(Generator::Off);
    short.retain = std::num::NonZeroU64::new(10).unwrap();
    let leader = TestLeader::start(short).await;
    let calls = leader.calls();
    calls.submit(Operation::Add(1)).await.unwrap();
    let follower = Follower::start(&leader.url(), "replica");
    follower.recorder.until_index(1).await;
    let held = follower.recorder.read(|record| record.now.unwrap());
    drop(follower);
    for _ in 0..30 {
        calls.submit(Operation::Add(1)).await.unwrap();
    }
    let back = Follower::start_with(Replica::restore(1, held), connect(&leader.url(), identity("back")).unwrap());
    back.recorder.until_index(31).await;
    let compacted = |notice: &Notice| matches!(notice, Notice::CaughtUp(r) if r.verdict == Verdict::Snapshot(SnapshotReason::Compacted));
    assert_eq!(back.recorder.count(compacted), 1);
    leader.stop().await;
}
