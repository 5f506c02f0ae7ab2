//! What a session needs from a transport.

use std::time::Duration;

use engine::replica::Answer;
use engine::{Frame, Resume, Standing, StreamId, Subscribe};
use futures_util::Stream;
use thiserror::Error;

use crate::{Arrivals, CallError, NotAllowed};

/// A way to a leader. [`GrpcLink`](crate::GrpcLink) is one over gRPC; [`FaultyLink`](crate::FaultyLink) injects faults into
/// another one.
#[expect(async_fn_in_trait, reason = "native futures must be Send and browser futures cannot be; each link knows")]
pub trait Link {
    /// The frames of one stream. Dropping it ends the stream.
    type Frames: Stream<Item = Result<Frame, LinkError>> + Unpin;
    /// Makes calls that do not wait behind what is queued on the stream's connection.
    type Reporter: Reporter;

    /// Opens a stream over a new connection, so that nothing of a broken one is reused. A link that sees bytes before whole
    /// frames counts them in `arrivals`.
    async fn subscribe(&mut self, request: Subscribe, arrivals: &Arrivals) -> Result<Self::Frames, LinkError>;

    /// What reports progress while the newest stream is open.
    fn reporter(&self) -> Self::Reporter;
}

/// Reports the position of a replica to a leader.
#[expect(async_fn_in_trait, reason = "see Link")]
pub trait Reporter {
    /// Sends a report and returns the leader's answer.
    async fn report(&mut self, report: Report) -> Result<Answered, LinkError>;
}

/// The position of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The position, and the log that it is in.
    pub at: Resume,
    /// How long after its commit the newest event was applied, if known.
    pub lag: Option<Duration>,
    /// The stream on which the position was reached.
    pub stream: StreamId,
    /// The value at the position.
    pub value: i64,
}

/// A leader's answer to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How the position compares with the leader's log.
    pub standing: Standing,
    /// Where the leader's log ended when it answered; `None` from leaders that do not say of which log and when.
    pub answer: Option<Answer>,
    /// When the leader wants the next report, from this one; `None`: as usual.
    pub report_again: Option<Duration>,
}

/// Why a link could not be opened, or ended.
#[derive(Clone, Debug, Error)]
pub enum LinkError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The leader sent a malformed frame.
    #[error("a malformed frame arrived: {0}")]
    Frame(#[from] wire::DecodeError),
    /// The user of a [`FaultyLink`](crate::FaultyLink) cut the link.
    #[error("the link was cut on purpose")]
    CutOnPurpose,
}

impl LinkError {
    /// Whether the leader refused for the token, and why.
    #[must_use]
    pub fn not_allowed(&self) -> Option<NotAllowed> {
        match self {
            Self::Call(error) => error.not_allowed(),
            Self::Frame(_) | Self::CutOnPurpose => None,
        }
    }
}
