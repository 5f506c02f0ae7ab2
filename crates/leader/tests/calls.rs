//! The edge of gRPC calls: content types, errors and deadlines.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod common;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use common::raw::{Answer, framed, http1, http2};
use common::{TestLeader, config};
use engine::{Index, Operation, Term};
use leader::config::Generator;
use leader::generator::ControlRefused;
use sequencer::NotCommitted;
use store::{AppendError, Corrupt, Fenced, ReadError};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wire::pb;

const SERVICE: &str = "/calculator.v1.CalculatorService";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

async fn call(leader: &TestLeader, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let uri = format!("http://{}{SERVICE}/{method}", leader.address);
    http2(leader.address, "POST", &uri, &[&[GRPC], headers].concat(), body).await
}

async fn web_call(leader: &TestLeader, method: &str, media_type: &str, more: &str, body: &[u8]) -> Answer {
    let head = format!("POST {SERVICE}/{method} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}{more}");
    http1(leader.address, &head, body).await
}

fn add(n: i64) -> pb::SubmitRequest {
    engine::Submission::from(Operation::Add(n)).into()
}

fn reason(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn only_grpc_requests_are_treated_as_calls() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let uri = format!("http://{}{SERVICE}/Submit", leader.address);
    let body = framed(&add(5));
    for media_type in ["text/plain", "application/json", "application/grpc+json", "application/x-www-form-urlencoded"] {
        let answer = http2(leader.address, "POST", &uri, &[("content-type", media_type)], &body).await;
        assert_eq!(answer.http, 415, "{media_type} over HTTP/2");
        let answer = web_call(&leader, "Submit", media_type, "", &body).await;
        assert_eq!(answer.http, 415, "{media_type} over HTTP/1.1");
    }
    assert_eq!(http2(leader.address, "POST", &uri, &[], &body).await.http, 415, "no content type");
    for method in ["GET", "PUT", "OPTIONS"] {
        let answer = http2(leader.address, method, &uri, &[GRPC], &body).await;
        assert_eq!((answer.http, answer.header("allow")), (405, "POST"), "{method}");
    }
    let answer = web_call(&leader, "Submit", "application/grpc", "", &body).await;
    assert!(answer.http == 400 && answer.text().contains("HTTP/2"), "{answer:?}");
    let status = leader.calls_client().await.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.tail, 0, "a refused request was executed");
    leader.stop().await;
}

#[tokio::test]
async fn media_types_are_accepted_in_any_case_and_with_parameters() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let body = framed(&pb::GetStatusRequest {});
    for media_type in ["application/grpc-web+proto; charset=utf-8", "Application/GRPC-WEB", "application/grpc-web"] {
        let answer = web_call(&leader, "GetStatus", media_type, "", &body).await;
        assert_eq!((answer.http, answer.status().code()), (200, Code::Ok), "{media_type}: {answer:?}");
    }
    for media_type in ["Application/GRPC-WEB-TEXT", "application/grpc-web-text+proto;a=b"] {
        let accept = format!("\r\nAccept: {media_type}");
        let answer = web_call(&leader, "GetStatus", media_type, &accept, b"AAAAAAA=").await;
        assert_eq!(answer.header("content-type"), "application/grpc-web-text+proto", "{media_type}");
        // The body is base64.
        assert!(answer.http == 200 && answer.body.starts_with(b"AAAA"), "{media_type}: {answer:?}");
    }
    let uri = format!("http://{}{SERVICE}/GetStatus", leader.address);
    for media_type in ["application/grpc+proto", "APPLICATION/GRPC", "application/grpc;x=y"] {
        let answer = http2(leader.address, "POST", &uri, &[("content-type", media_type)], &body).await;
        assert_eq!((answer.http, answer.status().code()), (200, Code::Ok), "{media_type}");
    }
    leader.stop().await;
}

#[tokio::test]
async fn services_and_methods_that_do_not_exist_are_unimplemented_in_every_form() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    for (path, why) in [("/no.such.Service/Call", "UNKNOWN_SERVICE"), ("/calculator.v1.CalculatorService/NoSuch", "")] {
        let uri = format!("http://{}{path}", leader.address);
        let answer = http2(leader.address, "POST", &uri, &[GRPC], &[0; 5]).await;
        assert_eq!((answer.http, answer.error()), (200, reason(Code::Unimplemented, why)), "{path}");
        assert_eq!(answer.header("content-type"), "application/grpc");
        for media_type in ["application/grpc-web+proto", "Application/grpc-web; a=b"] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}");
            let answer = http1(leader.address, &head, &[0; 5]).await;
            assert_eq!((answer.http, answer.error()), (200, reason(Code::Unimplemented, why)), "{path} {media_type}");
            assert_eq!(answer.header("content-type"), "application/grpc-web+proto");
        }
    }
    leader.stop().await;
}

#[tokio::test]
async fn all_calls_answer_unreadable_requests_alike() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    // Field 1 as a varint, where a message is expected.
    let malformed = [0, 0, 0, 0, 2, 0x08, 0x01];
    // A prefix that announces five million bytes, none of which are sent.
    let oversized = [0, 0, 0x4c, 0x4b, 0x40, 0];
    for method in ["Subscribe", "WatchReplicas", "Submit", "ReportProgress"] {
        for (what, headers, body, code) in [
            ("gzip", &[("grpc-encoding", "gzip")][..], &[1, 0, 0, 0, 0][..], Code::Unimplemented),
            ("a compressed message without a header", &[], &[1, 0, 0, 0, 0], Code::Internal),
            ("no message", &[], &[], Code::Internal),
            ("half a message", &[], &[0, 0, 0, 0, 9, 1], Code::Internal),
            ("a malformed message", &[], &malformed, Code::Internal),
            ("an oversized message", &[], &oversized, Code::OutOfRange),
        ] {
            let answer = call(&leader, method, headers, body).await;
            // These come from the transport. As the contract says, they have no reason.
            assert_eq!((answer.http, answer.error()), (200, (code, String::new())), "{what} to {method}: {answer:?}");
            if what == "gzip" {
                assert_eq!(answer.header("grpc-accept-encoding"), "identity", "{method}");
                assert!(answer.status().message().contains("gzip"), "{method}");
            }
        }
        let fine = call(&leader, method, &[("grpc-encoding", "identity"), ("grpc-timeout", "300m")], &[0; 5]).await;
        assert!(matches!(fine.status().code(), Code::InvalidArgument | Code::DeadlineExceeded), "{method}: {fine:?}");
    }
    leader.stop().await;
}

#[tokio::test]
async fn every_call_answers_invalid_requests_with_a_reason() {
    let mut small = config(Generator::Off);
    small.retain = NonZeroU64::new(5).unwrap();
    let leader = TestLeader::start(small).await;
    let calls = leader.calls();
    for n in 1..=20 {
        calls.submit(Operation::Add(n)).await.unwrap();
    }
    let position = pb::LogPosition { log_id: vec![1], index: 1, digest: 1 };
    let long = pb::Replica { name: "x".repeat(65), ..Default::default() };
    let subscribe = |replica, resume_from| framed(&pb::SubscribeRequest { replica, resume_from, ..Default::default() });
    let control = |rate| framed(&pb::ControlGeneratorRequest { paused: None, rate: Some(rate) });
    let watch = |replica| framed(&pb::WatchReplicasRequest { replica: Some(replica) });
    let report = |replica, position| framed(&pb::ReportProgressRequest { replica, position, ..Default::default() });
    let read = |first_index, page_size| framed(&pb::ReadEventsRequest { first_index, page_size });
    for (method, body, expected) in [
        ("Subscribe", subscribe(None, Some(position.clone())), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("Subscribe", subscribe(Some(long.clone()), None), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("WatchReplicas", watch(long.clone()), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("ControlGenerator", control(5.0), reason(Code::FailedPrecondition, "NO_GENERATOR")),
        ("ReportProgress", report(None, None), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("ReportProgress", report(None, Some(position)), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("ReportProgress", report(Some(long), None), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("Submit", framed(&pb::SubmitRequest::default()), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("Submit", framed(&add(i64::MAX)), reason(Code::OutOfRange, "OVERFLOW")),
        ("ReadEvents", read(1, -1), reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("ReadEvents", read(1, 1), reason(Code::OutOfRange, "COMPACTED")),
        ("ReadSnapshot", framed(&pb::ReadSnapshotRequest { index: 1 }), reason(Code::OutOfRange, "COMPACTED")),
    ] {
        assert_eq!(call(&leader, method, &[], &body).await.error(), expected, "{method} over HTTP/2");
        let web = web_call(&leader, method, "application/grpc-web", "", &body).await;
        assert_eq!(web.error(), expected, "{method} over gRPC-Web");
    }
    leader.stop().await;
}

/// A code as the contract spells it.
fn spelled(code: Code) -> String {
    let name = format!("{code:?}");
    let words = name.chars().enumerate().map(|(at, letter)| {
        let gap = if at > 0 && letter.is_uppercase() { "_" } else { "" };
        format!("{gap}{}", letter.to_ascii_uppercase())
    });
    words.collect()
}

/// Every pair of code and reason in the contract: in a row of a table, or with the reason in parentheses.
fn documented() -> BTreeSet<(String, String)> {
    let codes: Vec<String> = (1..=16).map(|code| spelled(Code::from(code))).collect();
    let contract = include_str!("../../../proto/calculator/v1/calculator.proto");
    let comments = contract.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
    let reason_of = |word: &str| {
        let reason = word.trim_start_matches('(').trim_end_matches([')', ',', '.', ';', ':']);
        let named = reason.len() > 3 && reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        named.then(|| reason.to_owned())
    };
    let mut found = BTreeSet::new();
    for line in comments.clone() {
        let mut words = line.split_whitespace();
        if let (Some(code), Some(word)) = (words.next(), words.next())
            && codes.iter().any(|known| known == code)
            && let Some(reason) = reason_of(word).filter(|_| !word.starts_with('('))
        {
            found.insert((code.to_owned(), reason));
        }
    }
    let words: Vec<&str> = comments.flat_map(str::split_whitespace).collect();
    for pair in words.windows(2) {
        if let [code, word] = pair
            && codes.iter().any(|known| known == code)
            && word.starts_with('(')
            && let Some(reason) = reason_of(word)
        {
            found.insert(((*code).to_owned(), reason));
        }
    }
    found
}

#[tokio::test]
async fn the_leader_gives_exactly_the_reasons_that_the_contract_lists() {
    let mut small = config(Generator::Off);
    small.retain = NonZeroU64::new(5).unwrap();
    small.max_subscribers = 0;
    small.limits.watchers = 0;
    let leader = TestLeader::start(small).await;
    for n in 1..=20 {
        leader.calls().submit(Operation::Add(n)).await.unwrap();
    }
    leader.calls().submit(Operation::Subtract(1_000)).await.unwrap();
    let by = |id: &str, sequence, operation: Operation, expected_index| {
        let producer = Some(pb::Producer { id: id.to_owned(), sequence });
        framed(&pb::SubmitRequest { producer, expected_index, ..engine::Submission::from(operation).into() })
    };
    let mut met: Vec<Status> = Vec::new();
    for body in [
        framed(&pb::SubmitRequest::default()),
        framed(&add(i64::MIN)),
        by("a", 1, Operation::Divide(0), None),
        by("a", 1, Operation::SquareRoot, None),
        by("a", 1, Operation::Add(1), Some(3)),
        by("a", 9, Operation::Add(1), None),
        by("b", 1, Operation::Add(1), None),
        by("b", 1, Operation::Add(2), None),
        by("b", 2, Operation::Add(1), None),
        by("b", 1, Operation::Add(1), None),
    ] {
        met.push(call(&leader, "Submit", &[], &body).await.status());
    }
    met.push(
        call(&leader, "ReadEvents", &[], &framed(&pb::ReadEventsRequest { first_index: 1, page_size: 1 }))
            .await
            .status(),
    );
    met.push(call(&leader, "Submit", &[("grpc-timeout", "0m")], &[0; 5]).await.status());
    met.push(
        call(&leader, "Submit", &[("origin", "https://a.example"), ("host", "a.example")], &[0; 5]).await.status(),
    );
    let cross = [("origin", "https://a.example"), ("sec-fetch-site", "cross-site")];
    met.push(call(&leader, "Submit", &cross, &[0; 5]).await.status());
    met.push(call(&leader, "WatchReplicas", &[], &[0; 5]).await.status());
    let pause = framed(&pb::ControlGeneratorRequest { paused: Some(true), rate: None });
    met.push(call(&leader, "ControlGenerator", &[], &pause).await.status());
    met.push(ControlRefused::Off.into());
    let at_the_tail = framed(&wire::sharedcalculator::GetUpdatesRequest { from_index: 20 });
    for (path, body) in
        [("/no.such.Service/Call", &[0; 5][..]), ("/sharedcalculator.Leader/StreamUpdates", &at_the_tail)]
    {
        let uri = format!("http://{}{path}", leader.address);
        met.push(http2(leader.address, "POST", &uri, &[GRPC], body).await.status());
    }
    // Errors that need a failing disk, another leader or a shutdown.
    let store = |error| Status::from(NotCommitted::Store(error));
    met.extend([
        NotCommitted::QueueFull.into(),
        NotCommitted::ShuttingDown.into(),
        store(AppendError::Unavailable("full".to_owned())),
        store(AppendError::OutcomeUnknown("?".to_owned())),
        store(AppendError::Fenced(Fenced { own: Term(1), by: Term(2) })),
        leader::rpc::status::read_status(&ReadError::Corrupt(Corrupt { index: Index(1), what: "?".to_owned() })),
    ]);
    let met: BTreeSet<_> = met
        .iter()
        .filter(|status| status.code() != Code::Ok)
        .map(|status| {
            (spelled(status.code()), status.get_details_error_info().map_or(String::new(), |info| info.reason))
        })
        .collect();
    let mut documented = documented();
    for (code, reason, tested_in) in [
        ("RESOURCE_EXHAUSTED", "NOT_LOOKED_UP", "service.rs, with a log that is opened again"),
        ("DEADLINE_EXCEEDED", "REQUEST_TOO_SLOW", "connections.rs, with a body that does not arrive"),
        ("UNAUTHENTICATED", "TOKEN_MISSING", "tokens.rs"),
        ("UNAUTHENTICATED", "TOKEN_UNKNOWN", "tokens.rs"),
        ("PERMISSION_DENIED", "TOKEN_ONLY_READS", "tokens.rs"),
        ("RESOURCE_EXHAUSTED", "TOO_MANY_OF_CLIENT", "limits.rs"),
        ("RESOURCE_EXHAUSTED", "TOO_MANY_SUBMITS", "limits.rs"),
    ] {
        assert!(documented.remove(&(code.to_owned(), reason.to_owned())), "{reason}, tested in {tested_in}");
    }
    assert_eq!(met, documented);
    leader.stop().await;
}

#[tokio::test]
async fn streams_end_at_the_callers_deadline() {
    let leader = TestLeader::start(config(Generator::Rate(2_000))).await;
    for (service, method) in
        [(SERVICE, "Subscribe"), (SERVICE, "WatchReplicas"), ("/sharedcalculator.Leader", "StreamUpdates")]
    {
        let uri = format!("http://{}{service}/{method}", leader.address);
        let start = Instant::now();
        let answer = http2(leader.address, "POST", &uri, &[GRPC, ("grpc-timeout", "600m")], &[0; 5]).await;
        let took = start.elapsed();
        assert_eq!(answer.error(), reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{method}");
        assert!(took >= Duration::from_millis(590) && took < Duration::from_secs(10), "{method} took {took:?}");
        assert!(answer.body.len() > 100, "it was a stream until then");
    }
    let answer = web_call(&leader, "Subscribe", "application/grpc-web", "\r\ngrpc-timeout: 500m", &[0; 5]).await;
    assert_eq!(answer.error(), reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    let deadline = Instant::now() + common::PATIENCE;
    let mut client = leader.calls_client().await;
    while client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().subscribers > 0 {
        assert!(Instant::now() < deadline, "streams are left after their deadlines");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    leader.stop().await;
}

#[tokio::test]
async fn single_calls_end_at_the_callers_deadline() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let body = framed(&add(1));
    for (timeout, expected) in [
        ("0m", reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")),
        ("99999999H", reason(Code::Ok, "")),
        ("10S", reason(Code::Ok, "")),
        ("soon", reason(Code::InvalidArgument, "INVALID_REQUEST")),
        ("123456789n", reason(Code::InvalidArgument, "INVALID_REQUEST")),
    ] {
        let answer = call(&leader, "Submit", &[("grpc-timeout", timeout)], &body).await;
        assert_eq!(answer.error(), expected, "grpc-timeout: {timeout}");
    }
    // A body that does not arrive.
    let (mut client, connection) =
        h2::client::handshake(tokio::net::TcpStream::connect(leader.address).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{SERVICE}/Submit", leader.address))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "200m");
    let (response, _open) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let response = tokio::time::timeout(Duration::from_secs(10), response).await.unwrap().unwrap();
    assert_eq!(tonic::Status::from_header_map(response.headers()).unwrap().code(), Code::DeadlineExceeded);
    leader.stop().await;
}

#[tokio::test]
async fn answers_forbid_proxies_to_buffer_or_change_them() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let assert_headers = |answer: &Answer, what: &str| {
        assert_eq!(answer.header("x-accel-buffering"), "no", "{what}");
        assert_eq!(answer.header("cache-control"), "no-store, no-transform", "{what}");
    };
    let timeout = "\r\ngrpc-timeout: 200m";
    for media_type in ["application/grpc-web+proto", "application/grpc-web-text"] {
        let body: &[u8] = if media_type.contains("text") { b"AAAAAAA=" } else { &[0; 5] };
        assert_headers(&web_call(&leader, "Subscribe", media_type, timeout, body).await, media_type);
    }
    assert_headers(&call(&leader, "Subscribe", &[("grpc-timeout", "200m")], &[0; 5]).await, "native");
    let uri = format!("http://{}/sharedcalculator.Leader/StreamUpdates", leader.address);
    let headers = [GRPC, ("grpc-timeout", "200m")];
    assert_headers(&http2(leader.address, "POST", &uri, &headers, &[0; 5]).await, "the original's stream");
    let head = "POST /sharedcalculator.Leader/StreamUpdates HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/grpc-web\r\ngrpc-timeout: 200m";
    assert_headers(&http1(leader.address, head, &[0; 5]).await, "the original's stream over gRPC-Web");
    leader.stop().await;
}

#[tokio::test]
async fn a_stream_over_http_1_0_is_not_buffered_and_ends_in_order() {
    // nginx uses HTTP/1.0 by default.
    let leader = TestLeader::start(config(Generator::Off)).await;
    let head = format!(
        "POST {SERVICE}/Subscribe HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/grpc-web+proto\r\n\
         grpc-timeout: 500m"
    );
    let answer = http1(leader.address, &head, &[0; 5]).await;
    assert!(answer.http == 200 && answer.body.len() > 40, "{answer:?}");
    assert_eq!(answer.error(), reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    leader.stop().await;
}
