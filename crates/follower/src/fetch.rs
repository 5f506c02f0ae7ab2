//! gRPC-Web over the browser's `fetch`, made by hand: with tonic's client the page would be a fifth larger.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit, Response};

use crate::grpc::Options;
use crate::grpc_web::{self, Body, Part, broken};
use crate::{Arrivals, CallError, Token};

/// Where the leader is, and what it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// What comes before the path of each call.
    url: String,
    token: Token,
}

impl Base {
    pub(crate) fn new(address: &str, options: &Options) -> Self {
        Self { url: address.trim_end_matches('/').to_owned(), token: options.token.clone() }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// A way to the leader at `base`. If it is for a stream, `arrivals` counts the bytes of the answer.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    base: Base,
    arrivals: Option<Arrivals>,
}

impl Transport {
    pub(crate) fn new(base: &Base, arrivals: Option<&Arrivals>) -> Self {
        Self { base: base.clone(), arrivals: arrivals.cloned() }
    }

    /// Makes a call whose answer is one message.
    pub(crate) async fn call(&self, path: &'static str, request: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let mut messages = self.open(path, request).await?;
        let answer =
            messages.next().await.unwrap_or_else(|| Err(CallError::unknown("the leader's answer is empty")))?;
        // The outcome stands behind the message.
        match messages.next().await {
            None => Ok(answer),
            Some(more) => Err(more.err().unwrap_or_else(|| CallError::unknown("the leader answered twice"))),
        }
    }

    /// Makes a call whose answer is a stream of messages.
    pub(crate) async fn open(&self, path: &'static str, request: Vec<u8>) -> Result<Messages, CallError> {
        let abort = Abort(AbortController::new().map_err(refused)?);
        let headers = Headers::new().map_err(refused)?;
        headers.set("content-type", "application/grpc-web").map_err(refused)?;
        headers.set("x-grpc-web", "1").map_err(refused)?;
        if let Some(shown) = self.base.token.authorization() {
            headers.set("authorization", &shown).map_err(refused)?;
        }
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_headers(&headers);
        init.set_body(&Uint8Array::from(grpc_web::request(&request).as_slice()));
        init.set_cache(RequestCache::NoStore);
        init.set_signal(Some(&abort.0.signal()));
        let window = web_sys::window().ok_or_else(|| refused(JsValue::NULL))?;
        let asked = window.fetch_with_str_and_init(&[&self.base.url, path].concat(), &init);
        let answer = JsFuture::from(asked).await;
        // The browser tells a page no more than that there was no answer.
        let answer: Response = answer.map_err(|_| CallError::unknown("the leader cannot be reached"))?.unchecked_into();
        if answer.status() != 200 {
            // Something other than the leader answered, such as a proxy.
            let status = answer.status();
            return Err(CallError::unknown(format!("the leader's address answers with HTTP status {status}")));
        }
        let headers = answer.headers();
        let reader = match grpc_web::outcome(&|name| headers.get(name).ok().flatten()) {
            // Nothing follows headers that tell the outcome.
            Some(outcome) => outcome.map(|()| None)?,
            None => answer.body().map(|body| body.get_reader().unchecked_into()),
        };
        let arrivals = self.arrivals.clone();
        Ok(Messages { body: Body::default(), reader, reading: None, arrivals, _abort: abort })
    }
}

fn refused(_: JsValue) -> CallError {
    CallError::unknown("the browser refuses to make this call")
}

/// The messages of an answer. Dropping them ends the request.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Body,
    /// `None` when the answer has ended.
    reader: Option<ReadableStreamDefaultReader>,
    /// The next piece of the body. The browser holds those that follow.
    reading: Option<JsFuture>,
    arrivals: Option<Arrivals>,
    _abort: Abort,
}

impl Messages {
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, CallError>> {
        while let Some(reader) = &self.reader {
            match self.body.next_part()? {
                Some(Part::Message(message)) => return Poll::Ready(Ok(Some(message.to_vec()))),
                Some(Part::End) => break,
                None => {}
            }
            let reading = self.reading.get_or_insert_with(|| JsFuture::from(reader.read()));
            let read = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            let piece = piece(&read.map_err(|_| broken())?).ok_or_else(broken)?;
            let length = piece.length();
            piece.copy_to(self.body.room(length as usize));
            if let Some(arrivals) = &self.arrivals {
                arrivals.add(length as usize);
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// The bytes that were read; `None` at the end.
fn piece(read: &JsValue) -> Option<Uint8Array> {
    Reflect::get(read, &JsValue::from_str("value")).ok()?.dyn_into().ok()
}

impl Stream for Messages {
    type Item = Result<Vec<u8>, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.poll_message(context)).transpose();
        if !matches!(message, Some(Ok(_))) {
            self.reader = None;
        }
        Poll::Ready(message)
    }
}

/// Ends a request when it is dropped.
#[derive(Debug)]
struct Abort(AbortController);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}
