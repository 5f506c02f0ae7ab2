//! Streams of messages that are encoded once for all readers.
//!
//! tonic's generated service would encode every message again for each reader. These services write the shared bytes as they
//! are: they are already in gRPC's framing, which is an ordinary HTTP body.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::StreamBody;
use prost::Message;
use tonic::codec::{Codec, Streaming};
use tonic::metadata::MetadataValue;
use tonic::{Status, body::Body};

/// The largest request, in bytes. A well-formed one has less than 300.
const MAX_REQUEST_BYTES: usize = 4 << 10;

/// Reads the one message of a request.
pub(super) async fn read_request<M: Message + Default + 'static>(request: Request<Body>) -> Result<M, Status> {
    refuse_compression(request.headers())?;
    let decoder = tonic_prost::ProstCodec::<(), M>::default().decoder();
    let mut messages = Streaming::new_request(decoder, request.into_body(), None, Some(MAX_REQUEST_BYTES));
    messages.message().await?.ok_or_else(|| Status::internal("Missing request message."))
}

/// Refuses a compressed request, in the words of tonic's generated methods.
fn refuse_compression(headers: &HeaderMap) -> Result<(), Status> {
    let Some(encoding) = headers.get("grpc-encoding").filter(|encoding| *encoding != "identity") else { return Ok(()) };
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    let mut status = Status::unimplemented(format!("Content is compressed with `{encoding}` which isn't supported"));
    status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
    Err(status)
}

/// A gRPC response with encoded messages as its body, and a trailer with status OK.
pub(super) fn respond(messages: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = messages
        .map(http_body::Frame::data)
        .chain(stream::once(std::future::ready(http_body::Frame::trailers(trailers))))
        .map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
