//! A link whose speed a test sets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Bytes that are forwarded at a time. Few, so that the connections of a link share it fairly.
const PIECE: usize = 512;

/// A proxy that forwards a limited number of bytes a second to clients, on all connections together. It buffers little: the
/// rest waits at the sender. It ends when this is dropped.
#[derive(Debug)]
pub struct SlowLink {
    /// The address for clients.
    pub address: SocketAddr,
    bytes_per_second: Arc<AtomicU32>,
    accepting: JoinHandle<()>,
}

impl SlowLink {
    /// A link to `target`, without a limit at first.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let bytes_per_second = Arc::new(AtomicU32::new(u32::MAX));
        let speed = Arc::clone(&bytes_per_second);
        let accepting = tokio::spawn(async move {
            let free_at = Arc::new(Mutex::new(Instant::now()));
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, Arc::clone(&speed), Arc::clone(&free_at)));
            }
        });
        Ok(Self { address, bytes_per_second, accepting })
    }

    /// Sets the limit, in bytes a second.
    pub fn set_speed(&self, bytes_per_second: u32) {
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    near: TcpStream,
    target: SocketAddr,
    speed: Arc<AtomicU32>,
    free_at: Arc<Mutex<Instant>>,
) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    let far = socket.connect(target).await?;
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let up = async { anyhow::Ok(tokio::io::copy(&mut near_read, &mut far_write).await.map(|_| ())?) };
    let down = async {
        let mut piece = [0; PIECE];
        loop {
            let read = far_read.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            let takes = Duration::from_secs(1) * u32::try_from(read)? / speed.load(Ordering::Relaxed);
            let through = {
                let mut free_at = free_at.lock().await;
                *free_at = (*free_at).max(Instant::now()) + takes;
                *free_at
            };
            sleep_until(through).await;
            near_write.write_all(&piece[..read]).await?;
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}
