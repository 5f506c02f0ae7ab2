//! The one port: gRPC-Web over HTTP/1.1, health, reflection, and the page.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod common;

use common::{TestLeader, config};
use engine::{Frame, Operation};
use leader::config::Generator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use wire::frame::decode_next;

/// Sends an HTTP/1.1 request and reads until `enough` returns true or the server closes.
async fn http1(leader: &TestLeader, head: &str, body: &[u8], enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut connection = TcpStream::connect(leader.address).await.unwrap();
    let length = body.len();
    let request = format!("{head}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let reading = async { while !enough(&answer) && connection.read_buf(&mut answer).await.unwrap() > 0 {} };
    tokio::time::timeout(common::PATIENCE, reading).await.expect("no answer in time");
    answer
}

fn chunks(answer: &[u8]) -> Vec<u8> {
    let mut rest = &answer[head_end(answer)..];
    let mut payload = Vec::new();
    while let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 || rest.len() < line + 2 + size {
            break;
        }
        payload.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[(line + 4 + size).min(rest.len())..];
    }
    payload
}

fn head_end(answer: &[u8]) -> usize {
    answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4)
}

#[tokio::test]
async fn grpc_web_over_http_1_carries_the_same_frames() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    leader.calls().submit(Operation::Add(5)).await.unwrap();
    let head = "POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nContent-Type: application/grpc-web+proto";
    // An empty message behind its prefix.
    let answer = http1(&leader, head, &[0; 5], |answer| chunks(answer).len() > 60).await;
    let text = String::from_utf8_lossy(&answer[..head_end(&answer)]).to_lowercase();
    assert!(text.starts_with("http/1.1 200"), "{text}");
    assert!(text.contains("content-type: application/grpc-web+proto"), "{text}");
    let mut frames = chunks(&answer).into();
    assert!(matches!(decode_next(&mut frames), Ok(Some(Frame::Welcome(_)))));
    let Ok(Some(Frame::Snapshot(snapshot))) = decode_next(&mut frames) else { panic!("no snapshot") };
    assert_eq!(snapshot.snapshot.value(), 5);
    leader.stop().await;
}

#[tokio::test]
async fn an_http_1_stream_ends_with_a_goodbye_and_trailers() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let address = leader.address;
    let reading = tokio::spawn(async move {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = "POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nHost: localhost\r\n\
                    Content-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&[0; 5]).await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        answer
    });
    leader.until_subscribers(1).await;
    leader.stop().await;
    let answer = reading.await.unwrap();
    assert!(answer.ends_with(b"0\r\n\r\n"), "the answer is cut off");
    let payload = chunks(&answer);
    let text = String::from_utf8_lossy(&payload).to_lowercase();
    assert!(text.contains("grpc-status:0"), "{text}");
}

#[tokio::test]
async fn the_page_and_health_are_plain_http() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let all = |answer: &[u8]| answer.len() > head_end(answer);
    let health = http1(&leader, "GET /healthz HTTP/1.1", b"", all).await;
    assert!(health.starts_with(b"HTTP/1.1 200") && health.ends_with(b"ok\n"));
    let missing = http1(&leader, "GET /nowhere HTTP/1.1", b"", all).await;
    assert!(missing.starts_with(b"HTTP/1.1 404"));
    let posted =
        http1(&leader, "POST / HTTP/1.1", b"", |answer| head_end(answer) < answer.len() || answer.len() > 90).await;
    assert!(posted.starts_with(b"HTTP/1.1 405"));
    let page = http1(&leader, "GET / HTTP/1.1", b"", all).await;
    let text = String::from_utf8_lossy(&page).to_lowercase();
    if std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html.br")).exists() {
        assert!(text.starts_with("http/1.1 200") && text.contains("content-type: text/html"), "{text}");
    } else {
        assert!(text.starts_with("http/1.1 503") && text.contains("cargo xtask web"), "{text}");
    }
    assert!(text.contains("content-security-policy: default-src 'self'"), "{text}");
    leader.stop().await;
}

#[tokio::test]
async fn grpc_health_and_reflection_answer() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let channel = leader.channel().await;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "calculator.v1.CalculatorService", "sharedcalculator.Leader"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }

    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["calculator.v1.CalculatorService", "sharedcalculator.Leader", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|listed| listed == name), "{name} is not in {names:?}");
    }
    drop(answers);
    leader.stop().await;
}
