//! What a session needs of a transport.

use std::time::Duration;

use engine::{Frame, Resume, Subscribe};
use futures_util::Stream;
use thiserror::Error;

/// A way to a leader. Implemented over gRPC by [`GrpcLink`](crate::GrpcLink), and by tests that lose and alter frames.
#[expect(async_fn_in_trait, reason = "native futures must be Send and browser futures cannot be; each link knows")]
pub trait Link {
    /// The frames of one stream. Dropping it ends the stream.
    type Frames: Stream<Item = Result<Frame, LinkError>> + Unpin;
    /// Makes calls beside the stream, on the same connection where the transport can.
    type Reporter: Reporter;

    /// Opens a stream, over a new connection so that nothing of a broken one is reused.
    async fn subscribe(&mut self, request: Subscribe) -> Result<Self::Frames, LinkError>;

    /// Tells the leader about progress while the newest stream is open.
    fn reporter(&self) -> Self::Reporter;
}

/// Tells a leader where a replica stands.
#[expect(async_fn_in_trait, reason = "see Link")]
pub trait Reporter {
    /// Reports a position and the lag of the newest event, and returns how the leader finds them.
    async fn report(&mut self, at: Resume, lag: Option<Duration>) -> Result<Standing, LinkError>;
}

/// How a leader finds a reported position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It holds exactly what the leader held at that index.
    InStep,
    /// It is in another log.
    OtherLog,
    /// It is beyond the leader's tail.
    Ahead,
    /// It is below the leader's floor: there is nothing left to compare with.
    Compacted,
    /// The digests differ.
    Diverged,
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
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
