//! The link over gRPC: HTTP/2 from a native process, gRPC-Web from a browser.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engine::replica::Answer;
use engine::{Event, Frame, Index, Submission, Subscribe, Term, Timestamp};
use futures_util::Stream;
use http::Uri;
use thiserror::Error;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::{Identity, pb};

use crate::Arrivals;
#[cfg(not(target_arch = "wasm32"))]
use crate::address::Address;
use crate::address::InvalidAddress;
use crate::link::{Answered, Link, LinkError, Report, Reporter};
use crate::timer::Clock;

/// How long [`Calls::submit`] waits for an answer.
pub const SUBMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A transport that the generated client can use: tonic's `Channel`, or the browser's fetch.
pub trait Transport:
    GrpcService<
        Body,
        Error: Into<StdError>,
        ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    > + Clone
{
}

impl<T> Transport for T where
    T: GrpcService<
            Body,
            Error: Into<StdError>,
            ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        > + Clone
{
}

/// A link from a native process to the leader at `address`, such as `http://127.0.0.1:8080`, or
/// `http://example.com/calc` where a proxy serves it below a path.
///
/// # Errors
///
/// [`InvalidAddress`] if it is not an [`Address`]. Nothing is connected yet, so a leader that does not answer is no
/// error here.
#[cfg(not(target_arch = "wasm32"))]
pub fn connect(address: &str, identity: Identity) -> Result<GrpcLink<tonic::transport::Channel>, InvalidAddress> {
    let base = address.parse::<Address>()?.uri().clone();
    let leader = base.clone();
    Ok(GrpcLink::new(move |arrivals| crate::native::channel(&leader, arrivals), base, identity))
}

/// A link from a browser page to the leader at `address`, which is usually the page's own origin.
///
/// # Errors
///
/// None: the browser judges the address when the first call is made.
#[cfg(target_arch = "wasm32")]
pub fn connect(address: &str, identity: Identity) -> Result<GrpcLink<crate::fetch::WebTransport>, InvalidAddress> {
    let address = address.trim_end_matches('/').to_owned();
    // The transport puts the address before each path by itself.
    Ok(GrpcLink::new(move |arrivals| crate::fetch::transport(&address, arrivals), Uri::default(), identity))
}

type Connect<T> = Box<dyn Fn(Option<&Arrivals>) -> T + Send + Sync>;

/// A way to a leader over gRPC.
pub struct GrpcLink<T> {
    /// Makes a new, unconnected transport: a broken connection must not be met again. One for a stream counts what arrives.
    connect: Connect<T>,
    /// What the calls beside the newest stream run over: an answer must not wait behind what is queued on the stream.
    calls: T,
    /// Its path goes before the path of each call.
    base: Uri,
    identity: Identity,
}

impl<T> fmt::Debug for GrpcLink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcLink").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl<T: Transport> GrpcLink<T> {
    fn new(connect: impl Fn(Option<&Arrivals>) -> T + Send + Sync + 'static, base: Uri, identity: Identity) -> Self {
        let calls = connect(None);
        Self { connect: Box::new(connect), calls, base, identity }
    }

    /// Where the leader is, as people read it; empty in a browser.
    #[must_use]
    pub fn address(&self) -> String {
        self.base.to_string().trim_end_matches('/').to_owned()
    }

    /// Single calls to the same leader, on a connection of their own.
    #[must_use]
    pub fn calls(&self) -> Calls<T> {
        Calls { transport: (self.connect)(None), base: self.base.clone() }
    }
}

impl<T: Transport> Link for GrpcLink<T> {
    type Frames = Frames;
    type Reporter = GrpcReporter<T>;

    async fn subscribe(&mut self, request: Subscribe, arrivals: &Arrivals) -> Result<Frames, LinkError> {
        let transport = (self.connect)(Some(arrivals));
        self.calls = (self.connect)(None);
        let request = pb::SubscribeRequest {
            replica: Some(self.identity.clone().into()),
            resume_from: request.resume.map(Into::into),
        };
        let response = client(&transport, &self.base).subscribe(request).await.map_err(LinkError::Call)?;
        Ok(Frames { messages: response.into_inner() })
    }

    fn reporter(&self) -> GrpcReporter<T> {
        GrpcReporter { transport: self.calls.clone(), base: self.base.clone(), identity: self.identity.clone() }
    }
}

fn client<T: Transport>(transport: &T, base: &Uri) -> CalculatorServiceClient<T> {
    CalculatorServiceClient::with_origin(transport.clone(), base.clone())
}

/// The frames of one stream.
#[derive(Debug)]
pub struct Frames {
    messages: Streaming<pb::SubscribeResponse>,
}

impl Stream for Frames {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return match Pin::new(&mut self.messages).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    // A newer leader may send kinds of frames that this version does not know: protobuf drops them.
                    if message.frame.is_none() {
                        continue;
                    }
                    Poll::Ready(Some(Frame::try_from(message).map_err(LinkError::Frame)))
                }
                Poll::Ready(Some(Err(status))) => Poll::Ready(Some(Err(LinkError::Call(status)))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

/// Reports beside a stream.
#[derive(Clone, Debug)]
pub struct GrpcReporter<T> {
    transport: T,
    base: Uri,
    identity: Identity,
}

impl<T: Transport> Reporter for GrpcReporter<T> {
    async fn report(&mut self, report: Report) -> Result<Answered, LinkError> {
        let lag_ms = report.lag.map_or(0, |lag| u32::try_from(lag.as_millis()).unwrap_or(u32::MAX));
        let request = pb::ReportProgressRequest {
            replica: Some(self.identity.clone().into()),
            position: Some(report.at.into()),
            lag_ms,
            stream_id: report.stream.0,
        };
        let response = client(&self.transport, &self.base).report_progress(request).await.map_err(LinkError::Call)?;
        let response = response.into_inner();
        Ok(Answered { standing: response.standing().into(), answer: answer(&response) })
    }
}

/// What the answer to a report says of the leader; `None` from one that does not know the fields.
fn answer(response: &pb::ReportProgressResponse) -> Option<Answer> {
    let log = wire::convert::log_id(&response.log_id).ok()?;
    (response.term != 0 && response.leader_time_us != 0).then_some(Answer {
        log,
        term: Term(response.term),
        tail: Index(response.tail),
        leader_time: Timestamp(response.leader_time_us),
    })
}

/// Single calls to a leader.
#[derive(Clone, Debug)]
pub struct Calls<T> {
    transport: T,
    base: Uri,
}

/// Why an operation was not put into the log, or why that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The calculator cannot do it to its present value. It is not in the log.
    #[error("{0}")]
    Refused(String),
    /// The log is not where the submission expected it. It is not in the log.
    #[error("{message}")]
    Mismatch {
        /// What the leader says.
        message: String,
        /// The newest event of the log.
        current: Index,
    },
    /// The log has a later operation of the producer. This one is not in the log as a result of this call.
    #[error("{0}")]
    Stale(String),
    /// The log has another operation under the producer's sequence, so it does not have this one.
    #[error("{message}")]
    Reused {
        /// What the leader says.
        message: String,
        /// Where the other operation is.
        index: Index,
    },
    /// The log does not know the producer. It is not in the log as a result of this call.
    #[error("{0}")]
    UnknownProducer(String),
    /// The leader has too much to do. It is not in the log; try again.
    #[error("{0}")]
    Busy(String),
    /// The leader could not commit it. It is not in the log; try again.
    #[error("{0}")]
    NotCommitted(String),
    /// An earlier operation of the same [`Producer`](crate::Producer) is not answered yet. This one was not sent.
    #[error("an earlier operation has no answer yet, so this one was not sent")]
    Unsettled,
    /// No answer came in time, so it may or may not be in the log.
    #[error("no answer came in time; the operation may or may not be in the log")]
    NoAnswer,
    /// The call failed on its way, so it may or may not be in the log.
    #[error("{0}; the operation may or may not be in the log")]
    Failed(String),
}

impl<T: Transport> Calls<T> {
    /// Puts an operation into the log and returns its event once it is durable. One call, not repeated: with a
    /// [`Producer`](crate::Producer) it can be, without being done twice.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] tells a refusal from an unknown outcome.
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Event, SubmitError> {
        let clock = Clock::start();
        let submission = submission.into();
        let operation = submission.operation;
        let mut client = client(&self.transport, &self.base);
        let answer = tokio::select! {
            answer = client.submit(pb::SubmitRequest::from(submission)) => answer,
            () = clock.sleep_until(clock.now().plus(SUBMIT_TIMEOUT)) => return Err(SubmitError::NoAnswer),
        };
        let committed = answer.map_err(|status| SubmitError::from(&status))?.into_inner();
        Ok(Event { index: Index(committed.index), operation, value: committed.value })
    }
}

/// By the reason in the status, as `calculator.proto` lists them.
impl From<&Status> for SubmitError {
    fn from(status: &Status) -> Self {
        let message = status.message().to_owned();
        let info = status.get_details_error_info();
        let reason = info.as_ref().map_or("", |info| info.reason.as_str());
        let index = |key: &str| {
            let index = info.as_ref().and_then(|info| info.metadata.get(key)?.parse().ok());
            Index(index.unwrap_or_default())
        };
        match reason {
            "OVERFLOW" | "DIVISION_BY_ZERO" | "NEGATIVE_SQUARE_ROOT" | "INVALID_REQUEST" => Self::Refused(message),
            "INDEX_MISMATCH" => Self::Mismatch { message, current: index("current_index") },
            "STALE_SEQUENCE" => Self::Stale(message),
            "SEQUENCE_REUSED" => Self::Reused { message, index: index("index") },
            "UNKNOWN_PRODUCER" => Self::UnknownProducer(message),
            "QUEUE_FULL" => Self::Busy(message),
            "LOG_UNAVAILABLE" | "SHUTTING_DOWN" | "STEPPED_DOWN" => Self::NotCommitted(message),
            "UNKNOWN_SERVICE" | "HOST_NOT_ALLOWED" | "ORIGIN_NOT_ALLOWED" => Self::Refused(message),
            // Without a reason, from whatever stands before the leader's service: it never saw the operation.
            "" if matches!(
                status.code(),
                Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated
            ) =>
            {
                Self::Refused(message)
            }
            // Of a transport or a proxy, or of a leader that does not know.
            _ => Self::Failed(LinkError::Call(status.clone()).to_string()),
        }
    }
}
