//! gRPC-Web over the browser's `fetch`. The body is passed on piece by piece as it arrives, so that bytes can be counted.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use js_sys::{Array, Reflect, Uint8Array};
use thiserror::Error;
use tokio::sync::mpsc;
use tonic::codegen::{Body, Bytes, Service};
use tonic_web::GrpcWebClientService;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit};

use crate::Arrivals;

/// The transport of a browser page.
pub type WebTransport = GrpcWebClientService<Fetch>;

/// How many pieces may wait that the browser handed out. One is enough: the browser holds those that follow.
const PIECES: usize = 1;

/// A transport to the leader at `address`. If it is for a stream, `arrivals` counts the bytes of the answer.
#[must_use]
pub fn transport(address: &str, arrivals: Option<&Arrivals>) -> WebTransport {
    GrpcWebClientService::new(Fetch { address: address.to_owned(), arrivals: arrivals.cloned() })
}

/// `fetch` as a service.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Comes before the path of each request.
    address: String,
    arrivals: Option<Arrivals>,
}

/// Why a request got no answer. The browser tells a page no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// There was no answer.
    #[error("the leader cannot be reached")]
    Unreachable,
    /// Something other than the leader answered, such as a proxy.
    #[error("the leader's address answers with HTTP status {0}")]
    Status(u16),
    /// The answer broke off.
    #[error("the connection to the leader broke")]
    Broken,
    /// The browser refused the request.
    #[error("the browser refuses to make this call")]
    Refused,
}

impl<B> Service<Request<B>> for Fetch
where
    B: Body<Data = Bytes> + 'static,
{
    type Response = Response<FetchBody>;
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<FetchBody>, FetchError>>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(fetch(self.clone(), request))
    }
}

async fn fetch<B>(Fetch { address, arrivals }: Fetch, request: Request<B>) -> Result<Response<FetchBody>, FetchError>
where
    B: Body<Data = Bytes>,
{
    let abort = Abort(AbortController::new().map_err(|_| FetchError::Refused)?);
    let url = format!("{address}{}", request.uri());
    let headers = headers(&request)?;
    let message = request.collect().await.map_err(|_| FetchError::Refused)?.to_bytes();

    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers);
    init.set_body(&Uint8Array::from(message.as_ref()));
    init.set_cache(RequestCache::NoStore);
    init.set_signal(Some(&abort.0.signal()));
    let window = web_sys::window().ok_or(FetchError::Refused)?;
    let answer = JsFuture::from(window.fetch_with_str_and_init(&url, &init)).await;
    let answer: web_sys::Response = answer.map_err(|_| FetchError::Unreachable)?.unchecked_into();
    if answer.status() != 200 {
        return Err(FetchError::Status(answer.status()));
    }

    let mut response = Response::new(read(&answer, abort, arrivals));
    for (name, value) in pairs(&answer.headers()) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn headers<B>(request: &Request<B>) -> Result<Headers, FetchError> {
    let headers = Headers::new().map_err(|_| FetchError::Refused)?;
    for (name, value) in request.headers() {
        let value = value.to_str().map_err(|_| FetchError::Refused)?;
        headers.set(name.as_str(), value).map_err(|_| FetchError::Refused)?;
    }
    headers.set("x-grpc-web", "1").map_err(|_| FetchError::Refused)?;
    Ok(headers)
}

/// The headers that the browser shows to a page.
fn pairs(headers: &Headers) -> impl Iterator<Item = (String, String)> {
    let entries = js_sys::try_iter(headers).ok().flatten();
    entries.into_iter().flatten().filter_map(|entry| {
        let pair: Array = entry.ok()?.unchecked_into();
        Some((pair.get(0).as_string()?, pair.get(1).as_string()?))
    })
}

/// Passes the body on until it ends or is dropped.
fn read(answer: &web_sys::Response, abort: Abort, arrivals: Option<Arrivals>) -> FetchBody {
    let (sender, pieces) = mpsc::channel(PIECES);
    if let Some(body) = answer.body() {
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        spawn_local(async move {
            let _abort = abort;
            loop {
                let piece = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    piece = next_piece(&reader) => piece,
                };
                let Some(piece) = piece.transpose() else { return };
                if let (Ok(bytes), Some(arrivals)) = (&piece, &arrivals) {
                    arrivals.add(bytes.len());
                }
                let broken = piece.is_err();
                if sender.send(piece).await.is_err() || broken {
                    return;
                }
            }
        });
    }
    FetchBody { pieces }
}

async fn next_piece(reader: &ReadableStreamDefaultReader) -> Result<Option<Bytes>, FetchError> {
    let result = JsFuture::from(reader.read()).await.map_err(|_| FetchError::Broken)?;
    let field = |name: &str| Reflect::get(&result, &JsValue::from_str(name)).map_err(|_| FetchError::Broken);
    if field("done")?.is_truthy() {
        return Ok(None);
    }
    let piece: Uint8Array = field("value")?.dyn_into().map_err(|_| FetchError::Broken)?;
    Ok(Some(piece.to_vec().into()))
}

/// The body of an answer. Dropping it ends the request.
///
/// JavaScript's objects stay in a task of their own, so this is `Send`, as tonic requires.
#[derive(Debug)]
pub struct FetchBody {
    pieces: mpsc::Receiver<Result<Bytes, FetchError>>,
}

impl Body for FetchBody {
    type Data = Bytes;
    type Error = FetchError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, FetchError>>> {
        self.pieces.poll_recv(context).map_ok(http_body::Frame::data)
    }
}

/// Ends a request when it is dropped.
struct Abort(AbortController);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}
