//! What was acknowledged survives: killed leaders, a full disk, a long log.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod kills;
mod small_disk;

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use e2e::fill::{fill, recover};
use e2e::process::ReplicaProcess;
use engine::Operation;
use follower::{Calls, connect};
use tempfile::TempDir;
use tokio::sync::Mutex;
use wire::{Identity, ReplicaKind};

/// Lets one test run at a time: they measure time, and kill leaders at chosen moments that a busy machine would shift.
static ALONE: Mutex<()> = Mutex::const_new(());

fn calls(url: &str) -> Calls {
    let identity = Identity { id: "test".into(), name: "test".into(), kind: ReplicaKind::Native };
    connect(url, identity).unwrap().calls()
}

fn check_verified(output: &Output) {
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{error}");
    println!("{said}");
}

/// Waits until a replica holds the end of the log.
async fn wait_for_tail(replica: &ReplicaProcess, tail: u64, digest: &str) {
    replica.wait_for_index(tail).await.unwrap();
    assert_eq!(replica.held()[&tail].0, digest, "a replica holds something else at the end of the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_million_events_are_recovered_in_under_a_second() {
    // Just before the next snapshot is due, so that recovery replays as many events as possible.
    const EVENTS: u64 = 10_099_000;

    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let data = directory.path().to_str().unwrap();
    let start = Instant::now();
    let filled = fill(directory.path(), EVENTS, 1_000).await.unwrap();
    println!("made a log of {EVENTS} events in {:.1} s", start.elapsed().as_secs_f64());
    let arguments = ["--data-dir", data, "--retain", "1000000000", "--no-generator"];

    let mut end = (EVENTS, filled.position().digest.0, filled.value());
    for life in 1..=4 {
        let recovered = recover(&arguments).await.unwrap();
        println!("start {life}: the first answer came {:?} after the start of the process", recovered.took);
        let status = recovered.status;
        assert_eq!((status.tail, status.digest, status.value), end);
        // The first leader opens a log that was closed in order; the others open what a killed leader left.
        assert!(recovered.took < Duration::from_secs(1), "{:?}", recovered.took);
        let calls = calls(&recovered.leader.url());
        for n in 0..300 {
            let operation = if n % 2 == 0 { Operation::Subtract(1) } else { Operation::Add(1) };
            calls.submit(operation).await.unwrap();
        }
        let status = recovered.leader.status().await.unwrap();
        assert_eq!(status.tail, end.0 + 300);
        end = (status.tail, status.digest, status.value);
        recovered.leader.program.kill().await.unwrap();
    }
    let sizes: BTreeMap<_, _> = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
        .collect();
    println!("{sizes:?}");
}
