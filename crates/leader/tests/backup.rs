//! Backups of a log, and what becomes of its replicas, producers and leaders when one is restored.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::{Follower, Proxy, TestLeader, durable};
use engine::replica::Notice;
use engine::{Index, Operation, SnapshotReason, Term, Verdict};
use leader::backup::backup;
use leader::config::Generator;
use leader::restore::restore;
use leader::verify::verify;
use store::sqlite::SqliteReader;
use tempfile::TempDir;
use tonic_types::StatusExt;
use wire::pb;

/// Commits additions of one.
async fn add(leader: &TestLeader, count: u64) {
    for _ in 0..count {
        leader.calls().submit(Operation::Add(1)).await.unwrap();
    }
}

async fn lead(address: SocketAddr, directory: &Path) -> TestLeader {
    TestLeader::start_on(address, durable(Generator::Off, directory)).await
}

/// Places for a log, its backup, and the log that is restored from it.
struct Places {
    parent: TempDir,
}

impl Places {
    fn new() -> Self {
        Self { parent: TempDir::new().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.parent.path().join("log")
    }

    fn backup(&self) -> PathBuf {
        self.parent.path().join("backup.sqlite")
    }

    fn restored(&self) -> PathBuf {
        self.parent.path().join("restored")
    }

    fn back_up(&self) {
        backup(&self.log(), &self.backup(), &mut Vec::new()).unwrap();
    }

    fn restore(&self) {
        restore(&self.backup(), &self.restored(), None, &mut Vec::new()).unwrap();
    }
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

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calculator-leader")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_a_busy_leader_is_sound_and_holds_one_moment() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Rate(5_000), &places.log())).await;
    let mut client = leader.calls_client().await;
    let mut tail = async || client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().tail;
    let begun = Instant::now();
    while tail().await < 2_000 {
        assert!(begun.elapsed() < common::PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for n in 0..3 {
        let to = places.parent.path().join(format!("{n}.sqlite"));
        let before = tail().await;
        let output = run(&["backup", "--data-dir", text(&places.log()), "--to", text(&to)]);
        assert!(output.status.success(), "{output:?}");
        let after = tail().await;
        assert!(after > before, "the leader committed nothing meanwhile");

        let directory = places.parent.path().join(n.to_string());
        restore(&to, &directory, Some(100), &mut Vec::new()).unwrap();
        verify(&directory, &mut Vec::new()).unwrap();
        let restored = SqliteReader::open(&directory).unwrap();
        let end = restored.tail().position();
        assert!((before..=after).contains(&end.index.0), "{before} {end} {after}");
        assert_eq!(restored.term(), Term(100));
        let mut log = SqliteReader::open(&places.log()).unwrap();
        assert_eq!(log.digest_at(end.index).unwrap(), Some(end.digest), "the copy is no prefix of the log");
        let report = String::from_utf8(output.stdout).unwrap();
        for fact in
            [format!("index      {}", end.index), format!("log        {}", log.log()), "term       1".to_owned()]
        {
            assert!(report.lines().any(|line| line == fact), "{report}");
        }
    }
    leader.stop().await;
}

/// A closed log with some events.
async fn closed_log(directory: &Path, events: u64) {
    let leader = TestLeader::start(durable(Generator::Off, directory)).await;
    add(&leader, events).await;
    leader.stop().await;
}

/// The error of a command that failed.
fn error_of(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.starts_with("error: "), "{stderr}");
    stderr
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_backup_that_cannot_be_made_says_why_and_leaves_nothing() {
    let places = Places::new();
    closed_log(&places.log(), 3).await;
    let elsewhere = TempDir::new().unwrap();
    let at = |name: &str| elsewhere.path().join(name);
    fs::write(at("taken"), "precious").unwrap();
    fs::create_dir(at("no-log")).unwrap();
    for (log, to, words) in [
        (places.log(), at("taken"), "exists already"),
        (places.log(), at("no/directory"), "choose an existing directory with --to"),
        (places.log(), places.log(), "inside the directory of the log"),
        (places.log(), places.log().join("b"), "inside the directory of the log"),
        (at("no-log"), at("b"), "there is no log"),
    ] {
        let error = error_of(&["backup", "--data-dir", text(&log), "--to", text(&to)]);
        assert!(error.contains(words), "{error}");
    }
    let mut left = names(elsewhere.path());
    left.sort();
    assert_eq!(left, ["no-log", "taken"]);
    assert_eq!(fs::read(at("taken")).unwrap(), b"precious");

    let mut report = Vec::new();
    backup(&places.log(), elsewhere.path(), &mut report).unwrap();
    let report = String::from_utf8(report).unwrap();
    let name = names(elsewhere.path()).into_iter().find(|name| name.ends_with("-3.sqlite")).unwrap();
    assert!(report.contains(&name), "a directory gets a file that is named after the log and its index: {report}");
}

#[tokio::test]
async fn a_full_disk_ends_a_backup_and_leaves_nothing() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Rate(50_000), &places.log())).await;
    let follower = Follower::start(&leader.url(), "replica");
    follower.recorder.until_index(20_000).await;
    leader.stop().await;
    let elsewhere = TempDir::new().unwrap();
    // A limit on the size of files, which the system reports like a disk that fails.
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" backup --data-dir \"$1\" --to \"$2\"";
    let program = env!("CARGO_BIN_EXE_calculator-leader");
    let to = elsewhere.path().join("b");
    let output = Command::new("bash").args(["-c", script, program]).args([&places.log(), &to]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: cannot copy the log to ") && stderr.contains("disk"), "{stderr}");
    assert!(names(elsewhere.path()).is_empty(), "{:?}", names(elsewhere.path()));
}

#[tokio::test]
async fn a_damaged_log_is_not_backed_up_and_a_damaged_backup_not_restored() {
    let places = Places::new();
    closed_log(&places.log(), 30).await;
    places.back_up();
    let sound = fs::read(places.backup()).unwrap();
    let mut refused = 0;
    for at in (100..sound.len()).step_by(97) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(places.backup(), damaged).unwrap();
        match restore(&places.backup(), &places.restored(), None, &mut Vec::new()) {
            // What is harmless is harmless to a leader, too.
            Ok(()) => drop(verify(&places.restored(), &mut Vec::new()).unwrap()),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("nothing was restored"), "{error}");
                assert_eq!(names(&places.restored()), ["leader.lock"], "byte {at}");
            }
        }
        fs::remove_dir_all(places.restored()).unwrap();
    }
    assert!(refused > 10, "only {refused} damaged backups were refused");

    for not_a_backup in [&b""[..], b"nonsense"] {
        fs::write(places.backup(), not_a_backup).unwrap();
        let refused = restore(&places.backup(), &places.restored(), None, &mut Vec::new()).unwrap_err();
        assert!(refused.to_string().contains("no sound backup"), "{refused}");
    }
    fs::remove_dir_all(places.restored()).unwrap();

    // The database of the log and the one of its backup are equal, so the same bytes are damaged.
    let database = places.log().join("log.sqlite");
    let to = places.parent.path().join("other.sqlite");
    let mut not_sound = 0;
    for at in (100..sound.len()).step_by(97) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(&database, damaged).unwrap();
        match backup(&places.log(), &to, &mut Vec::new()) {
            Ok(()) => fs::remove_file(&to).unwrap(),
            Err(error) => {
                assert!(!to.exists(), "byte {at}");
                let error = error.to_string();
                not_sound += u32::from(error.contains("no backup was made") && error.contains("verify --data-dir"));
            }
        }
    }
    assert!(not_sound > 5, "only {not_sound} damaged copies were found");
    let mut left = names(places.parent.path());
    left.sort();
    assert_eq!(left, ["backup.sqlite", "log"]);
}

#[tokio::test]
async fn a_restore_that_cannot_be_made_says_why_and_changes_nothing() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    add(&leader, 3).await;
    places.back_up();
    let restoring = |directory: &Path, more: &[&str]| {
        let from = places.backup();
        error_of(&[&["restore", "--from", text(&from), "--data-dir", text(directory)][..], more].concat())
    };
    let in_use = restoring(&places.log(), &[]);
    assert!(in_use.contains("another leader") && in_use.contains("--data-dir"), "{in_use}");
    add(&leader, 1).await;
    leader.stop().await;

    let before = fs::read(places.log().join("log.sqlite")).unwrap();
    let occupied = restoring(&places.log(), &[]);
    assert!(occupied.contains("is there already") && occupied.contains("away"), "{occupied}");
    assert_eq!(fs::read(places.log().join("log.sqlite")).unwrap(), before);
    // What is left of a log counts as one.
    fs::create_dir(places.restored()).unwrap();
    fs::write(places.restored().join("watermark"), "").unwrap();
    assert!(restoring(&places.restored(), &[]).contains("watermark is there already"));
    fs::remove_dir_all(places.restored()).unwrap();

    let low = restoring(&places.restored(), &["--term", "1"]);
    assert!(low.contains("not above the term 1") && low.contains("--term"), "{low}");
    let missing = error_of(&["restore", "--from", "no-such-file", "--data-dir", text(&places.restored())]);
    assert!(missing.contains("cannot read the backup no-such-file"), "{missing}");
    assert_eq!(names(&places.restored()), ["leader.lock"]);
    places.restore();
}

#[tokio::test]
async fn a_copied_directory_is_restored_with_its_write_ahead_log() {
    let places = Places::new();
    let leader = TestLeader::start(durable(Generator::Off, &places.log())).await;
    add(&leader, 4).await;
    let copy = places.parent.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["log.sqlite", "log.sqlite-wal", "watermark"] {
        fs::copy(places.log().join(name), copy.join(name)).unwrap();
    }
    leader.stop().await;
    let refused = restore(&copy.join("log.sqlite"), &places.restored(), None, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("name their directory with --from"), "{refused}");
    restore(&copy, &places.restored(), None, &mut Vec::new()).unwrap();
    assert_eq!(SqliteReader::open(&places.restored()).unwrap().tail().value(), 4);
}
