//! gRPC over the HTTP/2 connections of native processes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use engine::replica::WELCOME_TIMEOUT;
use futures_util::Stream;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use prost::bytes::{Buf, BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tower::ServiceExt;

use crate::grpc::Options;
use crate::{Address, AddressProblem, Arrivals, CallError, Token};

/// How many bytes a leader may send ahead of what is read: several full batches, enough for 10 MB/s at 6 ms. More bytes
/// would only be older when they are read.
const WINDOW: u32 = 64 << 10;

/// How many bytes a whole connection may carry ahead: far more than its one stream. After a stall a full window of small
/// frames arrives at once, and HTTP/2's guard against floods allows more small frames the larger this window is.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// When a connection for calls is pinged while a call waits, and how long the ping may take. Without pings, a call over a
/// broken path would wait until TCP gives up.
const CALL_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Where the leader is, and what it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// Its path comes before the path of each call.
    uri: Uri,
    /// Knows how the leader is verified.
    endpoint: Endpoint,
    token: Token,
}

impl Base {
    pub(crate) fn new(address: &Address, options: &Options) -> Result<Self, AddressProblem> {
        let uri = address.uri().clone();
        let endpoint = options.tls.endpoint(&uri).map_err(|_| AddressProblem::NoRoots)?;
        Ok(Self { uri, endpoint, token: options.token.clone() })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// A connection to the leader at `base`, which is made with the first call. If it is for a stream, `arrivals` counts the bytes
/// that come over it.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    channel: Channel,
    base: Base,
}

impl Transport {
    pub(crate) fn new(base: &Base, arrivals: Option<&Arrivals>) -> Self {
        Self { channel: channel(base.endpoint.clone(), arrivals), base: base.clone() }
    }

    /// Makes a call whose answer is one message.
    pub(crate) async fn call(&self, path: &'static str, request: Vec<u8>) -> Result<Bytes, CallError> {
        let answer = self.client().await?.unary(self.request(request), PathAndQuery::from_static(path), Encoded).await;
        Ok(answer?.into_inner())
    }

    /// Makes a call whose answer is a stream of messages.
    pub(crate) async fn open(&self, path: &'static str, request: Vec<u8>) -> Result<Messages, CallError> {
        let path = PathAndQuery::from_static(path);
        let answer = self.client().await?.server_streaming(self.request(request), path, Encoded).await;
        Ok(Messages(answer?.into_inner()))
    }

    fn request(&self, message: Vec<u8>) -> Request<Vec<u8>> {
        let mut request = Request::new(message);
        // A token has only characters that a header can have.
        if let Some(Ok(authorization)) = self.base.token.authorization().map(|shown| shown.parse()) {
            request.metadata_mut().insert("authorization", authorization);
        }
        request
    }

    async fn client(&self) -> Result<Grpc<Channel>, CallError> {
        let mut client = Grpc::with_origin(self.channel.clone(), self.base.uri.clone());
        match client.ready().await {
            Ok(()) => Ok(client),
            Err(error) => Err(Status::from_error(error.into()).into()),
        }
    }
}

/// The messages of an answer. Dropping them ends the request.
#[derive(Debug)]
pub(crate) struct Messages(Streaming<Bytes>);

impl Stream for Messages {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map_err(CallError::from)
    }
}

/// Passes encoded messages as they are.
#[derive(Clone, Copy, Debug)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A new connection to the leader, which is made with the first call. If it is for a stream, `arrivals` counts its bytes, and
/// the replica notices silence; a connection for calls is pinged instead.
fn channel(endpoint: Endpoint, arrivals: Option<&Arrivals>) -> Channel {
    let mut tcp = HttpConnector::new();
    // tonic adds TLS for https.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(WELCOME_TIMEOUT));
    let endpoint = endpoint
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
