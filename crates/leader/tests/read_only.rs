//! `verify` and `export` on a read-only file system.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const LEADER: &str = env!("CARGO_BIN_EXE_calculator-leader");

/// Copies the directory to a new file system, makes that read-only, and runs the leader's program there.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs "$2"
mkdir "$2/a log #1?%41"
cp -a "$1/." "$2/a log #1?%41"
mount -o remount,ro "$2"
if touch "$2/a log #1?%41/new" 2>/dev/null; then exit 99; fi
echo mounted >&2
exec "$3" "$4" --data-dir "$2/a log #1?%41"
"#;

fn on_read_only_file_system(directory: &Path, command: &str) -> Output {
    let mount_point = TempDir::new().unwrap();
    let mut errors = Vec::new();
    // In a user namespace, every user may mount. Without user namespaces, only root may.
    for unshare in [&["--user", "--map-root-user", "--mount"][..], &["--mount"]] {
        let mut shell = Command::new("unshare");
        shell.args(unshare).args(["sh", "-c", SCRIPT, "sh"]).arg(directory).arg(mount_point.path());
        let output = shell.args([LEADER, command]).output().expect("this test needs `unshare` of util-linux");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if text.starts_with("mounted\n") {
            return output;
        }
        errors.push(text);
    }
    panic!("this test mounts a tmpfs, which needs user namespaces or root: {errors:?}");
}

fn killed() -> TempDir {
    let directory = TempDir::new().unwrap();
    let wal = directory.path().join("log.sqlite-wal");
    let mut leader = Command::new(LEADER);
    leader.args(["--listen", "127.0.0.1:0", "--rate", "1000", "--data-dir"]).arg(directory.path());
    let mut leader = leader.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::metadata(&wal).map_or(0, |file| file.len()) < 100_000 {
        assert!(Instant::now() < deadline, "the leader wrote too little");
        std::thread::sleep(Duration::from_millis(10));
    }
    leader.kill().unwrap();
    leader.wait().unwrap();
    directory
}

#[test]
fn a_log_on_a_read_only_file_system_is_verified_and_exported() {
    let directory = killed();
    let remove = |name: &str| fs::remove_file(directory.path().join(name)).unwrap();
    let check = |how: &str| {
        for command in ["verify", "export"] {
            let output = on_read_only_file_system(directory.path(), command);
            assert!(output.status.success(), "{how}: {output:?}");
            // Comes last, because on a writable file system the program may change the files beside the log.
            let copy = TempDir::new().unwrap();
            for file in fs::read_dir(directory.path()).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
            let expected = Command::new(LEADER).args([command, "--data-dir"]).arg(copy.path()).output().unwrap();
            assert!(output.stdout.len() > 100, "{how}: {output:?}");
            assert_eq!(output.stdout, expected.stdout, "{how}: {command}");
        }
    };
    check("killed");
    remove("log.sqlite-shm");
    check("killed, without the index of the write-ahead log");

    // Opens the log again and closes it in order.
    let options = store::sqlite::Options {
        directory: directory.path().to_owned(),
        durability: engine::Durability::Os,
        snapshot_every: std::num::NonZeroU64::MAX,
        retain: std::num::NonZeroU64::MAX,
        retain_bytes: None,
    };
    drop(store::SqliteStore::new(options, engine::LogId(1)).open_blocking().unwrap());
    assert!(!directory.path().join("log.sqlite-wal").exists());
    check("closed");
    fs::write(directory.path().join("log.sqlite-wal"), "").unwrap();
    check("closed, with an empty write-ahead log");
    fs::rename(directory.path().join("watermark"), directory.path().join("acknowledged")).unwrap();
    check("with the name that version 0.1.0 gave the watermark");
}
