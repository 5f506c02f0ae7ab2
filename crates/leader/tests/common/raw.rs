//! Raw requests, which no client library would send.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::PATIENCE;

#[derive(Debug)]
pub struct Answer {
    pub http: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// HTTP/2's trailers, or those in gRPC-Web's last frame.
    pub trailers: HeaderMap,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The gRPC status, from the trailers or the headers.
    pub fn status(&self) -> Status {
        let found = Status::from_header_map(&self.trailers).or_else(|| Status::from_header_map(&self.headers));
        found.unwrap_or_else(|| panic!("no gRPC status in {self:?}"))
    }

    /// Code and reason; the reason is empty if the status has no ErrorInfo.
    pub fn error(&self) -> (Code, String) {
        let status = self.status();
        let info = status.get_details_error_info();
        if let Some(info) = &info {
            assert_eq!(info.domain, "calculator.v1");
        }
        (status.code(), info.map(|info| info.reason).unwrap_or_default())
    }
}

/// A gRPC message behind its prefix.
pub fn framed(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// One request over HTTP/2 with exactly these headers. Reads to the end of the answer.
pub async fn http2(leader: SocketAddr, method: &str, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    tokio::time::timeout(PATIENCE, async {
        let (mut client, connection) = h2::client::handshake(TcpStream::connect(leader).await.unwrap()).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        let mut read = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            read.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        connection.abort();
        Answer { http: head.status.as_u16(), headers: head.headers, body: read, trailers }
    })
    .await
    .expect("no answer in time")
}

/// One request over HTTP/1, whose head is `head` without the empty line. Reads until the server closes.
pub async fn http1(leader: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(leader).await.unwrap();
    let length = body.len();
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await.expect("no answer in time").unwrap();
    let head_end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4).expect("the answer has no head");
    let mut lines = std::str::from_utf8(&answer[..head_end]).unwrap().trim_end().split("\r\n");
    let http = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = header_map(lines);
    let body = &answer[head_end..];
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let mut body = if chunked { unchunked(body) } else { body.to_vec() };
    let grpc_web = headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc-web"));
    let trailers = if grpc_web { split_trailers(&mut body) } else { HeaderMap::new() };
    Answer { http, headers, body, trailers }
}

fn header_map<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap()))
        .collect()
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    while let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        payload.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
    payload
}

/// Removes gRPC-Web's last frame from a body that is not in base64, and returns its trailers.
fn split_trailers(body: &mut Vec<u8>) -> HeaderMap {
    let mut at = 0;
    while let Some(prefix) = body.get(at..at + 5) {
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        if prefix[0] & 0x80 != 0 {
            let trailers = body.split_off(at);
            return header_map(std::str::from_utf8(&trailers[5..5 + length]).unwrap().lines());
        }
        at += 5 + length;
    }
    HeaderMap::new()
}
