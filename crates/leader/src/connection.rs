//! Connections: how they are accepted, tuned and served, and what each may cost.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::listen;

/// How many streams one HTTP/2 connection may hold: a proxy or a load test puts many subscribers on one.
const STREAMS_PER_CONNECTION: u32 = 10_000;

/// What one stream may hold in memory that its reader has not taken: a few spans.
const SEND_BUFFER: usize = 256 << 10;

/// When a connection that is silent in both directions is asked for a sign of life by TCP. A host that vanishes while
/// something is being sent to it is found by TCP's own retransmission limit, on Linux after some fifteen minutes; a
/// shorter one would also cut programs that merely do not read.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How much may wait in the operating system to be sent. What waits there is old when it arrives: a slow link needs no more to
/// stay busy.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;

/// How long a client may take to send its first byte, and then the head of an HTTP/1 request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves `app` on every connection until told to stop; then waits for open ones to end, as long as it was told, and cuts
/// the rest. Returns whether all ended by themselves.
pub(crate) async fn accept(listener: TcpListener, app: Router, mut stopping: oneshot::Receiver<Duration>) -> bool {
    let graceful = GracefulShutdown::new();
    // Bounded by the operating system's limit of open files; dropping the set cuts what is left.
    let mut connections = JoinSet::new();
    let mut failing = false;
    let grace = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    failing = false;
                    connections.spawn(serve(stream, app.clone(), graceful.watcher()));
                }
                Err(error) => {
                    // Most often too many open files. Trying again at once would only burn the processor.
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, "connections are not accepted at present: {}", listen::advice(&error));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            grace = &mut stopping => break grace.unwrap_or_default(),
        }
    };
    drop(listener);
    tokio::time::timeout(grace, graceful.shutdown()).await.is_ok()
}

async fn serve(stream: TcpStream, app: Router, watcher: Watcher) {
    if let Err(error) = tune(&stream) {
        debug!(%error, "a connection could not be tuned");
    }
    // Hyper's own limits begin with the first byte.
    if !matches!(tokio::time::timeout(HEAD_TIMEOUT, stream.readable()).await, Ok(Ok(()))) {
        return;
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().max_concurrent_streams(STREAMS_PER_CONNECTION).max_send_buf_size(SEND_BUFFER);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection ended with an error");
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3))
}
