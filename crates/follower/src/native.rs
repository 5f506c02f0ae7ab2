//! HTTP/2 connections of native processes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use engine::replica::WELCOME_TIMEOUT;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

use crate::Arrivals;

/// What a leader may send ahead of what is read: several full batches. More would only be older when it arrives; a faster
/// link than 10 MB/s at 6 ms needs none.
const WINDOW: u32 = 64 << 10;

/// What all of a connection may carry ahead: far more than its one stream may. After a stall a window's worth of small frames
/// arrives at once, and HTTP/2's guard against floods of such frames allows more of them the larger this is.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// When a connection for calls that waits for an answer is asked for a sign of life, and how long that may take. Without, a
/// call over a broken path would wait for TCP to give up.
const CALL_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// A connection of its own to the leader, made when the first call is. `arrivals` counts what comes, if it is for a stream:
/// its silence is noticed by the replica.
pub(crate) fn channel(leader: &Uri, arrivals: Option<&Arrivals>) -> Channel {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(WELCOME_TIMEOUT));
    let endpoint = Endpoint::from(leader.clone())
        .connect_timeout(WELCOME_TIMEOUT)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match arrivals.cloned() {
        Some(arrivals) => {
            let counted = move |io: TokioIo<_>| TokioIo::new(Counted { stream: io.into_inner(), arrivals });
            endpoint.connect_with_connector_lazy(tcp.map_response(counted))
        }
        None => {
            let (interval, patience) = CALL_KEEPALIVE;
            endpoint.http2_keep_alive_interval(interval).keep_alive_timeout(patience).connect_with_connector_lazy(tcp)
        }
    }
}

/// A connection that counts what arrives.
#[derive(Debug)]
struct Counted {
    stream: TcpStream,
    arrivals: Arrivals,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.arrivals.add(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
