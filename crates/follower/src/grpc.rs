//! The link over gRPC: HTTP/2 from a native process, gRPC-Web from a browser.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engine::replica::Answer;
use engine::{Event, Frame, Index, Submission, Subscribe, Term, Timestamp};
use futures_util::Stream;
use prost::Message;
use thiserror::Error;
use tonic::Code;
use wire::{Identity, pb};

use crate::address::InvalidAddress;
#[cfg(target_arch = "wasm32")]
use crate::fetch::{Base, Messages, Transport};
use crate::link::{Answered, Link, LinkError, Report, Reporter};
#[cfg(not(target_arch = "wasm32"))]
use crate::native::{Base, Messages, Transport};
use crate::timer::Clock;
use crate::{Arrivals, CallError, NotAllowed, Token};

/// How long [`Calls::submit`] waits for an answer.
pub const SUBMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the leader has its calls.
macro_rules! method {
    ($name:literal) => {
        concat!("/calculator.v1.CalculatorService/", $name)
    };
}
pub(crate) use method;

/// A link to the leader at `address`, such as `http://127.0.0.1:8080`, or
/// `http://example.com/calc` where a proxy serves it below a path. It connects when it is used, in a tokio runtime.
///
/// ```no_run
/// use follower::connect;
/// use wire::{Identity, ReplicaKind};
///
/// let identity = Identity { id: "7f3a".to_owned(), name: "replica-1".to_owned(), kind: ReplicaKind::Native };
/// let link = connect("localhost:8080", identity)?;
/// assert_eq!(link.address(), "http://localhost:8080");
/// # Ok::<(), follower::InvalidAddress>(())
/// ```
///
/// # Errors
///
/// [`InvalidAddress`] if `address` is not an [`Address`](crate::Address).
pub fn connect(address: &str, identity: Identity) -> Result<GrpcLink, InvalidAddress> {
    connect_with(address, identity, &Options::default())
}

/// The same as [`connect`], with what the leader is shown and how it is verified.
///
/// # Errors
///
/// [`InvalidAddress`].
#[cfg(not(target_arch = "wasm32"))]
pub fn connect_with(address: &str, identity: Identity, options: &Options) -> Result<GrpcLink, InvalidAddress> {
    let base = Base::new(&address.parse()?, options).map_err(|problem| InvalidAddress::new(address, problem))?;
    Ok(GrpcLink::new(base, identity))
}

/// The same as [`connect`] from a browser page to the leader at `address`, usually the page's own origin.
///
/// # Errors
///
/// None: the browser checks the address at the first call.
#[cfg(target_arch = "wasm32")]
pub fn connect_with(address: &str, identity: Identity, options: &Options) -> Result<GrpcLink, InvalidAddress> {
    Ok(GrpcLink::new(Base::new(address, options), identity))
}

/// What a leader is shown, and how it is verified.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Shown with every call.
    pub token: Token,
    /// For `https://` addresses. In a browser, the browser knows.
    #[cfg(not(target_arch = "wasm32"))]
    pub tls: crate::Tls,
}

/// A link to a leader over gRPC. [`connect`] makes one.
#[derive(Debug)]
pub struct GrpcLink {
    base: Base,
    /// The transport of the calls beside the newest stream. Their answers must not wait behind what is queued on it.
    calls: Transport,
    identity: Identity,
}

impl GrpcLink {
    fn new(base: Base, identity: Identity) -> Self {
        Self { calls: Transport::new(&base, None), base, identity }
    }

    /// The leader's address for people.
    #[must_use]
    pub fn address(&self) -> String {
        self.base.to_string().trim_end_matches('/').to_owned()
    }

    /// Single calls to the same leader, on a connection of their own.
    #[must_use]
    pub fn calls(&self) -> Calls {
        Calls { transport: Transport::new(&self.base, None) }
    }
}

impl Link for GrpcLink {
    type Frames = Frames;
    type Reporter = GrpcReporter;

    async fn subscribe(&mut self, request: Subscribe, arrivals: &Arrivals) -> Result<Frames, LinkError> {
        // New ones, so that no stream uses a broken connection again.
        let transport = Transport::new(&self.base, Some(arrivals));
        self.calls = Transport::new(&self.base, None);
        let dropped = request.dropped.map_or(pb::SnapshotReason::Unspecified, |dropped| dropped.reason.into());
        let request = pb::SubscribeRequest {
            replica: Some(self.identity.clone().into()),
            resume_from: request.resume.map(Into::into),
            dropped: dropped.into(),
            dropped_at: request.dropped.map_or(0, |dropped| dropped.at.index.0),
        };
        let messages = transport.open(method!("Subscribe"), request.encode_to_vec()).await?;
        Ok(Frames { messages })
    }

    fn reporter(&self) -> GrpcReporter {
        GrpcReporter { transport: self.calls.clone(), identity: self.identity.clone() }
    }
}

/// Makes a call whose answer is one message.
pub(crate) async fn ask<A: Message + Default>(
    transport: &Transport,
    path: &'static str,
    request: &impl Message,
) -> Result<A, CallError> {
    let answer = transport.call(path, request.encode_to_vec()).await?;
    A::decode(answer.as_ref()).map_err(|error| malformed(&error))
}

pub(crate) fn malformed(error: &prost::DecodeError) -> CallError {
    CallError::new(Code::Internal, error.to_string(), &[])
}

/// The frames of one stream.
#[derive(Debug)]
pub struct Frames {
    messages: Messages,
}

impl Stream for Frames {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return match Pin::new(&mut self.messages).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    let message = pb::SubscribeResponse::decode(message.as_ref()).map_err(|error| malformed(&error))?;
                    // A kind of frame that this version does not know, from a newer leader: protobuf drops it.
                    if message.frame.is_none() {
                        continue;
                    }
                    Poll::Ready(Some(Frame::try_from(message).map_err(LinkError::Frame)))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(LinkError::Call(error)))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

/// Reports progress over gRPC.
#[derive(Clone, Debug)]
pub struct GrpcReporter {
    transport: Transport,
    identity: Identity,
}

impl Reporter for GrpcReporter {
    async fn report(&mut self, report: Report) -> Result<Answered, LinkError> {
        let lag_ms = report.lag.map_or(0, |lag| u32::try_from(lag.as_millis()).unwrap_or(u32::MAX));
        let request = pb::ReportProgressRequest {
            replica: Some(self.identity.clone().into()),
            position: Some(report.at.into()),
            lag_ms,
            stream_id: report.stream.0,
            value: Some(report.value),
        };
        let response: pb::ReportProgressResponse = ask(&self.transport, method!("ReportProgress"), &request).await?;
        let again = Duration::from_millis(response.report_again_ms.into());
        let report_again = (!again.is_zero()).then_some(again);
        Ok(Answered { standing: response.standing().into(), answer: answer(&response), report_again })
    }
}

/// What the answer says about the leader's log; `None` from a leader that does not know the fields.
fn answer(response: &pb::ReportProgressResponse) -> Option<Answer> {
    let log = wire::convert::log_id(&response.log_id).ok()?;
    (response.term != 0 && response.leader_time_us != 0).then_some(Answer {
        log,
        term: Term(response.term),
        tail: Index(response.tail),
        leader_time: Timestamp(response.leader_time_us),
    })
}

/// Single calls to a leader, over a connection of their own. [`GrpcLink::calls`] makes one.
///
/// ```no_run
/// use engine::Operation;
/// use follower::connect;
/// use wire::Identity;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let calls = connect("localhost:8080", Identity::default())?.calls();
/// let event = calls.submit(Operation::Add(5)).await?;
/// println!("event {} made the value {}", event.index, event.value);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Calls {
    pub(crate) transport: Transport,
}

/// Why an operation is not in the log, or why that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The leader refuses the operation, mostly because the calculator cannot apply it. It is not in the log.
    #[error("{0}")]
    Refused(String),
    /// The log's newest event is not the expected one. The operation is not in the log.
    #[error("{message}")]
    Mismatch {
        /// The leader's message.
        message: String,
        /// The newest event of the log.
        current: Index,
    },
    /// The log has a later operation of the producer. This call did not put the operation into the log.
    #[error("{0}")]
    Stale(String),
    /// The log has another operation under the producer's sequence, so this one is not in the log.
    #[error("{message}")]
    Reused {
        /// The leader's message.
        message: String,
        /// Where the other operation is.
        index: Index,
    },
    /// The log does not know the producer. This call did not put the operation into the log.
    #[error("{0}")]
    UnknownProducer(String),
    /// The leader takes it only with a token, or with another one. The operation is not in the log.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The leader has too much to do. The operation is not in the log; try again.
    #[error("{0}")]
    Busy(String),
    /// The leader could not commit the operation. It is not in the log; try again.
    #[error("{0}")]
    NotCommitted(String),
    /// An earlier operation of the same [`Producer`](crate::Producer) has no answer yet, so this one was not sent.
    #[error("an earlier operation has no answer yet, so this one was not sent")]
    Unsettled,
    /// No answer came in time, so the operation may or may not be in the log.
    #[error("no answer came in time; the operation may or may not be in the log")]
    NoAnswer,
    /// The call failed on its way, so the operation may or may not be in the log.
    #[error("{0}; the operation may or may not be in the log")]
    Failed(String),
}

impl Calls {
    /// Puts an operation into the log and returns its event once it is durable. One call, not repeated: with a
    /// [`Producer`](crate::Producer) it can be, without being done twice.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], which separates refusals from unknown outcomes.
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Event, SubmitError> {
        let clock = Clock::start();
        let submission = submission.into();
        let operation = submission.operation;
        let request = pb::SubmitRequest::from(submission);
        let answer = tokio::select! {
            answer = ask::<pb::SubmitResponse>(&self.transport, method!("Submit"), &request) => answer,
            () = clock.sleep_until(clock.now().plus(SUBMIT_TIMEOUT)) => return Err(SubmitError::NoAnswer),
        };
        let committed = answer.map_err(SubmitError::from)?;
        Ok(Event { index: Index(committed.index), operation, value: committed.value })
    }
}

/// Decides by the reason in the status, as `calculator.proto` lists them.
impl From<CallError> for SubmitError {
    fn from(error: CallError) -> Self {
        let index = |key: &str| Index(error.number(key));
        if let Some(not_allowed) = error.not_allowed() {
            return Self::NotAllowed(not_allowed);
        }
        let message = error.message.clone();
        match error.reason.as_str() {
            "OVERFLOW" | "DIVISION_BY_ZERO" | "NEGATIVE_SQUARE_ROOT" | "INVALID_REQUEST" => Self::Refused(message),
            "INDEX_MISMATCH" => Self::Mismatch { message, current: index("current_index") },
            "STALE_SEQUENCE" => Self::Stale(message),
            "SEQUENCE_REUSED" => Self::Reused { message, index: index("index") },
            "UNKNOWN_PRODUCER" => Self::UnknownProducer(message),
            "QUEUE_FULL" | "TOO_MANY_SUBMITS" => Self::Busy(message),
            "LOG_UNAVAILABLE" | "SHUTTING_DOWN" | "STEPPED_DOWN" => Self::NotCommitted(message),
            "UNKNOWN_SERVICE" | "HOST_NOT_ALLOWED" | "ORIGIN_NOT_ALLOWED" => Self::Refused(message),
            // Without a reason, a proxy or the transport refused the call: the leader's service never saw the operation.
            "" if matches!(
                error.code,
                Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated
            ) =>
            {
                Self::Refused(message)
            }
            // The transport or a proxy failed, or the leader does not know the outcome.
            _ => Self::Failed(message),
        }
    }
}
