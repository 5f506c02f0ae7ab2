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

/// How many bytes a leader may send ahead of what is read: several full batches, enough for 10 MB/s at 6 ms. More bytes
/// would only be older when they are read.
const WINDOW: u32 = 64 << 10;

/// How many bytes a whole connection may carry ahead: far more than its one stream. After a stall a full window of small
/// frames arrives at once, and HTTP/2's guard against floods allows more small frames the larger this window is.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// When a connection for calls is pinged while a call waits, and how long the ping may take. Without pings, a call over a
/// broken path would wait until TCP gives up.
const CALL_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// A new connection to the leader, which is made with the first call. If it is for a stream, `arrivals` counts its bytes, and
/// the replica notices silence; a connection for calls is pinged instead.
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

/// A connection that counts the bytes that arrive.
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
