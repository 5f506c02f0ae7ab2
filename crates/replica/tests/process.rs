//! The program as a shell sees it, beside a leader in this process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::num::NonZeroU64;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leader::config::{Config, Generator, Storage};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;

/// A leader that makes up `rate` operations a second until the test ends.
async fn leader(rate: u32) -> String {
    let config = Config {
        storage: Storage::Memory,
        generator: Generator::Rate(rate),
        count: None,
        seed: 1,
        retain: NonZeroU64::new(1_000_000).unwrap(),
        heartbeat_interval: Duration::from_millis(200),
        max_subscribers: 100,
        access: Default::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(leader::run(config, listener, std::future::pending()));
    url
}

fn replica(url: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_calculator-replica"))
        .args(["--leader", url, "--output", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits, at most two seconds, for the program to end, and returns its code.
async fn code_of(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    panic!("the program did not end");
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Reads lines until one is of the type `live`, and returns its verdict.
fn verdict(child: &mut Child) -> String {
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if line["type"] == "live" {
            return line["verdict"].as_str().unwrap().to_owned();
        }
    }
    panic!("the program ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_is_live_again_in_under_a_second_by_a_snapshot() {
    let url = leader(1_000).await;
    let mut first = replica(&url);
    assert_eq!(verdict(&mut first), "fresh");
    first.kill().unwrap();
    first.wait().unwrap();

    let start = Instant::now();
    let mut second = replica(&url);
    assert_eq!(verdict(&mut second), "fresh");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    signal(&second, Signal::INT);
    assert_eq!(code_of(second).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_not_read_does_not_keep_the_program_from_ending() {
    let url = leader(20_000).await;
    let stuck = replica(&url);
    // Long enough to fill the pipe.
    tokio::time::sleep(Duration::from_secs(2)).await;
    signal(&stuck, Signal::TERM);
    assert_eq!(code_of(stuck).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_closed_ends_the_program_with_code_0() {
    let url = leader(1_000).await;
    let mut child = replica(&url);
    drop(child.stdout.take());
    assert_eq!(code_of(child).await, Some(0));
}

#[test]
fn wrong_flags_say_what_is_wrong() {
    for (arguments, code, words) in [
        (["--leader", "ftp://here"], 1, "it has to begin with http://"),
        (["--output", "xml"], 2, "--output"),
        (["--name", ""], 2, "a name has 1 to 64 bytes"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_calculator-replica")).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with("error:") && said.contains(words), "{said}");
    }
}
