//! Readers behind a middlebox that acknowledges bytes for them: only their reports show that they are alive.

use std::time::{Duration, Instant};

use leader::config::{Config, Generator};
use leader::http::limits::Limits;
use leader::roster::Patience;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Streaming;
use tonic::transport::Channel;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::pb::subscribe_response::Frame;

use crate::common::{PATIENCE, TestLeader, config};

type Client = CalculatorServiceClient<Channel>;

pub(crate) fn impatient(generator: Generator) -> Config {
    let streams = Patience { silent: Duration::from_secs(4), missing: Duration::from_secs(2) };
    Config { limits: Limits { streams, ..Limits::default() }, ..config(generator) }
}

fn replica(id: &str) -> pb::Replica {
    pb::Replica { id: id.to_owned(), name: id.to_owned(), kind: pb::ReplicaKind::Native.into() }
}

struct Subscribed {
    frames: Streaming<pb::SubscribeResponse>,
    report: pb::ReportProgressRequest,
}

/// Subscribes and reads only the welcome and the snapshot.
async fn subscribe(client: &mut Client, id: &str) -> Subscribed {
    let request = pb::SubscribeRequest { replica: Some(replica(id)), resume_from: None, ..Default::default() };
    let mut frames = client.subscribe(request).await.unwrap().into_inner();
    let Some(Frame::Welcome(welcome)) = frames.message().await.unwrap().unwrap().frame else { panic!("no welcome") };
    let Some(Frame::Snapshot(snapshot)) = frames.message().await.unwrap().unwrap().frame else { panic!("no snapshot") };
    assert_ne!(welcome.stream_id, 0);
    let position = pb::LogPosition { log_id: snapshot.log_id, index: snapshot.index, digest: snapshot.digest };
    let report = pb::ReportProgressRequest {
        replica: Some(replica(id)),
        position: Some(position),
        stream_id: welcome.stream_id,
        ..Default::default()
    };
    Subscribed { frames, report }
}

async fn subscribers(client: &mut Client) -> u32 {
    client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().subscribers
}

/// Whether the replica is listed as connected. False if it is not listed.
async fn connected(client: &mut Client, id: &str) -> bool {
    let list = client.list_replicas(pb::ListReplicasRequest {}).await.unwrap().into_inner().replicas;
    list.iter().any(|listed| listed.connected && listed.replica.as_ref().is_some_and(|replica| replica.id == id))
}

/// Waits until there are `count` subscribers. Returns how long that took.
async fn until_subscribers(client: &mut Client, count: u32) -> Duration {
    let start = Instant::now();
    while subscribers(client).await != count {
        assert!(start.elapsed() < PATIENCE, "{} subscribers instead of {count}", subscribers(client).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_stream_whose_reports_cease_ends_alone_although_its_bytes_are_acknowledged() {
    // At this rate the unread stream's window fills, so that no frame can end the stream: it must be reset.
    let leader = TestLeader::start(impatient(Generator::Rate(20_000))).await;
    let channel = leader.channel().await;
    let mut client = Client::new(channel.clone());
    let mut dead = subscribe(&mut Client::new(channel.clone()), "dead").await;
    let mut alive = subscribe(&mut Client::new(channel.clone()), "alive").await;
    client.report_progress(dead.report.clone()).await.unwrap();
    assert!(connected(&mut client, "dead").await && connected(&mut client, "alive").await);

    let start = Instant::now();
    let mut listed_until = Duration::ZERO;
    while subscribers(&mut client).await == 2 {
        assert!(start.elapsed() < PATIENCE, "the dead stream is still there");
        if connected(&mut client, "dead").await {
            listed_until = start.elapsed();
        }
        client.report_progress(alive.report.clone()).await.unwrap();
        let reading = async { while alive.frames.message().await.unwrap().is_some() {} };
        assert!(
            tokio::time::timeout(Duration::from_millis(200), reading).await.is_err(),
            "the stream that reports ended"
        );
    }
    let took = start.elapsed();
    println!("not connected after {listed_until:?}, gone after {took:?}");
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(10), "the dead stream ended after {took:?}");
    assert!(listed_until < Duration::from_secs(4), "the dead replica was listed as connected for {listed_until:?}");
    // The stream was reset, and the connection still serves its other calls.
    let rest = async { while dead.frames.message().await.is_ok_and(|frame| frame.is_some()) {} };
    tokio::time::timeout(PATIENCE, rest).await.expect("the dead stream was not reset");
    assert!(alive.frames.message().await.unwrap().is_some());
    leader.stop().await;
}

#[tokio::test]
async fn a_slow_reader_is_not_cut_off_with_or_without_reports() {
    let leader = TestLeader::start(impatient(Generator::Rate(20_000))).await;
    let mut client = Client::new(leader.channel().await);
    // One reads nothing and never reports. Its window closes at once, and its system answers every probe of it.
    let mut silent = TcpStream::connect(leader.address).await.unwrap();
    let head = "POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
    silent.write_all(head.as_bytes()).await.unwrap();
    // The other, on a connection of its own, reads nothing but reports.
    let mut reporting = subscribe(&mut Client::new(leader.channel().await), "slow").await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        client.report_progress(reporting.report.clone()).await.unwrap();
        assert!(connected(&mut client, "slow").await);
        assert_eq!(subscribers(&mut client).await, 2, "after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut bytes = vec![0; 1 << 20];
    assert!(silent.read(&mut bytes).await.unwrap() > 0);
    assert!(reporting.frames.message().await.unwrap().is_some());
    leader.stop().await;
}

#[tokio::test]
async fn an_older_stream_of_a_replica_ends_first_and_a_duplicated_tab_keeps_both() {
    let leader = TestLeader::start(impatient(Generator::Off)).await;
    let mut client = Client::new(leader.channel().await);
    let first = subscribe(&mut Client::new(leader.channel().await), "tab").await;
    let second = subscribe(&mut Client::new(leader.channel().await), "tab").await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        client.report_progress(first.report.clone()).await.unwrap();
        client.report_progress(second.report.clone()).await.unwrap();
        assert_eq!(subscribers(&mut client).await, 2);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let start = Instant::now();
    while subscribers(&mut client).await == 2 {
        client.report_progress(second.report.clone()).await.unwrap();
        assert!(start.elapsed() < PATIENCE, "the older stream is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        start.elapsed() < Duration::from_millis(3_900),
        "it took {:?}, as long as without a newer stream",
        start.elapsed()
    );
    assert!(connected(&mut client, "tab").await);
    leader.stop().await;
}

#[tokio::test]
async fn the_stalls_of_one_replica_lock_no_other_out() {
    let leader = TestLeader::start(Config { max_subscribers: 10, ..impatient(Generator::Off) }).await;
    let mut client = Client::new(leader.channel().await);
    let mut stalled = Vec::new();
    for _ in 0..10 {
        let mut connection = Client::new(leader.channel().await);
        let stream = subscribe(&mut connection, "flaky").await;
        client.report_progress(stream.report.clone()).await.unwrap();
        stalled.push((connection, stream));
    }
    assert_eq!(subscribers(&mut client).await, 10);
    // Tries again until it is admitted, as a replica does.
    let start = Instant::now();
    loop {
        let request =
            pb::SubscribeRequest { replica: Some(replica("honest")), resume_from: None, ..Default::default() };
        let mut frames = client.subscribe(request).await.unwrap().into_inner();
        match frames.message().await.unwrap().unwrap().frame {
            Some(Frame::Welcome(_)) => break,
            Some(Frame::Goodbye(goodbye)) => assert_eq!(goodbye.reason(), pb::GoodbyeReason::Overloaded),
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_millis(3_500), "still locked out");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("admitted after {:?}", start.elapsed());
    until_subscribers(&mut client, 0).await;
    leader.stop().await;
}
