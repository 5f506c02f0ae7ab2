//! Bounds of connections: deadlines, idle connections, unfinished calls.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, TestLeader, config};
use engine::Operation;
use leader::config::{Config, Generator};
use leader::http::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const SUBMIT: &str = "/calculator.v1.CalculatorService/Submit";
const SUBSCRIBE: &str = "/calculator.v1.CalculatorService/Subscribe";

/// Every limit in these tests is at most 2 s. An end after this time is too late.
const LATE: Duration = Duration::from_secs(6);

fn impatient() -> Config {
    let second = Duration::from_secs(1);
    let limits = Limits { head: second, body: second, idle: 2 * second, closing: second / 2, ..Limits::default() };
    Config { limits, ..config(Generator::Off) }
}

fn web_call(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Sends `bytes` and reads until the server closes. Returns the answer and how long that took.
async fn until_closed(leader: &TestLeader, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let mut connection = TcpStream::connect(leader.address).await.unwrap();
    let start = Instant::now();
    connection.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset counts as closed.
    let reading = async { while connection.read_buf(&mut answer).await.unwrap_or(0) > 0 {} };
    tokio::time::timeout(PATIENCE, reading).await.expect("the server did not close the connection");
    (answer, start.elapsed())
}

#[tokio::test]
async fn connections_that_never_finish_a_request_are_closed() {
    let leader = TestLeader::start(impatient()).await;
    let whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let cases: [(&str, Vec<u8>); 7] = [
        ("nothing", Vec::new()),
        ("one byte", b"P".to_vec()),
        ("half an HTTP/2 preface", PREFACE[..10].to_vec()),
        ("only the preface", PREFACE.to_vec()),
        ("a preface and settings", [PREFACE, SETTINGS].concat()),
        ("half a head", b"GET / HTTP/1.1\r\nHost:".to_vec()),
        ("a request and half a head", [whole.as_slice(), b"GET / HT"].concat()),
    ];
    let leader_ref = &leader;
    let closing = cases.iter().map(|(what, bytes)| async move {
        let (_, took) = until_closed(leader_ref, bytes).await;
        assert!(took > Duration::from_millis(900) && took < LATE, "{what} was closed after {took:?}");
    });
    futures_util::future::join_all(closing).await;
    leader.stop().await;
}

#[tokio::test]
async fn a_request_without_its_body_is_answered_and_closed() {
    let leader = TestLeader::start(impatient()).await;
    for (half, what) in [(&[][..], "no body"), (&[0, 0, 0, 0][..], "half a prefix"), (&[0, 0, 0, 0, 40, 1][..], "half")]
    {
        for path in [SUBMIT, SUBSCRIBE] {
            let request = [web_call(path, 45).as_bytes(), half].concat();
            let (answer, took) = until_closed(&leader, &request).await;
            let answer = String::from_utf8_lossy(&answer).to_lowercase();
            assert!(answer.contains("grpc-status:4") || answer.contains("grpc-status: 4"), "{path}, {what}: {answer}");
            assert!(took < LATE, "{what} took {took:?}");
        }
    }

    // Over HTTP/2, with a head and no body: the connection stays open.
    let channel = leader.channel().await;
    let mut calls = tonic::client::Grpc::new(channel.clone());
    calls.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<pb::SubmitRequest, pb::SubmitResponse>::default();
    let never = tonic::Request::new(tokio_stream::pending());
    let answer = calls.client_streaming(never, http::uri::PathAndQuery::from_static(SUBMIT), codec);
    let status = tokio::time::timeout(LATE, answer).await.expect("no answer in time").unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_TOO_SLOW");
    CalculatorServiceClient::new(channel).get_status(pb::GetStatusRequest {}).await.unwrap();
    leader.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed_and_streams_are_not() {
    let leader = TestLeader::start(impatient()).await;
    // A stream over each protocol, both with heartbeats only.
    let mut web = TcpStream::connect(leader.address).await.unwrap();
    web.write_all(&[web_call(SUBSCRIBE, 5).as_bytes(), &[0; 5]].concat()).await.unwrap();
    let request = pb::SubscribeRequest::default();
    let stream = CalculatorServiceClient::new(leader.channel().await).subscribe(request).await.unwrap();
    let mut stream = stream.into_inner();

    // A client that called once, and one that never called. Both call after their connections were closed.
    let mut called = CalculatorServiceClient::new(leader.channel().await);
    called.get_status(pb::GetStatusRequest {}).await.unwrap();
    let mut never_called = CalculatorServiceClient::new(leader.channel().await);
    let (_, took) = until_closed(&leader, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(took > Duration::from_millis(1_900) && took < LATE, "an idle connection was closed after {took:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for client in [&mut called, &mut never_called] {
        client.get_status(pb::GetStatusRequest {}).await.unwrap();
    }

    let calls = leader.calls();
    calls.submit(Operation::Add(1)).await.unwrap();
    let is_batch =
        |message: &pb::SubscribeResponse| matches!(message.frame, Some(pb::subscribe_response::Frame::Batch(_)));
    let reading = async { while !is_batch(&stream.message().await.unwrap().unwrap()) {} };
    tokio::time::timeout(PATIENCE, reading).await.expect("the HTTP/2 stream delivers nothing");
    assert_eq!(called.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().subscribers, 2);
    leader.stop().await;
}

/// The heads of `count` calls on one HTTP/2 connection, without bodies.
fn half_open_calls(count: u32) -> Vec<u8> {
    let field = |name: &[u8], value: &[u8]| {
        let short = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
        [&[0][..], &short(name), &short(value)].concat()
    };
    let head = [
        field(b":method", b"POST"),
        field(b":scheme", b"http"),
        field(b":path", SUBMIT.as_bytes()),
        field(b":authority", b"localhost"),
        field(b"content-type", b"application/grpc"),
        field(b"te", b"trailers"),
    ]
    .concat();
    let length = u32::try_from(head.len()).unwrap().to_be_bytes();
    let mut bytes = [PREFACE, SETTINGS].concat();
    for call in 0..count {
        // HEADERS with END_HEADERS and without END_STREAM.
        bytes.extend_from_slice(&length[1..]);
        bytes.extend_from_slice(&[1, 4]);
        bytes.extend_from_slice(&(1 + 2 * call).to_be_bytes());
        bytes.extend_from_slice(&head);
    }
    bytes
}

#[tokio::test]
async fn one_connection_cannot_hold_thousands_of_calls() {
    let leader = TestLeader::start(Config { limits: Limits::default(), ..impatient() }).await;
    let mut connection = TcpStream::connect(leader.address).await.unwrap();
    connection.write_all(&half_open_calls(9_900)).await.unwrap();
    // The server refuses every call beyond the limit, or ends the connection.
    let (mut read, mut refused, mut over) = (Vec::new(), 0, false);
    let deadline = Instant::now() + PATIENCE;
    while refused < 9_900 - 1_024 && !over {
        assert!(Instant::now() < deadline, "only {refused} calls were refused");
        over = tokio::time::timeout(PATIENCE, connection.read_buf(&mut read)).await.unwrap().unwrap_or(0) == 0;
        while read.len() >= 9 {
            let length = u32::from_be_bytes([0, read[0], read[1], read[2]]) as usize;
            if read.len() < 9 + length {
                break;
            }
            // RST_STREAM is 3, GOAWAY 7.
            refused += usize::from(read[3] == 3);
            over |= read[3] == 7;
            read.drain(..9 + length);
        }
    }
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    client.get_status(pb::GetStatusRequest {}).await.unwrap();
    leader.stop().await;
}

#[tokio::test]
async fn the_size_of_heads_is_bounded() {
    let leader = TestLeader::start(impatient()).await;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n", "x".repeat(20_000));
    let (answer, _) = until_closed(&leader, request.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let mut request = tonic::Request::new(pb::GetStatusRequest {});
    request.metadata_mut().insert("x", "x".repeat(20_000).parse().unwrap());
    client.get_status(request).await.unwrap_err();
    client.get_status(pb::GetStatusRequest {}).await.unwrap();
    leader.stop().await;
}
