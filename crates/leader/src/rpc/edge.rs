//! The edge that every gRPC call passes before its service: whether the request is a call, in which form of gRPC, and its
//! deadline.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Frame;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;
use wire::status::{invalid, status};

/// The form of gRPC that a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// HTTP/2 with trailers.
    Native,
    /// gRPC-Web, which puts the trailers into the body.
    Web,
    /// gRPC-Web in base64.
    WebText,
}

impl Form {
    /// The form that a media type names. Ignores case and parameters. `None` if it is not gRPC with protobuf messages.
    fn of(media_type: &HeaderValue) -> Option<Self> {
        let essence = media_type.to_str().ok()?.split(';').next()?.trim().to_ascii_lowercase();
        match essence.strip_suffix("+proto").unwrap_or(&essence) {
            "application/grpc" => Some(Self::Native),
            "application/grpc-web" => Some(Self::Web),
            "application/grpc-web-text" => Some(Self::WebText),
            _ => None,
        }
    }

    pub(crate) fn of_request(headers: &HeaderMap) -> Option<Self> {
        let mut named = headers.get_all(header::CONTENT_TYPE).iter();
        Self::of(named.next()?).filter(|_| named.next().is_none())
    }

    /// The media type in the spelling that tonic expects.
    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Native => "application/grpc",
            Self::Web => "application/grpc-web+proto",
            Self::WebText => "application/grpc-web-text+proto",
        })
    }

    pub(crate) fn answer(self, status: Status) -> Response {
        let mut response: Response = status.into_http();
        response.headers_mut().insert(header::CONTENT_TYPE, self.media_type());
        response
    }
}

/// Passes calls to a gRPC service, with headers in the spelling that tonic expects, and refuses all other requests. Sets
/// headers on the answer that forbid proxies to buffer or change it, because it may be a stream.
pub(crate) async fn only_calls(mut request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        let text = "gRPC calls are made with POST.\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], text).into_response();
    }
    let Some(form) = Form::of_request(request.headers()) else {
        let text = "gRPC calls have the content type application/grpc (over HTTP/2), application/grpc-web or \
                    application/grpc-web-text.\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    };
    if form == Form::Native && request.version() < Version::HTTP_2 {
        let text = "application/grpc needs HTTP/2, also from each proxy in between (nginx: grpc_pass). Over HTTP/1, use \
                    application/grpc-web.\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, form.media_type());
    if let Some(wanted) = headers.get(header::ACCEPT).and_then(Form::of) {
        headers.insert(header::ACCEPT, wanted.media_type());
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    response
}

/// Answers calls to services that do not exist, and passes all other requests on.
pub(crate) async fn no_such_service(request: Request, next: Next) -> Response {
    match Form::of_request(request.headers()) {
        Some(form) if request.method() == Method::POST => {
            let message = "there is no such service; the leader lists its services by gRPC reflection";
            form.answer(status(Code::Unimplemented, "UNKNOWN_SERVICE", &[], message))
        }
        _ => next.run(request).await,
    }
}

/// Enforces the deadlines that callers set. The leader sets none.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines<S>(pub(crate) S);

impl<S, B> Service<http::Request<B>> for Deadlines<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible, Future: Send + 'static>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let timeout = match timeout(request.headers()) {
            Ok(None) => return Box::pin(self.0.call(request)),
            Ok(Some(timeout)) => timeout,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        if timeout.is_zero() {
            return Box::pin(std::future::ready(Ok(too_late().into_http())));
        }
        // The time starts when the call arrives.
        let mut deadline = Box::pin(tokio::time::sleep(timeout));
        let answering = self.0.call(request);
        Box::pin(async move {
            tokio::select! {
                biased;
                () = &mut deadline => Ok(too_late().into_http()),
                response = answering => response.map(|response| {
                    response.map(|body| Body::new(UntilDeadline { body: Some(body), deadline }))
                }),
            }
        })
    }
}

fn too_late() -> Status {
    let message = "the deadline in grpc-timeout passed; a submitted operation may or may not be in the log";
    status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[], message)
}

/// Parses the header `grpc-timeout`: up to eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(header) = headers.get("grpc-timeout") else { return Ok(None) };
    parse_timeout(header).map(Some).ok_or_else(|| {
        invalid("grpc-timeout is not a time: write up to eight digits and then one of H, M, S, m, u or n")
    })
}

fn parse_timeout(header: &HeaderValue) -> Option<Duration> {
    let text = header.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// A body that ends with DEADLINE_EXCEEDED at its deadline.
struct UntilDeadline {
    /// Dropped at the deadline, which ends a stream even if its reader does not read.
    body: Option<Body>,
    deadline: Pin<Box<Sleep>>,
}

impl http_body::Body for UntilDeadline {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        // Checks the deadline first, because a stream may always have something to send.
        if this.deadline.as_mut().poll(context).is_pending() {
            let frame = ready!(Pin::new(body).poll_frame(context));
            return Poll::Ready(frame);
        }
        this.body = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(too_late().add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_recognised_in_any_case_and_with_parameters() {
        for (media_type, form) in [
            ("application/grpc", Some(Form::Native)),
            ("Application/gRPC+Proto", Some(Form::Native)),
            ("application/grpc; charset=utf-8", Some(Form::Native)),
            ("application/grpc-web", Some(Form::Web)),
            ("application/grpc-web+proto;charset=utf-8", Some(Form::Web)),
            ("Application/GRPC-WEB-TEXT", Some(Form::WebText)),
            ("application/grpc-web-text+proto ; a=b; c=d", Some(Form::WebText)),
            ("application/grpc+json", None),
            ("application/grpc-web+thrift", None),
            ("application/grpcx", None),
            ("application/json", None),
            ("text/plain", None),
            ("text/plain; application/grpc", None),
            ("application/x-www-form-urlencoded", None),
            ("", None),
        ] {
            assert_eq!(Form::of(&HeaderValue::from_static(media_type)), form, "{media_type:?}");
        }
        let mut twice = HeaderMap::new();
        for media_type in ["application/grpc-web", "text/plain"] {
            twice.append(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        assert_eq!(Form::of_request(&twice), None);
    }

    #[test]
    fn timeouts_are_parsed_as_grpc_defines_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("0S", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("1 S", None),
        ] {
            assert_eq!(parse_timeout(&HeaderValue::from_static(text)), expected, "{text:?}");
        }
    }
}
