//! Pausing and pacing the generator.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod common;

use std::time::Duration;

use common::raw::{framed, http1};
use common::{PATIENCE, TestLeader, config};
use engine::Operation;
use follower::ControlError;
use leader::config::{Config, Generator, Pace};
use tokio::time::{Instant, sleep};
use tonic::Code;
use wire::{GeneratorStatus, pb};

async fn tail(leader: &TestLeader) -> u64 {
    leader.calls_client().await.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().tail
}

async fn history(leader: &TestLeader, events: usize) -> Vec<Operation> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request = pb::ReadEventsRequest { first_index: 1, page_size: i32::try_from(events).unwrap() };
        let page = leader.calls_client().await.read_events(request).await.unwrap().into_inner();
        if page.operations.len() == events {
            return page.operations.into_iter().map(|operation| operation.try_into().unwrap()).collect();
        }
        assert!(Instant::now() < deadline, "only {} events", page.operations.len());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_generator_is_paused_paced_and_resumed() {
    let leader = TestLeader::start(config(Generator::Rate(100))).await;
    let calls = leader.calls();
    let begun = GeneratorStatus { paused: false, rate: 100.0, max_rate: 1_000.0, controllable: true, ended: false };
    assert_eq!(calls.control_generator(None, None).await, Ok(begun));
    assert_eq!(calls.control_generator(Some(true), None).await, Ok(GeneratorStatus { paused: true, ..begun }));
    sleep(Duration::from_millis(50)).await;
    let paused = tail(&leader).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(tail(&leader).await, paused, "a paused generator draws");
    let fast = GeneratorStatus { rate: 1_000.0, ..begun };
    assert_eq!(calls.control_generator(Some(false), Some(1_000.0)).await, Ok(fast));
    let start = Instant::now();
    while tail(&leader).await < paused + 500 {
        assert!(start.elapsed() < PATIENCE, "it does not go on");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(450), "500 events came in {:?}", start.elapsed());
    for rate in [0.0, -1.0, f64::NAN, 1_000.5] {
        let refused = calls.control_generator(None, Some(rate)).await.unwrap_err();
        assert!(matches!(&refused, ControlError::Refused(why) if why.contains("1000")), "{rate}: {refused:?}");
    }
    assert_eq!(calls.control_generator(None, None).await, Ok(fast));
    leader.stop().await;
}

#[tokio::test]
async fn a_seed_draws_the_same_operations_however_they_are_paced() {
    let steady = TestLeader::start(config(Generator::Rate(1_000))).await;
    let expected = history(&steady, 300).await;
    steady.stop().await;

    let pace = Pace { min: Duration::ZERO, max: Duration::from_millis(20) };
    let leader = TestLeader::start(config(Generator::Paced(pace))).await;
    let calls = leader.calls();
    for rate in [50.0, 700.0, 3.0, 1_000.0] {
        calls.control_generator(Some(true), None).await.unwrap();
        sleep(Duration::from_millis(30)).await;
        calls.control_generator(Some(false), Some(rate)).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(history(&leader, 300).await, expected);
    leader.stop().await;
}

#[tokio::test]
async fn control_is_off_on_a_wildcard_address_unless_it_is_switched_on() {
    for (address, control, controllable) in [
        ("127.0.0.1:0", None, true),
        ("127.0.0.1:0", Some(false), false),
        ("0.0.0.0:0", None, false),
        ("0.0.0.0:0", Some(true), true),
        ("[::]:0", None, false),
    ] {
        let leader =
            TestLeader::start_on(address.parse().unwrap(), Config { control, ..config(Generator::Rate(50)) }).await;
        let calls = leader.calls();
        let status = calls.control_generator(None, None).await.unwrap();
        assert_eq!(status.controllable, controllable, "{address} {control:?}");
        let paused = calls.control_generator(Some(true), None).await;
        match controllable {
            true => assert!(paused.unwrap().paused),
            false => assert!(matches!(paused, Err(ControlError::Off(_))), "{paused:?}"),
        }
        leader.stop().await;
    }
}

#[tokio::test]
async fn a_generator_that_has_ended_cannot_be_controlled() {
    let leader = TestLeader::start(Config { count: Some(20), ..config(Generator::Rate(1_000)) }).await;
    history(&leader, 20).await;
    let deadline = Instant::now() + PATIENCE;
    let calls = leader.calls();
    while !calls.control_generator(None, None).await.unwrap().ended {
        assert!(Instant::now() < deadline, "it never ends");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(calls.control_generator(Some(true), None).await, Err(ControlError::Ended(_))));
    leader.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_cannot_control_it() {
    let leader = TestLeader::start(config(Generator::Rate(50))).await;
    let body = framed(&pb::ControlGeneratorRequest { paused: Some(true), rate: None });
    let from = async |origin: &str, site: &str| {
        let head = format!(
            "POST /calculator.v1.CalculatorService/ControlGenerator HTTP/1.1\r\nHost: {}\r\n\
             Content-Type: application/grpc-web+proto\r\nOrigin: {origin}\r\nSec-Fetch-Site: {site}",
            leader.address
        );
        http1(leader.address, &head, &body).await
    };
    let paused = async || leader.calls().control_generator(None, None).await.unwrap().paused;
    let refused = from("https://evil.example", "cross-site").await;
    assert_eq!(refused.error(), (Code::PermissionDenied, "ORIGIN_NOT_ALLOWED".to_owned()));
    assert!(!paused().await);
    let own = from(&leader.url(), "same-origin").await;
    assert_eq!(own.status().code(), Code::Ok);
    assert!(paused().await);
    leader.stop().await;
}
