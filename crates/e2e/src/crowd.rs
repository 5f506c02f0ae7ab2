//! Clients that do a leader no good: idle connections, readers that trickle, calls without an end, and floods of resets. They
//! come from many addresses of this machine, on a thread of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Connections from one address.
const PER_ADDRESS: usize = 100;

/// How much a trickling reader reads at a time, and the pause after it: far less than the log grows by.
const TRICKLE: (usize, Duration) = (256, Duration::from_millis(250));

/// The receive buffer of a trickling reader, so that the system does not read for it.
const TRICKLE_BUFFER: u32 = 4 << 10;

/// Resets in a row before a flooding client lets others have the processor.
const RESETS: usize = 50;

const SUBSCRIBE: &str = "POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nHost: localhost\r\n\
                         Content-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";

/// The head of a call, and the beginning of its body.
const HALF: &str = "POST /calculator.v1.CalculatorService/Submit HTTP/1.1\r\nHost: localhost\r\n\
                    Content-Type: application/grpc-web+proto\r\nContent-Length: 500\r\n\r\n\0\0";

/// How large a crowd is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections on which nothing happens.
    pub idle: usize,
    /// Subscribers that read slower than the log grows.
    pub slow: usize,
    /// Calls whose request does not end.
    pub half_open: usize,
    /// Connections that open calls and reset them at once.
    pub resetting: usize,
}

/// What a crowd has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Connections that were open at a time.
    pub open: u64,
    /// Bytes that the slow ones read.
    pub read: u64,
    /// Calls that were reset.
    pub resets: u64,
    /// Connections that the leader ended.
    pub ended: u64,
}

/// A crowd. Dropping it ends its connections.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    open: AtomicU64,
    read: AtomicU64,
    resets: AtomicU64,
    ended: AtomicU64,
}

impl Crowd {
    /// Lets a crowd come to `leader`.
    ///
    /// # Errors
    ///
    /// If there is no thread for it.
    pub fn start(leader: SocketAddr, size: Size) -> anyhow::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let body = move || runtime.block_on(run(leader, size, theirs));
        let thread = std::thread::Builder::new().name("crowd".to_owned()).spawn(body).context("no thread")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What it has done so far.
    #[must_use]
    pub fn done(&self) -> Done {
        let Shared { open, read, resets, ended, .. } = &*self.shared;
        let [open, read, resets, ended] = [open, read, resets, ended].map(|count| count.load(Ordering::Relaxed));
        Done { open, read, resets, ended }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // An error means that it panicked; then there is no crowd any more either.
            let _ = thread.join();
        }
    }
}

async fn run(leader: SocketAddr, size: Size, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    for number in 0..size.idle + size.slow + size.half_open + size.resetting {
        let (shared, address) = (Arc::clone(&shared), address(number));
        let idle = number < size.idle;
        let slow = !idle && number < size.idle + size.slow;
        let half_open = !idle && !slow && number < size.idle + size.slow + size.half_open;
        clients.spawn(async move {
            // Comes back whenever the leader ends the connection.
            loop {
                if let Ok(connection) = connect(leader, address, slow).await {
                    shared.open.fetch_add(1, Ordering::Relaxed);
                    // An error means that the leader ended the connection.
                    let _ = match (idle, slow, half_open) {
                        (true, ..) => wait(connection, b"").await,
                        (_, true, _) => trickle(connection, &shared).await,
                        (.., true) => wait(connection, HALF.as_bytes()).await,
                        _ => flood(connection, &shared).await,
                    };
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                    shared.ended.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    while !shared.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An address of this machine for the client with this number.
fn address(number: usize) -> SocketAddr {
    let host = u8::try_from(1 + number / PER_ADDRESS).unwrap_or(u8::MAX);
    SocketAddr::from(([127, 0, 9, host], 0))
}

async fn connect(leader: SocketAddr, from: SocketAddr, slow: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if slow {
        socket.set_recv_buffer_size(TRICKLE_BUFFER)?;
    }
    socket.bind(from)?;
    socket.connect(leader).await
}

/// Sends `bytes`, and then nothing.
async fn wait(mut connection: TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    connection.write_all(bytes).await?;
    let mut answer = [0; 256];
    while connection.read(&mut answer).await? > 0 {}
    Ok(())
}

async fn trickle(mut connection: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    connection.write_all(SUBSCRIBE.as_bytes()).await?;
    let mut bytes = [0; TRICKLE.0];
    loop {
        let read = connection.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        shared.read.fetch_add(read as u64, Ordering::Relaxed);
        tokio::time::sleep(TRICKLE.1).await;
    }
}

async fn flood(connection: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    let (mut client, connection) = h2::client::handshake(connection).await?;
    // Aborted when this returns.
    let mut running = JoinSet::new();
    running.spawn(connection);
    loop {
        for _ in 0..RESETS {
            client = client.ready().await?;
            let request = http::Request::post("http://localhost/calculator.v1.CalculatorService/GetStatus");
            let (_, mut body) =
                client.send_request(request.header("content-type", "application/grpc").body(())?, false)?;
            body.send_reset(h2::Reason::CANCEL);
            shared.resets.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
