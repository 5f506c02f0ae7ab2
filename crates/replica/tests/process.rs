//! The program as a shell runs it, with a leader in this process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leader::config::Generator;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

/// A leader that makes up `rate` operations a second until the test ends.
async fn leader(rate: u32) -> String {
    common::leader(Generator::Rate(rate)).await
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
async fn the_program_ends_although_nobody_reads_its_output() {
    let url = leader(20_000).await;
    let stuck = replica(&url);
    // Long enough to fill the pipe.
    tokio::time::sleep(Duration::from_secs(2)).await;
    signal(&stuck, Signal::TERM);
    assert_eq!(code_of(stuck).await, Some(0));
}

#[test]
fn a_token_or_file_that_cannot_be_used_is_an_error_that_does_not_repeat_it() {
    let error = |environment: &[(&str, &str)], flags: &[&str]| {
        let program = env!("CARGO_BIN_EXE_calculator-replica");
        let output = Command::new(program).args(flags).envs(environment.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        said
    };
    let secret = ("CALCULATOR_TOKEN", "a-secret-token");
    let exposed = error(&[secret], &["--leader", "http://leader.invalid:80"]);
    assert!(exposed.contains("in cleartext to http://leader.invalid:80") && exposed.contains("https://"), "{exposed}");
    assert!(!exposed.contains("a-secret-token"), "{exposed}");
    let malformed = error(&[("CALCULATOR_TOKEN", "a secret")], &[]);
    assert!(malformed.contains("CALCULATOR_TOKEN holds no token") && !malformed.contains("a secret"), "{malformed}");
    let empty = error(&[("CALCULATOR_TOKEN", "")], &[]);
    assert!(empty.contains("it is empty"), "{empty}");
    for flag in ["--token-file", "--tls-ca"] {
        let missing = error(&[], &[flag, "/nowhere"]);
        assert!(missing.contains("/nowhere") && missing.contains("No such file"), "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_output_is_stuck_goes_on_following() {
    const NAME: &str = "stuck";
    let url = leader(1_000).await;
    let stuck = Command::new(env!("CARGO_BIN_EXE_calculator-replica"))
        .args(["--leader", &url, "--output", "json", "--name", NAME])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    fcntl_setpipe_size(stuck.stdout.as_ref().unwrap(), 4096).unwrap();
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = CalculatorServiceClient::new(channel);
    let mut index = async || {
        let listed = client.list_replicas(pb::ListReplicasRequest {}).await.unwrap().into_inner();
        let listed = listed.replicas.into_iter().find(|listed| listed.replica.as_ref().unwrap().name == NAME);
        listed.and_then(|listed| listed.position).map_or(0, |position| position.index)
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    // The pipe is full after some 25 events.
    while index().await < 2_000 {
        assert!(Instant::now() < deadline, "it stands still at {}", index().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    signal(&stuck, Signal::TERM);
    assert_eq!(code_of(stuck).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_on_a_full_disk_is_an_error_that_says_so() {
    let url = leader(1_000).await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_calculator-replica"))
        .args(["--leader", &url])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: cannot write to standard output: No space left"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_lines_are_written_before_an_orderly_end() {
    let url = leader(5_000).await;
    for end in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut child = replica(&url);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // More than a pipe holds is waiting when the signal comes.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            text
        });
        signal(&child, end);
        assert_eq!(code_of(child).await, Some(0), "{end:?}");
        let text = reading.join().unwrap();
        assert!(text.ends_with('\n'), "the last line is whole");
        let mut next = None;
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_ne!(line["type"], "dropped");
            if line["type"] == "applied" {
                let (index, events) = (line["index"].as_u64().unwrap(), line["events"].as_u64().unwrap());
                assert!(next.is_none_or(|next| next == index - events + 1), "a line is missing at {index}");
                next = Some(index + 1);
            }
        }
        assert!(next.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_be_reached_is_reported_with_address_attempt_and_pause() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut child = replica(&unused.to_string());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let failures: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .filter(|line: &serde_json::Value| line["type"] == "link_failed")
        .take(3)
        .collect();
    for (attempt, failure) in (1..).zip(&failures) {
        assert_eq!(failure["address"], format!("http://{unused}"));
        assert_eq!(failure["attempt"], attempt);
        assert!(failure["retry_in_ms"].as_f64().unwrap() <= 400.0, "{failure}");
        assert!(failure["reason"].as_str().unwrap().contains("refused"), "{failure}");
    }
    signal(&child, Signal::TERM);
    assert_eq!(code_of(child).await, Some(0));
}

/// Answers every request with an error whose text would control a terminal.
async fn hostile_leader() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = |_: tonic::codegen::http::Request<_>| async {
        let text = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\nCurrent value: 42 (index 1)\u{202e}\u{9b}31m";
        Ok::<_, std::convert::Infallible>(tonic::Status::unavailable(text).into_http::<tonic::body::Body>())
    };
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(tower::service_fn(answer));
            let stream = hyper_util::rt::TokioIo::new(stream);
            let connection = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            tokio::spawn(async move { connection.serve_connection(stream, service).await.map_err(drop) });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_of_a_hostile_leader_cannot_control_the_terminal() {
    let url = hostile_leader().await;
    for format in ["log", "json"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_calculator-replica"))
            .args(["--leader", &url, "--output", format])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("owned") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the program ended");
        }
        let line = line.trim_end_matches('\n');
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(line.contains(r"\u001b[2J\r\nCurrent value: 42 (index 1)\u202e\u009b31m"), "{line}");
        signal(&child, Signal::TERM);
        assert_eq!(code_of(child).await, Some(0));
    }
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
