//! The goodbye comes last, and a subscriber that never reads does not delay the goodbyes of others.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{Follower, TestLeader, config};
use engine::replica::Notice;
use leader::config::Generator;
use tonic::transport::Endpoint;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::pb::subscribe_response::Frame;

/// Bytes that a leader may send before they are read: far less than this test publishes.
const WINDOW: u32 = 65_535;

#[tokio::test]
async fn replicas_that_are_behind_get_everything_before_the_goodbye_despite_one_that_never_reads() {
    let leader = TestLeader::start(config(Generator::Rate(200_000))).await;
    let live = Follower::start(&leader.url(), "live");
    live.recorder.until_live().await;
    // Unread frames fill the window, and then the leader waits.
    let mut unread = Vec::new();
    for _ in 0..2 {
        let endpoint = Endpoint::from_shared(leader.url()).unwrap().initial_stream_window_size(WINDOW);
        let mut client = CalculatorServiceClient::new(endpoint.connect().await.unwrap());
        unread.push(client.subscribe(pb::SubscribeRequest::default()).await.unwrap().into_inner());
    }
    let (mut behind, never) = (unread.remove(0), unread.remove(0));
    let held = live.recorder.read(|record| record.now.unwrap().position().index.0);
    live.recorder.until_index(held + 200_000).await;

    let start = Instant::now();
    let stopping = tokio::spawn(leader.stop());
    live.recorder.until("goodbye", |record| record.notices.iter().any(|n| matches!(n, Notice::Goodbye(_)))).await;
    let tail = live.recorder.read(|record| record.now.unwrap().position().index.0);
    let (mut last, mut said_goodbye) = (0, false);
    while let Some(frame) = behind.message().await.unwrap() {
        assert!(!said_goodbye, "a frame followed the goodbye");
        match frame.frame.unwrap() {
            Frame::Batch(batch) => last = batch.first_index + batch.operations.len() as u64 - 1,
            Frame::Goodbye(_) => said_goodbye = true,
            _ => {}
        }
    }
    assert!(said_goodbye);
    assert_eq!(last, tail, "the goodbye came before events that another replica got");

    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(start.elapsed() > Duration::from_secs(3), "the leader did not wait for the one that never reads");
    drop(never);
}
