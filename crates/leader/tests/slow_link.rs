//! Replicas behind links that are slower than the log.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;
#[path = "../../e2e/src/slow_link.rs"]
#[allow(unreachable_pub, reason = "it is a public module elsewhere")]
mod slow_link;

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use common::*;
use engine::replica::{Lag, Notice, State};
use engine::{
    Batch, Digest, Durability, Index, LogId, Operation, Position, ProducerChanges, Replica, Snapshot, Term, Timestamp,
};
use follower::connect;
use leader::config::{Config, Generator};
use slow_link::SlowLink;
use store::sqlite::Options;
use store::{Commit, SqliteStore, StoredBatch};
use wire::frame::encode_batch;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

async fn slow_link(leader: &TestLeader, bytes_per_second: u32) -> SlowLink {
    let link = SlowLink::start(leader.address).await.unwrap();
    link.set_speed(bytes_per_second);
    link
}

fn welcomes(follower: &Follower) -> usize {
    follower.recorder.count(|notice| matches!(notice, Notice::Welcomed(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_behind_a_link_slower_than_the_log_says_so_and_converges() {
    const EVENTS: u64 = 3_000;
    let leader = TestLeader::start(Config { count: Some(EVENTS), ..config(Generator::Rate(1_000)) }).await;
    let link = slow_link(&leader, 7_000).await;
    let follower = Follower::start(&format!("http://{}", link.address), "slow");
    let mut status = CalculatorServiceClient::new(leader.channel().await);
    let mut tails = Vec::new();
    let (mut saw_lag, mut saw_exact_lag) = (false, false);
    let start = Instant::now();
    loop {
        let (applied, state, lag) = follower
            .recorder
            .read(|record| (record.now.map_or(0, |now| now.position().index.0), record.state, record.lag));
        let tail = status.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().tail;
        tails.push((start.elapsed(), tail));
        // A replica is late after 2 s; the rest allows for a busy machine.
        let older = tails.iter().rev().find(|(at, _)| start.elapsed() - *at > Duration::from_millis(3_500));
        if older.is_some_and(|(_, tail)| applied < *tail) {
            saw_lag = true;
            assert_ne!(state, Some(State::Live), "live at {applied} of {tail} after {:?}", start.elapsed());
        }
        if let Some(Lag { events, exact }) = lag {
            assert!(events <= tail - applied.min(tail) + 100, "{events} events behind at {applied} of {tail}");
            if exact && older.is_some_and(|(_, older)| *older == tail) && applied < tail {
                saw_exact_lag = true;
                // Allows for events applied since the last report.
                assert!(tail - applied <= events + 100, "{events} events behind at {applied} of {tail}");
            }
        }
        if applied == EVENTS && state == Some(State::Live) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the replica did not converge: {applied} of {tail}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(saw_lag && saw_exact_lag, "the link was not slower than the log");
    assert_eq!(welcomes(&follower), 1, "the replica reconnected");
    let late = Notice::StateChanged { from: State::Live, to: State::CatchingUp };
    assert_eq!(follower.recorder.count(|notice| *notice == late), 1, "the state changed back and forth");
    leader.stop().await;
}

/// After a stall, many small frames arrive at once, which an HTTP/2 library may treat as an attack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_the_link_cuts_no_stream() {
    const EVENTS: u64 = 6_000;
    let config =
        Config { count: Some(EVENTS), heartbeat_interval: Duration::from_secs(2), ..config(Generator::Rate(1_000)) };
    let leader = TestLeader::start(config).await;
    let link = slow_link(&leader, u32::MAX).await;
    let follower = Follower::start(&format!("http://{}", link.address), "stalled");
    follower.recorder.until_live().await;
    for _ in 0..2 {
        // The next piece takes 1.3 s. All later pieces then pass at once.
        link.set_speed(400);
        tokio::time::sleep(Duration::from_millis(500)).await;
        link.set_speed(u32::MAX);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    follower.recorder.until_index(EVENTS).await;
    assert_eq!(welcomes(&follower), 1, "the replica reconnected");
    leader.stop().await;
}

/// Batches of earlier versions hold up to 8,192 events. This one takes 8 s on the link, with a heartbeat every 200 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_takes_longer_than_three_heartbeats_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogId(7);
    let origin = Snapshot::take(log, Position::origin(log), 0);
    let batch = {
        let operations: Vec<_> =
            (0..2_500).map(|n| Operation::Add(if n % 2 == 0 { 1 << 62 } else { -(1 << 62) })).collect();
        let undigested = Batch::new(Term(1), Index(1), operations.clone(), Digest(0), Timestamp(1)).unwrap();
        let (_, digest) = undigested.replay(0, Position::origin(log).digest).unwrap();
        Batch::new(Term(1), Index(1), operations, digest, Timestamp(1)).unwrap()
    };
    let options = Options {
        directory: directory.path().to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(100_000).unwrap(),
        retain: NonZeroU64::new(100_000).unwrap(),
        retain_bytes: None,
    };
    let mut opened = SqliteStore::new(options, log).open_blocking().unwrap();
    let frame = encode_batch(&batch);
    assert!(frame.len() > 30_000);
    let tail = Snapshot::take(log, batch.end(), 0);
    opened
        .writer
        .append(Commit { batch: StoredBatch::new(&batch, frame), tail, producers: ProducerChanges::default() })
        .await
        .unwrap();
    drop(opened);

    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let link = slow_link(&leader, 4_000).await;
    let to_leader = connect(&format!("http://{}", link.address), identity("slow")).unwrap();
    let follower = Follower::start_with(Replica::restore(1, origin), to_leader);
    follower.recorder.until_index(2_500).await;
    follower.recorder.until_live().await;
    assert_eq!(welcomes(&follower), 1, "the replica reconnected");
    leader.stop().await;
}
