//! Measures how much replicas that catch up slow a writer down. The readers drop their bytes undecoded; one client submits.

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

/// How long submissions took.
#[derive(Clone, Copy, Debug)]
pub struct Submits {
    /// The number of submissions.
    pub count: usize,
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The slowest.
    pub worst: Duration,
}

/// Submits one operation after the other for `time`.
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

/// Many streams that read the log from its beginning, on a thread of their own. A stream that has read the whole log starts
/// again, so that all of them catch up all the time. Dropping this ends the thread.
#[derive(Debug)]
pub struct Readers {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    /// The bytes of all streams.
    bytes: AtomicU64,
    /// Streams that got their first bytes of the log.
    begun: AtomicU64,
    /// How often the whole log was read.
    rounds: AtomicU64,
    /// Streams that the leader ended.
    ended: AtomicU64,
    /// The longest time that a stream waited for bytes, in milliseconds.
    longest_wait: AtomicU64,
}

/// What the readers have read so far.
#[derive(Clone, Copy, Debug)]
pub struct Had {
    /// The bytes of all streams.
    pub bytes: u64,
    /// How often the whole log was read.
    pub rounds: u64,
    /// Streams that the leader ended.
    pub ended: u64,
    /// The longest time that a stream waited for bytes since the last call of [`Readers::had`].
    pub longest_wait: Duration,
}

impl Readers {
    /// Opens `count` streams of the log `log`, which has `bytes` of frames, and waits until each one gets bytes. Unless
    /// `read` is set, they read nothing after their first bytes.
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
        // The waits until all have begun do not count.
        readers.seen.longest_wait.store(0, Ordering::Relaxed);
        Ok(readers)
    }

    /// What they have read so far.
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
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// A gRPC-Web call over HTTP/1.1, which costs its reader less than HTTP/2.
fn request(log: LogId) -> Vec<u8> {
    let resume = Resume { log, position: Position { index: Index(0), digest: Digest::of_log(log) } };
    let message = pb::SubscribeRequest { replica: None, resume_from: Some(resume.into()), ..Default::default() };
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
        // Errors, such as a refused connection, lead to the next try.
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
    // The first piece is the head and the welcome, and not the log.
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

/// Submissions alone and beside readers, and the leader's memory.
#[derive(Clone, Copy, Debug)]
pub struct ReaderFigures {
    /// Submissions without readers.
    pub alone: Submits,
    /// Submissions while readers caught up.
    pub beside: Submits,
    /// The leader's memory without readers, in bytes.
    pub memory_alone: u64,
    /// The leader's highest memory, in bytes.
    pub memory_peak: u64,
    /// Bytes a second to all readers during the submissions.
    pub bytes_per_second: u64,
    /// What the readers read.
    pub had: Had,
}

/// Measures a leader on the log in `directory`, first without readers and then with `count` of them, each for `time`. Unless
/// `read` is set, the readers take their first bytes only.
///
/// # Errors
///
/// If the leader does not start, does not answer, or does not serve all readers.
pub async fn measure(directory: &Path, count: usize, read: bool, time: Duration) -> anyhow::Result<ReaderFigures> {
    let data = directory.to_str().context("the directory's name is not UTF-8")?;
    let arguments = ["--data-dir", data, "--no-generator", "--retain", "1000000000", "--max-subscribers", "20000"];
    let leader = Leader::start(&arguments).await?;
    let alone = submit_for(&leader, time).await?;
    let memory_alone = leader.program.memory()?;
    let status = leader.status().await?;
    // Slightly less than the frames of the log have if each batch has one event.
    let bytes = status.tail * 30;
    let log =
        LogId(u128::from_be_bytes(status.log_id.as_slice().try_into().context("the log id does not have 16 bytes")?));
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
