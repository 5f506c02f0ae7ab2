//! The limits that flags set: what happens beyond, and what the metrics tell.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use common::raw::{framed, http1, http2};
use common::{Follower, PATIENCE, TestLeader, config};
use engine::{Operation, ProducerId, Sequence, Submission};
use follower::grpc::SubmitError;
use leader::config::{Config, Generator};
use leader::http::client::TrustedProxies;
use leader::http::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;
use tonic_types::StatusExt;
use wire::pb;

async fn leader(change: impl FnOnce(&mut Limits)) -> TestLeader {
    let mut limits = Limits::default();
    change(&mut limits);
    TestLeader::start(Config { limits, ..config(Generator::Off) }).await
}

/// A connection from one of this machine's own addresses.
async fn connect_from(address: &str, leader: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(leader).await.unwrap()
}

/// Whether the leader answers on the connection; otherwise it has closed it.
async fn is_served(connection: &mut TcpStream) -> bool {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut answer = [0; 12];
    let asked = async {
        connection.write_all(request).await?;
        connection.read_exact(&mut answer).await
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap().is_ok() && answer == *b"HTTP/1.1 200"
}

/// The value of a series; 0 if there is none.
async fn metric(leader: &TestLeader, name: &str) -> f64 {
    let answer = http1(leader.address, "GET /metrics HTTP/1.1\r\nHost: localhost", b"").await;
    let text = answer.text();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map_or(0.0, |value| value.parse().unwrap())
}

/// Subscribes as a proxy does for a client, and returns the code and reason if that is refused.
async fn subscribe_for(leader: &TestLeader, client: &str) -> Option<(Code, String)> {
    let headers = [("content-type", "application/grpc"), ("x-forwarded-for", client)];
    let uri = format!("{}/calculator.v1.CalculatorService/Subscribe", leader.url());
    let body = framed(&pb::SubscribeRequest::default());
    let asked = http2(leader.address, "POST", &uri, &headers, &body);
    // A stream that is admitted does not end.
    let answer = tokio::time::timeout(Duration::from_millis(500), asked).await.ok()?;
    assert!(answer.status().get_details_retry_info().is_some(), "{answer:?}");
    Some(answer.error())
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once_until_others_end() {
    let leader = leader(|limits| limits.connections = 2).await;
    let (mut first, mut second) =
        (TcpStream::connect(leader.address).await.unwrap(), TcpStream::connect(leader.address).await.unwrap());
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(!is_served(&mut TcpStream::connect(leader.address).await.unwrap()).await);
    drop(first);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_served(&mut TcpStream::connect(leader.address).await.unwrap()).await {
        assert!(std::time::Instant::now() < deadline, "the place was not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(metric(&leader, "calculator_refused_connections_total{limit=\"all\"}").await >= 1.0);
}

#[tokio::test]
async fn one_client_cannot_take_the_connections_of_others() {
    let leader = leader(|limits| limits.per_client = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connect_from("127.0.0.7", leader.address).await);
        assert!(is_served(held.last_mut().unwrap()).await);
    }
    assert!(!is_served(&mut connect_from("127.0.0.7", leader.address).await).await);
    assert!(is_served(&mut connect_from("127.0.0.8", leader.address).await).await);
    assert_eq!(metric(&leader, "calculator_refused_connections_total{limit=\"client\"}").await, 1.0);
}

#[tokio::test]
async fn streams_are_counted_for_the_client_that_a_trusted_proxy_names() {
    let limits = Limits { per_client: 2, ..Limits::default() };
    let trusted_proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let leader = TestLeader::start(Config { limits, trusted_proxies, ..config(Generator::Off) }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let follower = Follower::start(&leader.url(), &format!("held-{}", open.len()));
        follower.recorder.until_live().await;
        open.push(follower);
    }
    // Those two came without a name, so they are the proxy's own.
    let refused = (Code::ResourceExhausted, "TOO_MANY_OF_CLIENT".to_owned());
    assert_eq!(subscribe_for(&leader, "127.0.0.1").await, Some(refused.clone()));
    assert_eq!(subscribe_for(&leader, "198.51.100.7").await, None);
    assert_eq!(subscribe_for(&leader, "10.0.0.1, 198.51.100.8").await, None);
    assert_eq!(metric(&leader, "calculator_refusals_total{reason=\"TOO_MANY_OF_CLIENT\"}").await, 1.0);
}

#[tokio::test]
async fn a_client_that_is_no_trusted_proxy_cannot_count_as_somebody_else() {
    let leader = leader(|limits| limits.submits_of_one = NonZeroU32::new(5).unwrap()).await;
    let mut client = leader.calls_client().await;
    let mut refused = 0;
    for number in 0..20 {
        let mut request = tonic::Request::new(pb::SubmitRequest::from(Submission::from(Operation::Add(1))));
        request.metadata_mut().insert("x-forwarded-for", format!("198.51.100.{number}").parse().unwrap());
        refused += usize::from(client.submit(request).await.is_err());
    }
    assert!(refused >= 8, "{refused}");
}

#[tokio::test]
async fn a_connection_has_as_many_calls_as_the_leader_says() {
    let leader = leader(|limits| limits.calls = 7).await;
    let (client, connection) = h2::client::handshake(TcpStream::connect(leader.address).await.unwrap()).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = http::Request::get(format!("{}/healthz", leader.url())).body(()).unwrap();
    client.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(client.current_max_send_streams(), 7);
    connection.abort();
}

#[tokio::test]
async fn a_head_or_request_that_is_too_large_is_refused() {
    let leader = leader(|limits| (limits.head_bytes, limits.request_bytes) = (8_192, 1_024)).await;
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(10_000));
    assert_eq!(http1(leader.address, &head, b"").await.http, 431);
    assert_eq!(metric(&leader, "calculator_failed_connections_total{problem=\"head_too_large\"}").await, 1.0);

    let uri = format!("{}/calculator.v1.CalculatorService/GetStatus", leader.url());
    let large = [&[0][..], &2_000_u32.to_be_bytes(), &[0; 2_000]].concat();
    let answer = http2(leader.address, "POST", &uri, &[("content-type", "application/grpc")], &large).await;
    assert_eq!(answer.status().code(), Code::OutOfRange);
    let series = "calculator_calls_total{method=\"calculator.v1.CalculatorService/GetStatus\",code=\"OutOfRange\"}";
    assert_eq!(metric(&leader, series).await, 1.0);
}

#[tokio::test]
async fn a_producer_that_submits_too_much_is_told_when_to_try_again_and_others_go_on() {
    let leader = leader(|limits| limits.submits_of_one = NonZeroU32::new(5).unwrap()).await;
    let calls = leader.calls();
    let submit = |producer: &str, sequence: u64| Submission {
        producer: Some((ProducerId::new(producer).unwrap(), Sequence(sequence))),
        ..Operation::Add(1).into()
    };
    let mut taken = 0;
    let mut refused = None;
    for sequence in 1..=20 {
        match calls.submit(submit("greedy", taken + 1)).await {
            Ok(_) => taken += 1,
            Err(error) => refused = Some((sequence, error)),
        }
    }
    let (_, refused) = refused.unwrap();
    assert!(matches!(&refused, SubmitError::Busy(message) if message.contains("this producer")), "{refused:?}");
    assert!((5..12).contains(&taken), "{taken}");
    calls.submit(submit("modest", 1)).await.unwrap();
    assert!(metric(&leader, "calculator_refusals_total{reason=\"TOO_MANY_SUBMITS\"}").await >= 8.0);

    let mut client = leader.calls_client().await;
    let request = pb::SubmitRequest::from(Submission::from(Operation::Add(1)));
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(client.submit(request.clone()).await);
    }
    let status = answers.into_iter().find_map(Result::err).expect("a caller without a producer is limited, too");
    let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(status.code() == Code::ResourceExhausted && retry <= Duration::from_secs(1), "{status:?}");
}

#[tokio::test]
async fn all_producers_together_are_limited() {
    let leader = leader(|limits| limits.submits = NonZeroU32::new(5).unwrap()).await;
    let calls = leader.calls();
    let mut refused = 0;
    for number in 0..20 {
        let producer = Some((ProducerId::new(&format!("producer-{number}")).unwrap(), Sequence(1)));
        let answer = calls.submit(Submission { producer, ..Operation::Add(1).into() }).await;
        refused += usize::from(matches!(answer, Err(SubmitError::Busy(_))));
    }
    assert!(refused >= 8, "{refused}");
}
