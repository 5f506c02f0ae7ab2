//! A leader in this process, replicas that record what they see, and a proxy whose connections can be cut.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this module")]

pub mod certificates;
pub mod places;
pub mod raw;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::replica::{Lag, Notice, State};
use engine::{Author, Digest, Durability, Index, LogId, Replica, Resume, Snapshot, Standing};
use follower::{Calls, FaultyLink, LinkError, Observer, connect, follow};
use leader::RunError;
use leader::config::{Config, Generator, Storage};
use leader::http::limits::Limits;
use leader::http::port::Ports;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use wire::pb::GetStatusRequest;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::{Identity, ReplicaKind};

/// The time limit for each step of these tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn config(generator: Generator) -> Config {
    Config {
        generator,
        count: None,
        seed: 7,
        control: None,
        max_rate: 1_000,
        storage: Storage::Memory,
        retain: NonZeroU64::new(1_000_000).unwrap(),
        retain_bytes: None,
        heartbeat_interval: Duration::from_millis(200),
        max_subscribers: 1_000,
        access: Default::default(),
        tokens: Default::default(),
        lines: None,
        traces: Default::default(),
        trusted_proxies: Default::default(),
        limits: Limits::default(),
    }
}

/// With the log in `directory`.
pub fn durable(generator: Generator, directory: &Path) -> Config {
    let storage = Storage::Directory {
        directory: directory.to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(1_000).unwrap(),
    };
    Config { storage, ..config(generator) }
}

pub struct TestLeader {
    pub address: SocketAddr,
    /// The addresses of its other ports.
    pub others: Vec<SocketAddr>,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
}

impl TestLeader {
    pub async fn start(config: Config) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), config).await
    }

    pub async fn start_on(address: SocketAddr, config: Config) -> Self {
        Self::start_on_ports(TcpListener::bind(address).await.unwrap().into(), config)
    }

    pub fn start_on_ports(ports: Ports, config: Config) -> Self {
        let mut others = ports.addresses();
        let address = others.remove(0);
        let (shutdown, signal) = oneshot::channel();
        let running = tokio::spawn(async move {
            let shutdown = async move {
                let _ = signal.await;
            };
            leader::run(config, ports, shutdown).await
        });
        Self { address, others, shutdown, running }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn channel(&self) -> Channel {
        tonic::transport::Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap()
    }

    pub async fn calls_client(&self) -> CalculatorServiceClient<Channel> {
        CalculatorServiceClient::new(self.channel().await)
    }

    /// Waits until `count` subscribers are connected.
    pub async fn until_subscribers(&self, count: u32) {
        let mut client = self.calls_client().await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = client.get_status(GetStatusRequest {}).await.unwrap().into_inner().subscribers;
            if now == count {
                return;
            }
            assert!(Instant::now() < deadline, "{now} subscribers instead of {count}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn calls(&self) -> Calls {
        connect(&self.url(), identity("caller")).unwrap().calls()
    }

    /// Stops the leader as Ctrl-C does, and returns how long that took.
    pub async fn stop(self) -> Duration {
        let start = Instant::now();
        self.shutdown.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        start.elapsed()
    }

    /// Waits until the leader ends on its own, and returns why.
    pub async fn ended(self) -> Result<(), RunError> {
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap()
    }

    /// Ends the leader without a goodbye. To its replicas, this looks like SIGKILL.
    pub async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

pub fn identity(name: &str) -> Identity {
    Identity { id: format!("id-of-{name}"), name: name.to_owned(), kind: ReplicaKind::Native }
}

/// Everything that a replica held and noticed.
#[derive(Debug, Default)]
pub struct Record {
    /// Every value that was held.
    pub values: BTreeMap<(LogId, Index), i64>,
    /// The digests where a batch or snapshot ended.
    pub digests: BTreeMap<(LogId, Index), Digest>,
    /// The indexes that were applied from batches, in order.
    pub applied: Vec<Index>,
    /// Who submitted the events that are not the generator's, if they said so.
    pub submitted: BTreeMap<Index, Option<Identity>>,
    pub notices: Vec<Notice>,
    pub standings: Vec<Standing>,
    /// Why streams could not be opened, or broke.
    pub failures: Vec<String>,
    pub now: Option<Snapshot>,
    pub state: Option<State>,
    pub worst_lag: Duration,
    pub lag: Option<Lag>,
}

#[derive(Clone, Debug, Default)]
pub struct Recorder(pub Arc<Mutex<Record>>);

impl Observer for Recorder {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        let mut record = self.0.lock().unwrap();
        if let Some(held) = replica.snapshot() {
            let at = (held.log(), held.position().index);
            record.values.insert(at, held.value());
            record.digests.insert(at, held.position().digest);
            if let Notice::Applied { value_before, batch } = &notice {
                for (event, author) in batch.events(*value_before).zip(batch.authors().each()) {
                    record.values.insert((held.log(), event.index), event.value);
                    record.applied.push(event.index);
                    match author {
                        Author::Generator => {}
                        Author::Named(identity) => {
                            record.submitted.insert(event.index, Some(identity.clone()));
                        }
                        Author::Unnamed => {
                            record.submitted.insert(event.index, None);
                        }
                        Author::Unknown => panic!("the author of {} is not known", event.index),
                    }
                }
                record.worst_lag = record.worst_lag.max(replica.lag().unwrap_or_default());
            }
        }
        record.now = replica.snapshot();
        record.state = Some(replica.state());
        record.lag = replica.lag_events();
        if !matches!(notice, Notice::Applied { .. }) {
            record.notices.push(notice);
        }
    }

    fn link_failed(&mut self, error: &LinkError) {
        self.0.lock().unwrap().failures.push(error.to_string());
    }

    fn standing(&mut self, standing: Standing, _at: Resume) {
        self.0.lock().unwrap().standings.push(standing);
    }
}

impl Recorder {
    pub fn read<R>(&self, read: impl FnOnce(&Record) -> R) -> R {
        read(&self.0.lock().unwrap())
    }

    /// Waits until `condition` holds, or fails with what was recorded.
    pub async fn until(&self, what: &str, condition: impl Fn(&Record) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.read(&condition) {
            assert!(
                Instant::now() < deadline,
                "never happened: {what}; notices: {:#?}",
                self.read(|r| r.notices.clone())
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn until_live(&self) {
        self.until("live", |record| record.state == Some(State::Live)).await;
    }

    pub async fn until_index(&self, index: u64) {
        self.until(&format!("index {index}"), |record| {
            record.now.is_some_and(|now| now.position().index >= Index(index))
        })
        .await;
    }

    pub fn count(&self, matches: impl Fn(&Notice) -> bool) -> usize {
        self.read(|record| record.notices.iter().filter(|notice| matches(notice)).count())
    }

    pub fn snapshots_loaded(&self) -> usize {
        self.count(|notice| matches!(notice, Notice::SnapshotLoaded { .. }))
    }
}

/// A replica that follows until it is dropped.
pub struct Follower {
    pub recorder: Recorder,
    pub task: JoinHandle<()>,
}

impl Follower {
    pub fn start(url: &str, name: &str) -> Self {
        Self::start_with(Replica::new(1), connect(url, identity(name)).unwrap())
    }

    pub fn start_with<L>(replica: Replica, link: L) -> Self
    where
        Self: StartLink<L>,
    {
        <Self as StartLink<L>>::start_link(replica, link)
    }
}

/// Starts a replica on a link. A trait, because only for a concrete link does the compiler know that its futures are `Send`.
pub trait StartLink<L> {
    fn start_link(replica: Replica, link: L) -> Self;
}

macro_rules! startable {
    ($($link:ty),*) => {$(
        impl StartLink<$link> for Follower {
            fn start_link(replica: Replica, link: $link) -> Self {
                let recorder = Recorder::default();
                let mut observer = recorder.clone();
                let task = tokio::spawn(async move {
                    follow(replica, link, &mut observer).await;
                });
                Self { recorder, task }
            }
        }
    )*};
}

startable!(follower::GrpcLink, FaultyLink<follower::GrpcLink>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A TCP proxy whose connections can be cut.
pub struct Proxy {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let accepted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let connection = tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
                accepted.lock().unwrap().push(connection);
            }
        });
        Self { address, connections, accepting }
    }

    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
