//! Backups beside a leader, restores, and what both refuse.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::places::{Places, add};
use common::{Follower, TestLeader, durable};
use engine::Term;
use leader::backup::backup;
use leader::config::Generator;
use leader::restore::restore;
use leader::verify::verify;
use store::sqlite::SqliteReader;
use tempfile::TempDir;
use wire::pb;

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
            Ok(()) => verify(&places.restored(), &mut Vec::new()).unwrap(),
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
