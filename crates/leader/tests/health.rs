//! Health distinguishes whether the leader serves from whether it can make operations durable.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use engine::{LogId, Operation};
use feed::Feed;
use leader::config::Generator;
use leader::generator::Generation;
use leader::http::{self, Server, Serving};
use leader::metrics::{Metrics, State};
use leader::roster::Membership;
use leader::rpc::Calculator;
use leader::rpc::health::WRITING;
use leader::rpc::watch_replicas::Watchers;
use leader::{clock, generator};
use store::{AppendError, Commit, LogWriter, MemoryStore, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

struct Disk {
    inner: Box<dyn LogWriter>,
    answers: Arc<watch::Sender<bool>>,
}

#[tonic::async_trait]
impl LogWriter for Disk {
    async fn append(&mut self, commit: Commit) -> Result<(), AppendError> {
        self.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
        self.inner.append(commit).await
    }
    async fn probe(&mut self) -> Result<(), AppendError> {
        self.inner.probe().await
    }
}

struct World {
    disk_answers: Arc<watch::Sender<bool>>,
    server: Server,
    address: std::net::SocketAddr,
    channel: Channel,
}

impl World {
    async fn start() -> Self {
        let disk_answers = Arc::new(watch::Sender::new(true));
        let mut opened = MemoryStore::new(LogId(1), 100).open().await.unwrap();
        opened.writer = Box::new(Disk { inner: opened.writer, answers: Arc::clone(&disk_answers) });
        let (feed, log) = (Feed::new(&opened, Duration::from_secs(1)), Arc::clone(&opened.reader));
        let (submitter, committer) = sequencer::start(opened, feed.clone(), generator::source(1), clock::now);
        tokio::spawn(committer.run());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = common::config(Generator::Off);
        let (membership, writing) = (Membership::new(config.limits.streams), submitter.health().clone());
        let (generation, watchers) = (Generation::new(Generator::Off, 0, false), Watchers::new(1));
        let metrics = Metrics::new(State {
            feed: feed.clone(),
            log: Arc::clone(&log),
            submitter: submitter.clone(),
            membership: membership.clone(),
            watchers: watchers.clone(),
            lines: None,
            due: Default::default(),
        });
        let calculator = Calculator::new(feed.clone(), log, submitter, membership.clone(), generation, watchers);
        let readers = tokio::runtime::Handle::current();
        let serving = Serving { calculator, feed, membership, writing, metrics, readers };
        let server = http::start(listener.into(), serving, &config);
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { disk_answers, server, address, channel }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn check(&self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest { service: service.to_owned() };
        HealthClient::new(self.channel.clone()).check(request).await.unwrap().into_inner().status()
    }

    async fn log_problem(&self) -> String {
        let mut client = CalculatorServiceClient::new(self.channel.clone());
        client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().log_problem
    }
}

#[tokio::test]
async fn a_hanging_commit_is_reported_while_the_leader_serves() {
    let world = World::start().await;
    let request = HealthCheckRequest { service: WRITING.to_owned() };
    let mut watched = HealthClient::new(world.channel.clone()).watch(request).await.unwrap().into_inner();
    let mut next = async || {
        let status = tokio::time::timeout(Duration::from_secs(10), watched.message()).await;
        status.expect("the watcher got no update").unwrap().unwrap().status()
    };
    while next().await != ServingStatus::Serving {}
    assert_eq!(world.get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(world.get("/healthz/write").await, (200, "ok\n".to_owned()));
    assert_eq!(world.log_problem().await, "");

    world.disk_answers.send_replace(false);
    let mut client = CalculatorServiceClient::new(world.channel.clone());
    let submitted = tokio::spawn(async move {
        let operation = Some(Operation::Add(1).into());
        client.submit(pb::SubmitRequest { operation, ..Default::default() }).await
    });
    assert_eq!(next().await, ServingStatus::NotServing);
    let (code, body) = world.get("/healthz").await;
    assert!(code == 200 && body.starts_with("ok\n") && body.contains("a commit has hung"), "{code} {body}");
    let (code, body) = world.get("/healthz/write").await;
    assert!(code == 503 && body.contains("a commit has hung"), "{code} {body}");
    assert!(world.log_problem().await.contains("a commit has hung"));
    for service in ["", "calculator.v1.CalculatorService", "sharedcalculator.Leader"] {
        assert_eq!(world.check(service).await, ServingStatus::Serving, "{service}");
    }
    assert_eq!(world.check(WRITING).await, ServingStatus::NotServing);

    world.disk_answers.send_replace(true);
    assert_eq!(submitted.await.unwrap().unwrap().into_inner().index, 1);
    assert_eq!(next().await, ServingStatus::Serving);
    assert_eq!(world.get("/healthz/write").await, (200, "ok\n".to_owned()));

    world.server.refuse_new_calls();
    assert_eq!(next().await, ServingStatus::NotServing);
    for path in ["/healthz", "/healthz/write"] {
        assert_eq!(world.get(path).await, (503, "shutting down\n".to_owned()), "{path}");
    }
}
