//! What /metrics tells, and to whom.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::raw::{Answer, http1, http2};
use common::{Follower, PATIENCE, TestLeader, config, durable};
use engine::Operation;
use leader::config::{Config, Generator};
use leader::http::port::Ports;
use leader::http::tokens::Tokens;

async fn get(leader: SocketAddr, more: &str) -> Answer {
    http1(leader, &format!("GET /metrics HTTP/1.1\r\nHost: localhost{more}"), b"").await
}

/// The value of each series, by name and labels as they are written.
async fn series(leader: SocketAddr) -> BTreeMap<String, f64> {
    let answer = get(leader, "").await;
    assert_eq!((answer.http, answer.header("content-type")), (200, leader_media_type()), "{answer:?}");
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

fn leader_media_type() -> &'static str {
    "application/openmetrics-text; version=1.0.0; charset=utf-8"
}

/// Waits until a series has this value.
async fn until(leader: SocketAddr, name: &str, value: f64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = series(leader).await.get(name).copied();
        if now == Some(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {now:?} and not {value}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_metrics_tell_what_happened() {
    let directory = tempfile::tempdir().unwrap();
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let calls = leader.calls();
    calls.submit(Operation::Add(i64::MAX)).await.unwrap();
    calls.submit(Operation::Add(1)).await.unwrap_err();
    calls.submit(Operation::Divide(0)).await.unwrap_err();
    calls.submit(Operation::SquareRoot).await.unwrap();
    let follower = Follower::start(&leader.url(), "follower");
    follower.recorder.until_index(2).await;

    let found = series(leader.address).await;
    for (name, value) in [
        ("calculator_commits_total", 2.0),
        ("calculator_events_total", 2.0),
        ("calculator_batch_events_count", 2.0),
        ("calculator_batch_events_sum", 2.0),
        ("calculator_batch_events_bucket{le=\"1.0\"}", 2.0),
        ("calculator_commit_duration_seconds_count", 2.0),
        ("calculator_failed_commits_total", 0.0),
        ("calculator_submit_duration_seconds_count", 4.0),
        ("calculator_calls_total{method=\"calculator.v1.CalculatorService/Submit\",code=\"OK\"}", 2.0),
        ("calculator_calls_total{method=\"calculator.v1.CalculatorService/Submit\",code=\"OutOfRange\"}", 1.0),
        ("calculator_refusals_total{reason=\"OVERFLOW\"}", 1.0),
        ("calculator_refusals_total{reason=\"DIVISION_BY_ZERO\"}", 1.0),
        ("calculator_welcomes_total{verdict=\"fresh\"}", 1.0),
        ("calculator_subscribers{kind=\"native\",state=\"live\"}", 1.0),
        ("calculator_streams", 1.0),
        ("calculator_tail_index", 2.0),
        ("calculator_floor_index", 0.0),
        ("calculator_term", 1.0),
        ("calculator_writable", 1.0),
        ("calculator_role{role=\"leader\"}", 1.0),
        ("calculator_queue_operations", 0.0),
        ("calculator_log_lines_dropped_total", 0.0),
        ("calculator_frames_sent_total{source=\"opening\"}", 2.0),
        (concat!("calculator_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {found:#?}");
    }
    assert!(found["calculator_open_connections"] >= 2.0 && found["process_resident_memory_bytes"] > 1e6, "{found:#?}");
    assert!(found["process_cpu_seconds_total"] >= 0.0 && found["process_start_time_seconds"] > 1.7e9, "{found:#?}");
    drop(follower);
    until(leader.address, "calculator_streams", 0.0).await;
    leader.stop().await;
}

#[tokio::test]
async fn events_from_the_ring_and_from_the_store_are_counted_apart() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let follower = Follower::start(&leader.url(), "follower");
    follower.recorder.until_live().await;
    for _ in 0..3 {
        let event = leader.calls().submit(Operation::Add(1)).await.unwrap();
        follower.recorder.until_index(event.index.0).await;
    }
    let found = series(leader.address).await;
    assert!(found["calculator_frames_sent_total{source=\"ring\"}"] >= 3.0, "{found:#?}");
    assert!(found["calculator_bytes_sent_total{source=\"ring\"}"] >= 60.0, "{found:#?}");
    assert_eq!(found["calculator_frames_sent_total{source=\"store\"}"], 0.0);
}

#[tokio::test]
async fn clients_cannot_add_series() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let known = async || {
        http2(
            leader.address,
            "POST",
            &format!("{}/nobody/Knows", leader.url()),
            &[("content-type", "application/grpc")],
            b"",
        )
        .await;
        let follower = Follower::start(&leader.url(), "first");
        follower.recorder.until_live().await;
        series(leader.address).await.len()
    };
    let before = known().await;
    for number in 0..50 {
        let uri = format!("{}/service.of.number{number}/Method{number}", leader.url());
        let id = format!("id-{number}");
        let headers = [("content-type", "application/grpc"), ("x-request-id", &id)];
        let answer = http2(leader.address, "POST", &uri, &headers, b"").await;
        assert_eq!(answer.header("x-request-id"), id);
        let follower = Follower::start(&leader.url(), &format!("follower-{number}"));
        follower.recorder.until_live().await;
    }
    assert_eq!(known().await, before);
}

#[tokio::test]
async fn metrics_on_a_port_of_their_own_need_no_token_and_are_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("read");
    std::fs::write(&file, "a-token-that-may-read").unwrap();
    let tokens = Tokens::load(None, Some(&file)).unwrap();

    let leader = TestLeader::start(Config { tokens: tokens.clone(), ..config(Generator::Off) }).await;
    let refused = get(leader.address, "").await;
    assert_eq!((refused.http, refused.header("www-authenticate")), (401, "Bearer"));
    assert_eq!(get(leader.address, "\r\nAuthorization: Bearer a-token-that-may-read").await.http, 200);

    let (listen, admin) = (["127.0.0.1:0".parse().unwrap()], "127.0.0.1:0".parse().unwrap());
    let ports = Ports::bind(&listen, None, Some(&admin)).await.unwrap();
    let leader = TestLeader::start_on_ports(ports, Config { tokens, ..config(Generator::Off) });
    assert_eq!(get(leader.others[0], "").await.http, 200);
    let health = http1(leader.others[0], "GET /healthz HTTP/1.1\r\nHost: localhost", b"").await;
    assert_eq!(health.http, 200);
    let page = http1(leader.others[0], "GET / HTTP/1.1\r\nHost: localhost", b"").await;
    assert_eq!(page.http, 404);
    assert_eq!(get(leader.address, "\r\nAuthorization: Bearer a-token-that-may-read").await.http, 404);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_read_the_metrics_under_a_name_of_its_own() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let rebound = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nSec-Fetch-Site: same-origin";
    assert_eq!(http1(leader.address, rebound, b"").await.http, 403);
}
