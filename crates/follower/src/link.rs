//! What a session needs of a transport.

use std::time::Duration;

use engine::replica::Answer;
use engine::{Frame, Resume, Standing, StreamId, Subscribe};
use futures_util::Stream;
use thiserror::Error;

use crate::Arrivals;

/// A way to a leader. Implemented over gRPC by [`GrpcLink`](crate::GrpcLink), and by tests that lose and alter frames.
#[expect(async_fn_in_trait, reason = "native futures must be Send and browser futures cannot be; each link knows")]
pub trait Link {
    /// The frames of one stream. Dropping it ends the stream.
    type Frames: Stream<Item = Result<Frame, LinkError>> + Unpin;
    /// Makes calls beside the stream, not behind what is queued on its connection.
    type Reporter: Reporter;

    /// Opens a stream, over a new connection so that nothing of a broken one is reused. A link that can see the parts of
    /// frames counts their bytes in `arrivals`.
    async fn subscribe(&mut self, request: Subscribe, arrivals: &Arrivals) -> Result<Self::Frames, LinkError>;

    /// Tells the leader about progress while the newest stream is open.
    fn reporter(&self) -> Self::Reporter;
}

/// Tells a leader where a replica stands.
#[expect(async_fn_in_trait, reason = "see Link")]
pub trait Reporter {
    /// Reports, and returns what the leader answers.
    async fn report(&mut self, report: Report) -> Result<Answered, LinkError>;
}

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it holds.
    pub at: Resume,
    /// How long after its commit the newest event was applied, if that is known.
    pub lag: Option<Duration>,
    /// The stream on which it got there.
    pub stream: StreamId,
}

/// A leader's answer to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How the position compares with the leader's log.
    pub standing: Standing,
    /// Where its log ends; `None` from leaders that do not say of which log and when.
    pub answer: Option<Answer>,
}

/// Why a link could not be opened, or ended.
#[derive(Clone, Debug, Error)]
pub enum LinkError {
    /// The call failed.
    #[error("{}", describe(.0))]
    Call(tonic::Status),
    /// The leader sent a frame that is not one.
    #[error("a malformed frame arrived: {0}")]
    Frame(#[from] wire::DecodeError),
}

/// A status as people read it: the message, and below it the cause where the transport gives one.
fn describe(status: &tonic::Status) -> String {
    let mut text =
        if status.message().is_empty() { status.code().description().to_owned() } else { status.message().to_owned() };
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let message = error.to_string();
        // Tonic's own name for whatever is below it says nothing.
        if message != "transport error" && !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    // What broke is below gRPC-Web's translation, which puts its own name in front.
    text.strip_prefix("tonic-web: ").map_or_else(|| text.clone(), str::to_owned)
}
