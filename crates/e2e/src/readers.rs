//! What writers notice of replicas that catch up: readers whose bytes are dropped undecoded, and one client that submits.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engine::{Digest, Index, LogId, Operation, Position, Resume};
use follower::connect;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Identity, ReplicaKind, pb};

use crate::process::Leader;

/// How long one submission took: at the middle, at the 99th of a hundred, and at worst.
#[derive(Clone, Copy, Debug)]
pub struct Submits {
    /// How many there were.
    pub count: usize,
    /// Half took at most this.
    pub p50: Duration,
    /// 99 of 100 took at most this.
    pub p99: Duration,
    /// The slowest.
    pub worst: Duration,
}

/// Submits one operation after the other for that long.
///
/// # Errors
///
/// If one is not acknowledged.
pub async fn submit_for(leader: &Leader, time: Duration) -> anyhow::Result<Submits> {
    let identity = Identity { id: "writer".into(), name: "writer".into(), kind: ReplicaKind::Native };
    let calls = connect(&leader.url(), identity)?.calls();
    calls.submit(Operation::Add(1)).await?;
    let (mut took, start) = (Vec::new(), Instant::now());
    while start.elapsed() < time {
        let one = Instant::now();
        calls.submit(Operation::Add(1)).await?;
        took.push(one.elapsed());
    }
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    Ok(Submits { count: took.len(), p50: at(50), p99: at(99), worst: took.last().copied().unwrap_or_default() })
}

/// Many streams that begin at the log's beginning, on a thread of their own. One that has read the whole log begins
/// again, so that all of them catch up all the time. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Readers {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    /// All bytes of all streams.
    bytes: AtomicU64,
    /// How many streams have had a first byte.
    begun: AtomicU64,
    /// How many times a whole log was read.
    rounds: AtomicU64,
    /// How many streams the leader ended.
    ended: AtomicU64,
    /// The longest that a stream waited for bytes, in milliseconds.
    longest_wait: AtomicU64,
}

/// What the readers had so far.
#[derive(Clone, Copy, Debug)]
pub struct Had {
    /// Bytes of all streams together.
    pub bytes: u64,
    /// How many times a whole log was read.
    pub rounds: u64,
    /// How many streams the leader ended.
    pub ended: u64,
    /// The longest that a stream waited for bytes since this was last asked.
    pub longest_wait: Duration,
}

impl Readers {
    /// Opens `count` streams of the log `log`, one that has `bytes` of frames, and waits until each one gets bytes. Those
    /// that do not `read` leave their bytes where they are after the first.
    ///
    /// # Errors
    ///
    /// If they do not all begin within a minute.
    pub async fn start(leader: SocketAddr, log: LogId, bytes: u64, count: usize, read: bool) -> anyhow::Result<Self> {
        let seen = Arc::new(Seen::default());
        let (request, shared) = (request(log), Arc::clone(&seen));
        let thread = std::thread::Builder::new().name("readers".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                for _ in 0..count {
                    tokio::spawn(keep_reading(leader, request.clone(), bytes, read, Arc::clone(&shared)));
                }
                while !shared.stop.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        })?;
        let readers = Self { seen, thread: Some(thread) };
        let deadline = Instant::now() + Duration::from_secs(60);
        while readers.seen.begun.load(Ordering::Relaxed) < count as u64 {
            ensure!(Instant::now() < deadline, "only {:?} of {count} streams began", readers.seen.begun);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What they waited for until they had all begun is not of interest.
        readers.seen.longest_wait.store(0, Ordering::Relaxed);
        Ok(readers)
    }

    /// What they had so far.
    #[must_use]
    pub fn had(&self) -> Had {
        Had {
            bytes: self.seen.bytes.load(Ordering::Relaxed),
            rounds: self.seen.rounds.load(Ordering::Relaxed),
            ended: self.seen.ended.load(Ordering::Relaxed),
            longest_wait: Duration::from_millis(self.seen.longest_wait.swap(0, Ordering::Relaxed)),
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// A gRPC-Web call over HTTP/1.1: of all forms the one that costs its reader least.
fn request(log: LogId) -> Vec<u8> {
    let resume = Resume { log, position: Position { index: Index(0), digest: Digest::of_log(log) } };
    let message = pb::SubscribeRequest { replica: None, resume_from: Some(resume.into()) };
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let message = [&[0][..], &length.to_be_bytes(), &message.encode_to_vec()].concat();
    let head = format!(
        "POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/grpc-web+proto\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    [head.as_bytes(), &message].concat()
}

async fn keep_reading(leader: SocketAddr, request: Vec<u8>, bytes: u64, read: bool, seen: Arc<Seen>) {
    let mut begun = false;
    loop {
        // A refused connection is tried again below.
        let _ = read_once(leader, &request, bytes, read, &seen, &mut begun).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn read_once(
    leader: SocketAddr,
    request: &[u8],
    bytes: u64,
    read: bool,
    seen: &Seen,
    begun: &mut bool,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(leader).await?;
    stream.write_all(request).await?;
    let mut buffer = vec![0; 16 << 10];
    let (mut had, mut since) = (0, Instant::now());
    // The first piece is the head and the welcome; what counts is the log.
    let mut pieces = 0;
    while had < bytes {
        let count = stream.read(&mut buffer).await? as u64;
        if count == 0 {
            seen.ended.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let waited = u64::try_from(since.elapsed().as_millis())?;
        seen.longest_wait.fetch_max(waited, Ordering::Relaxed);
        since = Instant::now();
        had += count;
        pieces += 1;
        seen.bytes.fetch_add(count, Ordering::Relaxed);
        if pieces == 2 && !std::mem::replace(begun, true) {
            seen.begun.fetch_add(1, Ordering::Relaxed);
        }
        if !read && *begun {
            std::future::pending::<()>().await;
        }
    }
    seen.rounds.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Submissions alone and beside readers, and what the leader's memory came to.
#[derive(Clone, Copy, Debug)]
pub struct ReaderFigures {
    /// Before there was a reader.
    pub alone: Submits,
    /// While they caught up.
    pub beside: Submits,
    /// The leader's memory before there was a reader, in bytes.
    pub memory_alone: u64,
    /// The most memory that it ever held, in bytes.
    pub memory_peak: u64,
    /// Bytes a second to all readers, while operations were submitted.
    pub bytes_per_second: u64,
    /// What the readers had.
    pub had: Had,
}

/// Measures a leader on the log in `directory`, first alone and then beside `count` readers, each for that long. Those
/// that do not `read` take their first bytes only.
///
/// # Errors
///
/// If something does not work at all.
pub async fn measure(directory: &Path, count: usize, read: bool, time: Duration) -> anyhow::Result<ReaderFigures> {
    let data = directory.to_str().context("the directory's name is not UTF-8")?;
    let arguments = ["--data-dir", data, "--no-generator", "--retain", "1000000000", "--max-subscribers", "20000"];
    let leader = Leader::start(&arguments).await?;
    let alone = submit_for(&leader, time).await?;
    let memory_alone = leader.program.memory()?;
    let status = leader.status().await?;
    // A bit less than the frames of the smallest batches take.
    let bytes = status.tail * 30;
    let log = LogId(u128::from_be_bytes(status.log_id.as_slice().try_into().context("an odd log id")?));
    let readers = Readers::start(leader.address, log, bytes, count, read).await?;
    let (before, start) = (readers.had(), Instant::now());
    let beside = submit_for(&leader, time).await?;
    let (had, took) = (readers.had(), start.elapsed());
    let memory_peak = leader.program.peak_memory()?;
    drop(readers);
    leader.program.kill().await?;
    let bytes_per_second = (had.bytes - before.bytes) * 1_000 / u64::try_from(took.as_millis().max(1))?;
    Ok(ReaderFigures { alone, beside, memory_alone, memory_peak, bytes_per_second, had })
}
