//! What replicas, producers and leaders see of a log that was restored from a backup.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use common::places::{Places, add};
use common::{Follower, Proxy, TestLeader, durable};
use engine::replica::Notice;
use engine::{Index, Operation, SnapshotReason, Term, Verdict};
use leader::config::Generator;
use store::sqlite::SqliteReader;
use tonic_types::StatusExt;
use wire::pb;

async fn lead(address: SocketAddr, directory: &Path) -> TestLeader {
    TestLeader::start_on(address, durable(Generator::Off, directory)).await
}

fn verdicts(record: &common::Record) -> Vec<Verdict> {
    let caught_up = |notice: &Notice| if let Notice::CaughtUp(resync) = notice { Some(resync.verdict) } else { None };
    record.notices.iter().filter_map(caught_up).collect()
}

fn terms(record: &common::Record) -> Vec<Term> {
    let term = |notice: &Notice| if let Notice::Welcomed(welcome) = notice { Some(welcome.term) } else { None };
    record.notices.iter().filter_map(term).collect()
}

async fn until_caught_up(follower: &Follower, times: usize) {
    follower.recorder.until("live again", |record| verdicts(record).len() >= times).await;
}

/// The replica holds what the log of `leader` holds.
async fn converges(follower: &Follower, leader: &TestLeader) {
    let log = leader.calls().read_snapshot(Index(u64::MAX)).await.unwrap();
    follower.recorder.until("the leader's state", |record| record.now == Some(log)).await;
}

#[tokio::test]
async fn a_replica_ahead_of_a_restored_log_gets_a_snapshot_without_a_restart() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    let address = leader.address;
    let follower = Follower::start(&leader.url(), "replica");
    add(&leader, 5).await;
    places.back_up();
    add(&leader, 7).await;
    follower.recorder.until_index(12).await;
    leader.stop().await;

    places.restore();
    let leader = lead(address, &places.restored()).await;
    until_caught_up(&follower, 2).await;
    converges(&follower, &leader).await;
    add(&leader, 3).await;
    converges(&follower, &leader).await;
    follower.recorder.read(|record| {
        let fresh = Verdict::Snapshot(SnapshotReason::Fresh);
        assert_eq!(verdicts(record), [fresh, Verdict::Snapshot(SnapshotReason::Ahead)]);
        let terms = terms(record);
        assert!(terms.is_sorted() && terms.last().unwrap().0 > 1_700_000_000_000, "{terms:?}");
        assert_eq!(record.now.unwrap().value(), 8, "five events of the backup, and three new ones");
    });
    leader.stop().await;
}

#[tokio::test]
async fn a_replica_whose_lost_events_were_replaced_by_others_gets_a_snapshot_without_a_restart() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    let address = leader.address;
    let proxy = Proxy::start(address).await;
    let follower = Follower::start(&format!("http://{}", proxy.address), "replica");
    add(&leader, 5).await;
    places.back_up();
    add(&leader, 7).await;
    follower.recorder.until_index(12).await;
    leader.stop().await;

    // The replica does not find the new leader, until that has more events than were lost.
    places.restore();
    let elsewhere = TestLeader::start(durable(Generator::Off, &places.restored())).await;
    for _ in 0..20 {
        elsewhere.calls().submit(Operation::Subtract(1)).await.unwrap();
    }
    elsewhere.stop().await;
    let leader = lead(address, &places.restored()).await;
    until_caught_up(&follower, 2).await;
    converges(&follower, &leader).await;
    follower.recorder.read(|record| {
        let fresh = Verdict::Snapshot(SnapshotReason::Fresh);
        assert_eq!(verdicts(record), [fresh, Verdict::Snapshot(SnapshotReason::Diverged)]);
        assert_eq!((record.now.unwrap().value(), record.now.unwrap().position().index), (5 - 20, Index(25)));
    });
    leader.stop().await;
}

#[tokio::test]
async fn a_replica_behind_the_backup_resumes_from_the_restored_log() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    let address = leader.address;
    let follower = Follower::start(&leader.url(), "replica");
    add(&leader, 5).await;
    follower.recorder.until_index(5).await;
    leader.stop().await;
    places.back_up();
    places.restore();
    let leader = lead(address, &places.restored()).await;
    add(&leader, 1).await;
    until_caught_up(&follower, 2).await;
    converges(&follower, &leader).await;
    follower.recorder.read(|record| assert_eq!(verdicts(record).last(), Some(&Verdict::Resumed)));
    leader.stop().await;
}

#[tokio::test]
async fn a_leader_on_the_lost_files_is_stale_to_a_replica_that_saw_the_restored_log() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    let address = leader.address;
    add(&leader, 5).await;
    places.back_up();
    places.restore();
    leader.stop().await;

    let leader = lead(address, &places.restored()).await;
    let follower = Follower::start(&leader.url(), "replica");
    follower.recorder.until_index(5).await;
    leader.stop().await;
    // Somebody starts the leader on the old files, again and again.
    for _ in 0..3 {
        lead(address, &places.log()).await.stop().await;
    }
    let stale = lead(address, &places.log()).await;
    add(&stale, 4).await;
    let is_stale = |notice: &Notice| matches!(notice, Notice::StaleLeader { .. });
    follower.recorder.until("a stale leader", |record| record.notices.iter().any(is_stale)).await;
    stale.stop().await;
    follower.recorder.read(|record| assert_eq!(record.now.unwrap().position().index, Index(5)));
}

#[tokio::test]
async fn a_log_that_is_restored_twice_from_one_backup_gets_a_higher_term_each_time() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    add(&leader, 5).await;
    leader.stop().await;
    places.back_up();
    let mut highest = Term(1);
    for _ in 0..3 {
        places.restore();
        // Each start takes a term.
        for _ in 0..2 {
            lead("127.0.0.1:0".parse().unwrap(), &places.restored()).await.stop().await;
        }
        let term = SqliteReader::open(&places.restored()).unwrap().term();
        assert!(term > highest, "{term} after {highest}");
        highest = term;
        fs::remove_dir_all(places.restored()).unwrap();
    }
}

#[tokio::test]
async fn after_a_restore_a_producer_goes_on_repeats_or_is_told_to_begin_anew() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    let request = |id: &str, sequence, add| pb::SubmitRequest {
        operation: Some(Operation::Add(add).into()),
        producer: Some(pb::Producer { id: id.to_owned(), sequence }),
        ..Default::default()
    };
    let mut client = leader.calls_client().await;
    let known = client.submit(request("known", 1, 10)).await.unwrap().into_inner();
    places.back_up();
    for (id, sequence, add) in [("known", 2, 20), ("late", 1, 100), ("late", 2, 200)] {
        client.submit(request(id, sequence, add)).await.unwrap();
    }
    drop(client);
    leader.stop().await;
    places.restore();

    let leader = TestLeader::start(durable(Generator::Off, &places.restored())).await;
    let mut client = leader.calls_client().await;
    assert_eq!(client.submit(request("known", 1, 10)).await.unwrap().into_inner(), known, "it is in the backup");
    // Repeated because no answer came: the restored log lacks it, and takes it once.
    let repeated = client.submit(request("known", 2, 20)).await.unwrap().into_inner();
    assert_eq!(repeated.value, 30);
    assert_eq!(client.submit(request("known", 2, 20)).await.unwrap().into_inner(), repeated);
    // It got its answers and goes on. What was acknowledged under 1 and 2 is lost, and it is told so.
    let unknown = client.submit(request("late", 3, 300)).await.unwrap_err();
    assert_eq!(unknown.get_details_error_info().unwrap().reason, "UNKNOWN_PRODUCER", "{unknown}");
    // The same with a number that the backup knows: it is higher than the last, so it is taken.
    assert_eq!(client.submit(request("known", 4, 40)).await.unwrap().into_inner().value, 70);
    leader.stop().await;
}
