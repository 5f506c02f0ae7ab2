//! The calls beside the stream, made with tonic's client.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod common;

use std::time::Duration;

use common::{Follower, TestLeader, config, durable};
use engine::{Index, Operation, Submission, Term};
use leader::config::Generator;
use sequencer::NotCommitted;
use store::{AppendError, Fenced};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::pb::operation::Kind;
use wire::{Identity, pb};

async fn client(leader: &TestLeader) -> CalculatorServiceClient<Channel> {
    CalculatorServiceClient::new(leader.channel().await)
}

fn submit(operation: Operation) -> pb::SubmitRequest {
    Submission::from(operation).into()
}

/// The reason and metadata of `ErrorInfo`.
fn info(status: &Status) -> (String, Vec<(String, String)>) {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "calculator.v1");
    let mut metadata: Vec<_> = info.metadata.into_iter().collect();
    metadata.sort();
    (info.reason, metadata)
}

fn expected_info(reason: &str, metadata: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
    (reason.to_owned(), metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

#[tokio::test]
async fn an_accepted_operation_is_answered_with_its_index_and_value() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let mut client = client(&leader).await;
    for (operation, expected) in [(Operation::Add(12), (1, 12)), (Operation::PowerOfTwo, (2, 144))] {
        let answer = client.submit(submit(operation)).await.unwrap().into_inner();
        assert_eq!((answer.index, answer.value), expected);
    }
    leader.stop().await;
}

#[tokio::test]
async fn refusals_have_the_status_codes_of_the_contract_and_change_nothing() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let mut client = client(&leader).await;
    client.submit(submit(Operation::Subtract(1))).await.unwrap();
    for (operation, code, words, reason) in [
        (Operation::Add(i64::MIN), Code::OutOfRange, "overflows", "OVERFLOW"),
        (Operation::Divide(0), Code::InvalidArgument, "by zero", "DIVISION_BY_ZERO"),
        (Operation::SquareRoot, Code::InvalidArgument, "negative", "NEGATIVE_SQUARE_ROOT"),
    ] {
        let status = client.submit(submit(operation)).await.unwrap_err();
        assert_eq!(status.code(), code, "{operation}");
        assert!(status.message().contains(words), "{}", status.message());
        assert_eq!(info(&status), expected_info(reason, &[("value", "-1")]));
    }
    let nothing = client.submit(pb::SubmitRequest::default()).await.unwrap_err();
    assert_eq!((nothing.code(), info(&nothing)), (Code::InvalidArgument, expected_info("INVALID_REQUEST", &[])));
    let status = client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.tail, status.value, status.term), (1, -1, 1));
    leader.stop().await;
}

#[test]
fn every_submit_error_has_its_code_and_reason() {
    let store = |error| NotCommitted::Store(error);
    let fenced = Fenced { own: Term(1), by: Term(2) };
    for (error, code, reason, retry) in [
        (NotCommitted::QueueFull, Code::ResourceExhausted, "QUEUE_FULL", true),
        (NotCommitted::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN", false),
        (store(AppendError::Unavailable("full".to_owned())), Code::Unavailable, "LOG_UNAVAILABLE", true),
        (store(AppendError::OutcomeUnknown("?".to_owned())), Code::Unavailable, "OUTCOME_UNKNOWN", false),
        (store(AppendError::Fenced(fenced)), Code::Unavailable, "STEPPED_DOWN", false),
    ] {
        let status = Status::from(error);
        assert_eq!((status.code(), info(&status)), (code, expected_info(reason, &[])));
        assert_eq!(status.get_details_retry_info().is_some(), retry, "{reason}");
    }
}

#[tokio::test]
async fn a_repeated_submission_is_committed_once_and_wrong_sequences_are_refused() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let mut client = client(&leader).await;
    let by = |id: &str, sequence, operation: Operation, expected_index| pb::SubmitRequest {
        producer: Some(pb::Producer { id: id.to_owned(), sequence }),
        expected_index,
        ..submit(operation)
    };
    for _ in 0..3 {
        // The expected index is not compared again for a repeat.
        let answer = client.submit(by("me", 1, Operation::Add(5), Some(0))).await.unwrap().into_inner();
        assert_eq!((answer.index, answer.value), (1, 5));
    }
    client.submit(by("me", 2, Operation::Add(1), None)).await.unwrap();
    for (request, code, reason) in [
        (
            by("me", 1, Operation::Add(5), None),
            Code::FailedPrecondition,
            expected_info("STALE_SEQUENCE", &[("last_sequence", "2")]),
        ),
        (
            by("me", 2, Operation::Add(9), None),
            Code::InvalidArgument,
            expected_info("SEQUENCE_REUSED", &[("index", "2")]),
        ),
        (by("you", 7, Operation::Add(1), None), Code::FailedPrecondition, expected_info("UNKNOWN_PRODUCER", &[])),
        (by("", 1, Operation::Add(1), None), Code::InvalidArgument, expected_info("INVALID_REQUEST", &[])),
        (by("me", 0, Operation::Add(1), None), Code::InvalidArgument, expected_info("INVALID_REQUEST", &[])),
        (
            by("me", 3, Operation::Add(1), Some(1)),
            Code::FailedPrecondition,
            expected_info("INDEX_MISMATCH", &[("current_index", "2"), ("expected_index", "1")]),
        ),
    ] {
        let status = client.submit(request).await.unwrap_err();
        assert_eq!((status.code(), info(&status)), (code, reason), "{}", status.message());
    }
    let answer = client.submit(by("me", 3, Operation::Add(1), Some(2))).await.unwrap().into_inner();
    assert_eq!((answer.index, answer.value), (3, 7));
    leader.stop().await;
}

#[tokio::test]
async fn history_is_read_page_by_page_and_ends_at_the_tail() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let mut client = client(&leader).await;
    for n in 1..=25 {
        client.submit(submit(Operation::Add(n))).await.unwrap();
    }
    let (mut next, mut read) = (0, Vec::new());
    loop {
        let request = pb::ReadEventsRequest { first_index: next, page_size: 10 };
        let page = client.read_events(request).await.unwrap().into_inner();
        assert_eq!((page.tail, page.floor), (25, 0));
        if page.operations.is_empty() {
            break;
        }
        assert_eq!(page.first_index, read.len() as u64 + 1);
        next = page.next_index;
        read.extend(page.operations);
    }
    let expected: Vec<_> = (1..=25).map(|n| pb::Operation { kind: Some(Kind::Add(n)) }).collect();
    assert_eq!((read, next), (expected, 26));
    let negative = client.read_events(pb::ReadEventsRequest { first_index: 1, page_size: -1 }).await.unwrap_err();
    assert_eq!(negative.code(), Code::InvalidArgument);
    leader.stop().await;
}

#[tokio::test]
async fn reads_below_the_floor_are_out_of_range_and_the_message_names_the_first_index() {
    let mut short = config(Generator::Off);
    short.retain = std::num::NonZeroU64::new(5).unwrap();
    let leader = TestLeader::start(short).await;
    let mut client = client(&leader).await;
    for n in 1..=20 {
        client.submit(submit(Operation::Add(n))).await.unwrap();
    }
    let status = client.read_events(pb::ReadEventsRequest { first_index: 3, page_size: 0 }).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("history starts at index 16"), "{}", status.message());
    assert_eq!(info(&status), expected_info("COMPACTED", &[("floor", "15")]));
    let oldest = client.read_events(pb::ReadEventsRequest::default()).await.unwrap().into_inner();
    assert_eq!((oldest.first_index, oldest.operations.len(), oldest.floor), (16, 5, 15));
    leader.stop().await;
}

#[tokio::test]
async fn the_leader_checks_the_digest_of_a_report_and_lists_replicas_with_a_stream() {
    let leader = TestLeader::start(config(Generator::Rate(100))).await;
    let follower = Follower::start(&leader.url(), "replica-1");
    follower.recorder.until("in step", |record| record.standings.contains(&engine::Standing::InStep)).await;

    let mut client = client(&leader).await;
    let held = follower.recorder.read(|record| record.now.unwrap());
    let report = |digest: u64, index: u64, log: u128| {
        let position = pb::LogPosition { log_id: log.to_be_bytes().to_vec(), index, digest };
        let replica = Identity { id: "liar".into(), name: "liar".into(), ..Identity::default() };
        let request = pb::ReportProgressRequest {
            replica: Some(replica.into()),
            position: Some(position),
            lag_ms: 3,
            ..Default::default()
        };
        let mut client = client.clone();
        async move { client.report_progress(request).await.unwrap().into_inner().standing() }
    };
    let (position, log) = (held.position(), held.log().0);
    assert_eq!(report(position.digest.0, position.index.0, log).await, pb::Standing::InStep);
    assert_eq!(report(position.digest.0 ^ 1, position.index.0, log).await, pb::Standing::Diverged);
    assert_eq!(report(position.digest.0, u64::MAX, log).await, pb::Standing::Ahead);
    assert_eq!(report(position.digest.0, position.index.0, log ^ 1).await, pb::Standing::OtherLog);

    let replicas = client.list_replicas(pb::ListReplicasRequest {}).await.unwrap().into_inner().replicas;
    let summary: Vec<_> =
        replicas.iter().map(|r| (r.replica.as_ref().unwrap().name.as_str(), r.connected, r.standing())).collect();
    assert_eq!(summary, [("replica-1", true, pb::Standing::InStep)], "a report without a stream was listed");
    leader.stop().await;
}

#[tokio::test]
async fn reports_of_made_up_replicas_never_read_the_store_and_an_honest_one_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let follower = Follower::start(&leader.url(), "replica-1");
    follower.recorder.until_live().await;
    for n in 1..=3 {
        leader.calls().submit(Operation::Add(n)).await.unwrap();
    }
    follower.recorder.until_index(3).await;
    let log = follower.recorder.read(|record| record.now.unwrap().log());
    let digests = follower.recorder.read(|record| record.digests.clone());
    drop(follower);
    leader.stop().await;

    // After the restart, no event is in memory.
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    let client = client(&leader).await;
    let mut calls = client.clone();
    let report = |id: &str, index: u64, wrong: u64| {
        let digest = digests[&(log, Index(index))].0 ^ wrong;
        let position = pb::LogPosition { log_id: log.0.to_be_bytes().to_vec(), index, digest };
        let replica = Identity { id: id.into(), name: "replica".into(), ..Identity::default() };
        let request = pb::ReportProgressRequest {
            replica: Some(replica.into()),
            position: Some(position),
            ..pb::ReportProgressRequest::default()
        };
        let mut client = client.clone();
        async move { client.report_progress(request).await.map(|answer| answer.into_inner().standing()) }
    };
    for made_up in 0..300 {
        let id = made_up.to_string();
        let refused = report(&id, 1, 0).await.unwrap_err();
        assert_eq!((refused.code(), info(&refused)), (Code::ResourceExhausted, expected_info("NOT_LOOKED_UP", &[])));
        assert!(refused.get_error_details().retry_info().is_some());
        assert_eq!(report(&id, 3, 0).await.unwrap(), pb::Standing::InStep, "the tail is in memory");
    }
    let replica = Identity { id: "honest".into(), name: "replica".into(), ..Identity::default() };
    let request = pb::SubscribeRequest { replica: Some(replica.into()), resume_from: None, ..Default::default() };
    let mut stream = calls.subscribe(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert_eq!(report("honest", 1, 0).await.unwrap(), pb::Standing::InStep);
    assert_eq!(
        info(&report("honest", 2, 0).await.unwrap_err()),
        expected_info("NOT_LOOKED_UP", &[]),
        "two look-ups within 500 ms"
    );
    let deadline = std::time::Instant::now() + common::PATIENCE;
    let standing = loop {
        match report("honest", 2, 1).await {
            Ok(standing) => break standing,
            Err(refused) => assert!(std::time::Instant::now() < deadline, "no further look-up: {refused}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(standing, pb::Standing::Diverged);

    let mut list = async || calls.list_replicas(pb::ListReplicasRequest {}).await.unwrap().into_inner().replicas;
    let listed = list().await;
    assert_eq!((listed.len(), listed[0].connected, listed[0].standing()), (1, true, pb::Standing::Diverged));
    drop(stream);
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while list().await[0].connected {
        assert!(std::time::Instant::now() < deadline, "the replica is listed as connected after its stream ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = list().await.remove(0);
    assert_eq!(
        (left.standing(), left.position.unwrap().index),
        (pb::Standing::Diverged, 2),
        "the last report is not listed"
    );
    leader.stop().await;
}

#[tokio::test]
async fn malformed_requests_are_refused_with_a_reason() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let mut client = client(&leader).await;
    let position = pb::LogPosition { log_id: vec![1], index: 1, digest: 1 };
    let request = pb::SubscribeRequest { replica: None, resume_from: Some(position.clone()), ..Default::default() };
    let status = client.subscribe(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "log_id has 1 bytes, expected 16"));

    let name = "x".repeat(65);
    let replica = Some(pb::Replica { name, ..Default::default() });
    let status =
        client.subscribe(pb::SubscribeRequest { replica, resume_from: None, ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let status = client.report_progress(pb::ReportProgressRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "position is not set"));
    leader.stop().await;
}

#[tokio::test]
async fn a_subscriber_beyond_the_limit_gets_a_goodbye_with_a_retry_time() {
    let mut small = config(Generator::Off);
    small.max_subscribers = 1;
    let leader = TestLeader::start(small).await;
    let first = Follower::start(&leader.url(), "first");
    first.recorder.until_live().await;
    let mut second = client(&leader).await.subscribe(pb::SubscribeRequest::default()).await.unwrap().into_inner();
    let frame = second.message().await.unwrap().unwrap().frame;
    let Some(pb::subscribe_response::Frame::Goodbye(goodbye)) = frame else { panic!("{frame:?}") };
    assert_eq!(goodbye.reason(), pb::GoodbyeReason::Overloaded);
    assert!(goodbye.retry_after_ms > 0);
    assert!(second.message().await.unwrap().is_none(), "a frame followed the goodbye");
    leader.stop().await;
}

#[tokio::test]
async fn shutting_down_says_goodbye_to_everyone_and_takes_less_than_five_seconds() {
    let leader = TestLeader::start(config(Generator::Rate(2_000))).await;
    let followers: Vec<_> = (0..40).map(|n| Follower::start(&leader.url(), &format!("replica-{n}"))).collect();
    for follower in &followers {
        follower.recorder.until_live().await;
    }
    // Unread streams on one connection, and a connection that sends nothing.
    let channel = leader.channel().await;
    let mut unread = Vec::new();
    for _ in 0..50 {
        let request = pb::SubscribeRequest::default();
        unread.push(CalculatorServiceClient::new(channel.clone()).subscribe(request).await.unwrap());
    }
    let silent = tokio::net::TcpStream::connect(leader.address).await.unwrap();
    leader.until_subscribers(90).await;

    let took = leader.stop().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    for follower in &followers {
        let goodbye = |notice: &engine::replica::Notice| matches!(notice, engine::replica::Notice::Goodbye(_));
        follower.recorder.until("goodbye", |record| record.notices.iter().any(goodbye)).await;
    }
    drop((unread, silent));
}
