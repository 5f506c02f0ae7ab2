//! Logs of earlier versions: every later version opens, verifies and continues them.
//!
//! `recorded/` has a folder for each version that changed the format. It holds the directory of a leader that closed its log
//! (`closed`), the directory of a killed leader (`killed`), and their contents (`contents.json`). A recording is never
//! replaced. To record another version, run `RECORD=<folder> cargo test -p leader --test recorded -- --ignored`.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use common::{Follower, TestLeader, durable, identity};
use engine::replica::Notice;
use engine::{Digest, Index, LogId, Operation, Position, Replica, Snapshot, SnapshotReason, Verdict};
use follower::connect;
use leader::backup::backup;
use leader::config::{Config, Generator, Storage};
use leader::export::export;
use leader::restore::restore;
use leader::verify::verify;
use serde::{Deserialize, Serialize};
use store::sqlite::SqliteReader;
use tempfile::TempDir;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

#[derive(Debug, Deserialize, Serialize)]
struct Contents {
    log_id: String,
    term: u64,
    floor: u64,
    tail: u64,
    value: i64,
    digest: String,
    producers: Vec<Submitted>,
    /// A position in the middle, from which a replica resumes.
    middle: Place,
    events: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Submitted {
    id: String,
    sequence: u64,
    add: i64,
    index: u64,
    value: i64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Place {
    index: u64,
    digest: String,
    value: i64,
}

fn recorded() -> Vec<PathBuf> {
    let versions = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded")).unwrap();
    versions.map(|version| version.unwrap().path()).collect()
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

fn exported(directory: &Path) -> Vec<serde_json::Value> {
    let mut lines = Vec::new();
    export(directory, &mut lines).unwrap();
    String::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn config(directory: &Path) -> Config {
    let storage = Storage::Directory {
        directory: directory.to_owned(),
        durability: engine::Durability::Fsync,
        snapshot_every: NonZeroU64::new(4).unwrap(),
    };
    Config { storage, retain: NonZeroU64::new(8).unwrap(), ..durable(Generator::Off, directory) }
}

fn by(id: &str, sequence: u64, operation: Operation) -> pb::SubmitRequest {
    let producer = Some(pb::Producer { id: id.to_owned(), sequence });
    pb::SubmitRequest { operation: Some(operation.into()), producer, ..Default::default() }
}

#[tokio::test]
async fn every_recorded_log_opens_verifies_and_resumes() {
    let versions = recorded();
    assert!(!versions.is_empty());
    for version in versions {
        let contents: Contents = serde_json::from_slice(&fs::read(version.join("contents.json")).unwrap()).unwrap();
        for ending in ["closed", "killed"] {
            println!("{} {ending}", version.display());
            opens_and_continues(&version.join(ending), &contents).await;
        }
    }
}

#[test]
fn every_recorded_log_is_backed_up_and_restored() {
    for version in recorded() {
        let contents: Contents = serde_json::from_slice(&fs::read(version.join("contents.json")).unwrap()).unwrap();
        for ending in ["closed", "killed"] {
            let (directory, elsewhere) = (copy(&version.join(ending)), TempDir::new().unwrap());
            let (file, restored) = (elsewhere.path().join("backup.sqlite"), elsewhere.path().join("restored"));
            backup(directory.path(), &file, &mut Vec::new()).unwrap();
            restore(&file, &restored, None, &mut Vec::new()).unwrap();
            let log = SqliteReader::open(&restored).unwrap();
            assert_eq!((log.tail().position().index, log.tail().value()), (Index(contents.tail), contents.value));
            assert_eq!(exported(&restored), exported(directory.path()), "{} {ending}", version.display());
            let lost = SqliteReader::open(directory.path()).unwrap().producers().unwrap();
            assert_eq!(SqliteReader::open(&restored).unwrap().producers().unwrap(), lost);
        }
    }
}

async fn opens_and_continues(recorded: &Path, contents: &Contents) {
    let directory = copy(recorded);
    let mut report = Vec::new();
    verify(directory.path(), &mut report).unwrap();
    let events = exported(directory.path());
    assert_eq!(events.len(), contents.events.len());
    for (event, recorded) in events.iter().zip(&contents.events) {
        // A later version may print more fields.
        for (name, recorded) in recorded.as_object().unwrap() {
            assert_eq!(&event[name], recorded, "{name} of {event}");
        }
    }

    let leader = TestLeader::start(config(directory.path())).await;
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let status = client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    let log = LogId(u128::from_str_radix(&contents.log_id, 16).unwrap());
    assert_eq!(status.log_id, log.0.to_be_bytes());
    assert_eq!((status.term, status.floor), (contents.term + 1, contents.floor));
    assert_eq!((status.tail, status.value), (contents.tail, contents.value));
    assert_eq!(format!("{:016x}", status.digest), contents.digest);
    for producer in &contents.producers {
        let repeat = by(&producer.id, producer.sequence, Operation::Add(producer.add));
        let answer = client.submit(repeat).await.unwrap().into_inner();
        assert_eq!((answer.index, answer.value), (producer.index, producer.value), "{}", producer.id);
    }

    let digest = Digest(u64::from_str_radix(&contents.middle.digest, 16).unwrap());
    let held = Snapshot::take(log, Position { index: Index(contents.middle.index), digest }, contents.middle.value);
    let link = connect(&leader.url(), identity("from the middle")).unwrap();
    let follower = Follower::start_with(Replica::restore(1, held), link);
    let fresh = Follower::start(&leader.url(), "fresh");
    let next = client.submit(by("new", 1, Operation::Add(1))).await.unwrap().into_inner();
    assert_eq!((next.index, next.value), (contents.tail + 1, contents.value + 1));
    for (follower, verdict) in [(follower, Verdict::Resumed), (fresh, Verdict::Snapshot(SnapshotReason::Fresh))] {
        follower.recorder.until_index(next.index).await;
        let welcomed = |notice: &Notice| matches!(notice, Notice::Welcomed(welcome) if welcome.verdict == verdict);
        assert_eq!(follower.recorder.count(welcomed), 1, "{verdict:?}");
        assert_eq!(follower.recorder.read(|record| record.now.unwrap().value()), next.value);
    }
    leader.stop().await;
    verify(directory.path(), &mut report).unwrap();
}

/// Records a log of this version for [`every_recorded_log_opens_verifies_and_resumes`].
#[tokio::test]
#[ignore = "records this version's format into the folder in RECORD"]
async fn record() {
    use Operation::{Add, Divide, Multiply, PowerOfTwo, SquareRoot, Subtract};

    let folder = PathBuf::from(std::env::var("RECORD").unwrap());
    let directory = TempDir::new().unwrap();
    let leader = TestLeader::start(config(directory.path())).await;
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    // The floor rises to the end of the subtractions; the events after them are kept.
    let kept =
        [PowerOfTwo, SquareRoot, Multiply(i64::from(i32::MAX)), Divide(-3), Subtract(-5), Add(i64::MAX), Divide(1)];
    for operation in (1..=9).map(Subtract).chain(kept) {
        client.submit(pb::SubmitRequest { operation: Some(operation.into()), ..Default::default() }).await.unwrap();
    }
    leader.stop().await;

    let leader = TestLeader::start(config(directory.path())).await;
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let mut producers = Vec::new();
    for (id, sequence, add) in [("anna", 1, 10), ("anna", 2, -20), ("01234567-89ab", 1, 30)] {
        let answer = client.submit(by(id, sequence, Add(add))).await.unwrap().into_inner();
        producers.push(Submitted { id: id.to_owned(), sequence, add, index: answer.index, value: answer.value });
    }
    producers.remove(0);
    let status = client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    fs::create_dir_all(folder.join("killed")).unwrap();
    fs::create_dir_all(folder.join("closed")).unwrap();
    // Without the lock file, and without the index of the write-ahead log, which SQLite rebuilds.
    for file in ["log.sqlite", "log.sqlite-wal", "watermark"] {
        fs::copy(directory.path().join(file), folder.join("killed").join(file)).unwrap();
    }
    leader.stop().await;
    for file in ["log.sqlite", "watermark"] {
        fs::copy(directory.path().join(file), folder.join("closed").join(file)).unwrap();
    }
    let events = exported(directory.path());
    let middle = &events[events.len() / 2];
    let text = |of: &serde_json::Value, name: &str| of[name].as_str().unwrap().to_owned();
    let contents = Contents {
        log_id: status.log_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        term: status.term,
        floor: status.floor,
        tail: status.tail,
        value: status.value,
        digest: format!("{:016x}", status.digest),
        producers,
        middle: Place {
            index: middle["index"].as_u64().unwrap(),
            digest: text(middle, "digest"),
            value: text(middle, "value").parse().unwrap(),
        },
        events,
    };
    fs::write(folder.join("contents.json"), serde_json::to_vec_pretty(&contents).unwrap()).unwrap();
}
