//! The goodbye is the last word, and nobody waits for those who do not listen.
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

/// What a leader may send before it is read, in bytes: far less than what this test makes it publish.
const WINDOW: u32 = 65_535;

#[tokio::test]
async fn replicas_that_are_behind_get_everything_before_the_goodbye_and_one_that_never_reads_holds_up_nobody() {
    let leader = TestLeader::start(config(Generator::Rate(200_000))).await;
    let live = Follower::start(&leader.url(), "live");
    live.recorder.until_live().await;
    // What is not read fills the window, and then the leader waits.
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
        assert!(!said_goodbye, "nothing follows a goodbye");
        match frame.frame.unwrap() {
            Frame::Batch(batch) => last = batch.first_index + batch.operations.len() as u64 - 1,
            Frame::Goodbye(_) => said_goodbye = true,
            _ => {}
        }
    }
    assert!(said_goodbye);
    assert_eq!(last, tail, "the goodbye came before events that others were sent");

    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(start.elapsed() > Duration::from_secs(3), "the one that never reads was waited for too");
    drop(never);
}
