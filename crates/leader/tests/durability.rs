//! A leader with a log in a directory: restarts, compaction, takeover and damage.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Follower, TestLeader, durable, identity};
use engine::replica::Notice;
use engine::{
    Durability, GoodbyeReason, Index, LogId, Operation, Position, ProducerId, Snapshot, SnapshotReason, Term, Verdict,
};
use follower::{Producer, connect};
use leader::RunError;
use leader::config::Generator;
use leader::export::export;
use leader::verify::verify;
use store::AppendError;
use store::sqlite::{Options, SqliteReader, SqliteStore};
use tempfile::TempDir;
use tonic_types::StatusExt;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::sharedcalculator::GetUpdatesRequest;
use wire::sharedcalculator::leader_client::LeaderClient;

/// Restarts the leader on the same port, so that replicas find it again.
async fn restart(leader: TestLeader, directory: &Path, generator: Generator) -> TestLeader {
    let address = leader.address;
    leader.stop().await;
    TestLeader::start_on(address, durable(generator, directory)).await
}

fn store_options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(1_000).unwrap(),
        retain: NonZeroU64::new(1_000).unwrap(),
        retain_bytes: None,
    }
}

fn caught_up(notice: &Notice) -> Option<Verdict> {
    if let Notice::CaughtUp(resync) = notice { Some(resync.verdict) } else { None }
}

#[tokio::test]
async fn a_restart_keeps_the_log_and_replicas_resume_without_a_snapshot() {
    let directory = TempDir::new().unwrap();
    let mut leader = TestLeader::start(durable(Generator::Rate(2_000), directory.path())).await;
    let follower = Follower::start(&leader.url(), "replica");
    for life in 1..=3_u64 {
        follower.recorder.until_index(life * 1_000).await;
        leader = restart(leader, directory.path(), Generator::Rate(2_000)).await;
        let resumed = |record: &common::Record| record.notices.iter().filter_map(caught_up).count() as u64 > life;
        follower.recorder.until("live again", resumed).await;
    }
    follower.recorder.until_index(4_000).await;
    follower.recorder.read(|record| {
        let verdicts: Vec<_> = record.notices.iter().filter_map(caught_up).collect();
        assert_eq!(verdicts[0], Verdict::Snapshot(SnapshotReason::Fresh));
        assert!(verdicts[1..].iter().all(|verdict| *verdict == Verdict::Resumed), "{verdicts:?}");
        for pair in record.applied.windows(2) {
            assert_eq!(pair[1], pair[0].next(), "an event was missed or applied twice");
        }
        let terms: Vec<_> = record
            .notices
            .iter()
            .filter_map(|notice| if let Notice::Welcomed(welcome) = notice { Some(welcome.term.0) } else { None })
            .collect();
        assert_eq!(terms, [1, 2, 3, 4]);
    });
    leader.stop().await;
    let mut report = Vec::new();
    verify(directory.path(), &mut report).unwrap();
    let report = String::from_utf8(report).unwrap();
    assert!(report.contains("all replayed, sound"), "{report}");
}

#[tokio::test]
async fn a_producer_is_remembered_over_a_restart() {
    let directory = TempDir::new().unwrap();
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let request = |sequence| pb::SubmitRequest {
        operation: Some(Operation::Add(5).into()),
        producer: Some(pb::Producer { id: "me".to_owned(), sequence }),
        expected_index: None,
        ..Default::default()
    };
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let first = client.submit(request(1)).await.unwrap().into_inner();
    drop(client);

    let leader = restart(leader, directory.path(), Generator::Off).await;
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    assert_eq!(client.submit(request(1)).await.unwrap().into_inner(), first);
    assert_eq!(client.submit(request(2)).await.unwrap().into_inner().value, 10);
    let status = client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.tail, status.term, status.durability()), (2, 2, pb::Durability::Fsync));
    leader.stop().await;
}

#[tokio::test]
async fn a_submission_during_a_restart_is_committed_once() {
    let directory = TempDir::new().unwrap();
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let calls = connect(&leader.url(), identity("producer")).unwrap().calls();
    let mut producer = Producer::new(calls, || ProducerId::from_random(rand::random()));
    let mut submitting = tokio::spawn(async move {
        for n in 1..=200 {
            producer.submit(Operation::Add(n), None).await.unwrap();
        }
    });
    let mut leader = leader;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        leader = restart(leader, directory.path(), Generator::Off).await;
    }
    (&mut submitting).await.unwrap();
    leader.stop().await;
    let mut lines = Vec::new();
    export(directory.path(), &mut lines).unwrap();
    let arguments: Vec<i64> = String::from_utf8(lines)
        .unwrap()
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["operation"], "ADD");
            event["argument"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(arguments, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replica_behind_the_floor_gets_a_snapshot_with_the_reason() {
    let directory = TempDir::new().unwrap();
    let leader = TestLeader::start(durable(Generator::Rate(1_000), directory.path())).await;
    let follower = Follower::start(&leader.url(), "replica");
    follower.recorder.until_index(50).await;
    let held = follower.recorder.read(|record| record.now.unwrap());
    drop(follower);
    leader.stop().await;

    let mut short = durable(Generator::Rate(20_000), directory.path());
    short.retain = NonZeroU64::new(100).unwrap();
    let leader = TestLeader::start(short).await;
    let ahead = Follower::start(&leader.url(), "ahead");
    ahead.recorder.until_index(5_000).await;
    let behind =
        Follower::start_with(engine::Replica::restore(1, held), connect(&leader.url(), identity("behind")).unwrap());
    behind.recorder.until_live().await;
    let verdicts = behind.recorder.read(|record| record.notices.iter().filter_map(caught_up).collect::<Vec<_>>());
    assert_eq!(verdicts, [Verdict::Snapshot(SnapshotReason::Compacted)]);
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let below = client.read_events(pb::ReadEventsRequest { first_index: 1, page_size: 1 }).await.unwrap_err();
    assert_eq!(below.code(), tonic::Code::OutOfRange);
    leader.stop().await;
}

#[tokio::test]
async fn a_replaced_leader_says_goodbye_and_ends() {
    let directory = TempDir::new().unwrap();
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let calls = leader.calls();
    calls.submit(Operation::Add(5)).await.unwrap();
    let follower = Follower::start(&leader.url(), "replica");
    follower.recorder.until_live().await;

    // The other leader is as if on another machine, which the lock does not reach but the term does.
    fs::remove_file(directory.path().join("leader.lock")).unwrap();
    let other = SqliteStore::new(store_options(directory.path()), LogId(1)).open_blocking().unwrap();
    assert_eq!(other.term, Term(2));
    let refused = calls.submit(Operation::Add(7)).await.unwrap_err();
    // The leader may have noticed the takeover before.
    let reasons = ["another leader took over the log with term 2", "shutting down"];
    assert!(reasons.iter().any(|reason| refused.to_string().contains(reason)), "{refused}");
    let goodbye =
        |notice: &Notice| matches!(notice, Notice::Goodbye(goodbye) if goodbye.reason == GoodbyeReason::SteppedDown);
    follower.recorder.until("goodbye", |record| record.notices.iter().any(goodbye)).await;
    let ended = leader.ended().await.unwrap_err();
    assert!(matches!(ended, RunError::SteppedDown(AppendError::Fenced(_))), "{ended}");
    assert_eq!(SqliteReader::open(directory.path()).unwrap().tail().value(), 5);
}

#[tokio::test]
async fn an_idle_replaced_leader_says_goodbye_and_ends() {
    let directory = TempDir::new().unwrap();
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let follower = Follower::start(&leader.url(), "replica");
    follower.recorder.until_live().await;
    fs::remove_file(directory.path().join("leader.lock")).unwrap();
    let _other = SqliteStore::new(store_options(directory.path()), LogId(1)).open_blocking().unwrap();
    let started = Instant::now();
    let goodbye =
        |notice: &Notice| matches!(notice, Notice::Goodbye(goodbye) if goodbye.reason == GoodbyeReason::SteppedDown);
    follower.recorder.until("goodbye", |record| record.notices.iter().any(goodbye)).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let ended = leader.ended().await.unwrap_err();
    assert!(matches!(ended, RunError::SteppedDown(AppendError::Fenced(_))), "{ended}");
}

#[tokio::test]
async fn a_leader_whose_directory_is_removed_reports_it_and_ends() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("log");
    let leader = TestLeader::start(durable(Generator::Off, &directory)).await;
    leader.calls().submit(Operation::Add(5)).await.unwrap();
    let follower = Follower::start(&leader.url(), "replica");
    follower.recorder.until_live().await;
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    fs::remove_dir_all(&directory).unwrap();
    let started = Instant::now();
    while leader.calls().submit(Operation::Add(1)).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(1), "operations are acknowledged");
    }
    let status = client.get_status(pb::GetStatusRequest {}).await.map(|status| status.into_inner().log_problem);
    assert!(status.is_err() || status.as_ref().unwrap().contains("removed"), "{status:?}");
    drop(client);
    let goodbye =
        |notice: &Notice| matches!(notice, Notice::Goodbye(goodbye) if goodbye.reason == GoodbyeReason::SteppedDown);
    follower.recorder.until("goodbye", |record| record.notices.iter().any(goodbye)).await;
    let ended = leader.ended().await.unwrap_err();
    assert!(matches!(ended, RunError::Replaced { .. }) && ended.to_string().contains("put the files back"), "{ended}");
}

/// Alters the last byte of the first `find` in the database.
fn alter(directory: &Path, find: &[u8]) {
    let path = directory.join("log.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(find.len()).position(|window| window == find).unwrap();
    bytes[at + find.len() - 1] ^= 1;
    fs::write(&path, bytes).unwrap();
}

/// A number whose varint occurs nowhere else in the database.
const RARE: i64 = 0x0123_4567_89ab_cdef;

fn rare_bytes() -> Vec<u8> {
    let mut encoded = prost::bytes::BytesMut::new();
    prost::encoding::sint64::encode(1, &RARE, &mut encoded);
    encoded.to_vec()
}

#[tokio::test]
async fn damage_at_the_end_stops_a_start_and_damage_in_old_history_does_not() {
    let directory = TempDir::new().unwrap();
    let mut config = durable(Generator::Off, directory.path());
    let leader = TestLeader::start(config.clone()).await;
    let calls = leader.calls();
    for operation in [Operation::Add(1), Operation::Add(RARE), Operation::Subtract(RARE)] {
        calls.submit(operation).await.unwrap();
    }
    leader.stop().await;
    let sound = TempDir::new().unwrap();
    for file in ["log.sqlite", "watermark"] {
        fs::copy(directory.path().join(file), sound.path().join(file)).unwrap();
    }
    alter(directory.path(), &rare_bytes());

    // A leader replays the log from its newest snapshot, which is here its beginning.
    let refused = TestLeader::start(config.clone()).await.ended().await.unwrap_err();
    let text = refused.to_string();
    assert!(
        matches!(refused, RunError::Replay { .. }) && text.contains("index 2") && text.contains("verify"),
        "{text}"
    );
    let mut report = Vec::new();
    let found = verify(directory.path(), &mut report).unwrap_err().to_string();
    assert!(found.contains("index 2"), "{found}");
    let mut lines = Vec::new();
    let stopped = export(directory.path(), &mut lines).unwrap_err().to_string();
    assert!(stopped.contains("index 2"), "{stopped}");
    assert_eq!(
        lines.iter().filter(|byte| **byte == b'\n').count(),
        1,
        "export did not print the event before the damage"
    );

    // With a snapshot after the damage, only the damaged events are lost.
    config.storage = leader::config::Storage::Directory {
        directory: sound.path().to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(1).unwrap(),
    };
    let leader = TestLeader::start(config.clone()).await;
    leader.calls().submit(Operation::Add(1)).await.unwrap();
    leader.stop().await;
    alter(sound.path(), &rare_bytes());
    for _ in 0..2 {
        leads_with_the_second_event_damaged(TestLeader::start(config.clone()).await).await;
    }
    assert!(verify(sound.path(), &mut Vec::new()).unwrap_err().to_string().contains("index 2"));
}

async fn leads_with_the_second_event_damaged(leader: TestLeader) {
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    for first_index in [1, 2, 1] {
        let lost = client.read_events(pb::ReadEventsRequest { first_index, page_size: 9 }).await.unwrap_err();
        assert_eq!(lost.code(), tonic::Code::DataLoss, "{lost}");
        assert_eq!(lost.get_details_error_info().unwrap().metadata["index"], "2");
    }
    let after = client.read_events(pb::ReadEventsRequest { first_index: 3, page_size: 9 }).await.unwrap().into_inner();
    assert!(after.operations.len() >= 2, "{after:?}");
    assert_eq!(after.before, None, "the value before it is lost");
    let state = async |index| leader.calls().read_snapshot(Index(index)).await;
    assert!(matches!(state(2).await, Err(follower::ReadError::Damaged(_))));
    assert_eq!((state(1).await.unwrap().value(), state(3).await.unwrap().position().index), (1, Index(3)));
    let status = client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert!(status.log_damage.starts_with("events 2 to 2: ") && status.log_problem.is_empty(), "{status:?}");

    // The original demo's stream ends at the damage.
    let mut original = LeaderClient::new(leader.channel().await);
    let mut events = original.stream_updates(GetUpdatesRequest { from_index: 0 }).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().eventindex, 0);
    assert_eq!(events.message().await.unwrap_err().code(), tonic::Code::DataLoss);

    // A replica that holds only the first event needs the second, which is damaged.
    let log = LogId(u128::from_be_bytes(status.log_id.try_into().unwrap()));
    let operations = [Operation::Add(1), Operation::Add(RARE), Operation::Subtract(RARE)];
    let mut held = Snapshot::take(log, Position::origin(log), 0);
    for (operation, resumes) in operations.into_iter().zip([false, true, true]) {
        let value = engine::apply(held.value(), operation).unwrap();
        let index = held.position().index.next();
        let digest = held.position().digest.after(index, operation, value);
        held = Snapshot::take(log, Position { index, digest }, value);
        let link = connect(&leader.url(), identity("behind")).unwrap();
        let behind = Follower::start_with(engine::Replica::restore(1, held), link);
        behind.recorder.until_live().await;
        let welcome = behind.recorder.read(|record| {
            let mut welcomes = record.notices.iter().filter_map(|notice| match notice {
                Notice::Welcomed(welcome) => Some(*welcome),
                _ => None,
            });
            welcomes.next_back().unwrap()
        });
        let damaged = Verdict::Snapshot(SnapshotReason::Compacted);
        assert_eq!(welcome.verdict, if resumes { Verdict::Resumed } else { damaged }, "at {index}");
        assert_eq!((welcome.damaged, welcome.floor > index), (!resumes, !resumes), "at {index}");
    }
    leader.calls().submit(Operation::Add(1)).await.unwrap();
    leader.stop().await;
}
