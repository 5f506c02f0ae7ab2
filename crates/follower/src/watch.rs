//! Watches a leader and its replicas, and controls what draws its operations.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use prost::Message;
use thiserror::Error;
use tonic::Code;
use wire::{GeneratorStatus, Identity, Roster, pb};

#[cfg(target_arch = "wasm32")]
use crate::fetch::Messages;
use crate::grpc::{Calls, SUBMIT_TIMEOUT, ask, malformed, method};
#[cfg(not(target_arch = "wasm32"))]
use crate::native::Messages;
use crate::timer::Clock;
use crate::{CallError, LinkError, NotAllowed};

impl Calls {
    /// Watches the leader and its replicas. Each roster replaces the one before it; one comes at least every two seconds. The
    /// stream ends when the leader shuts down.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the call fails, also because the leader is older than it.
    pub async fn watch_replicas(&self, identity: Identity) -> Result<Rosters, LinkError> {
        let request = pb::WatchReplicasRequest { replica: Some(identity.into()) };
        let messages = self.transport.open(method!("WatchReplicas"), request.encode_to_vec()).await?;
        Ok(Rosters { messages, newest: Vec::new() })
    }

    /// Pauses what draws the leader's operations or lets it go on, and sets how many it draws in a second; `None` leaves what
    /// is.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn control_generator(
        &self,
        paused: Option<bool>,
        rate: Option<f64>,
    ) -> Result<GeneratorStatus, ControlError> {
        let clock = Clock::start();
        let request = pb::ControlGeneratorRequest { paused, rate };
        let answer = tokio::select! {
            answer = ask::<pb::ControlGeneratorResponse>(&self.transport, method!("ControlGenerator"), &request) => answer?,
            () = clock.sleep_until(clock.now().plus(SUBMIT_TIMEOUT)) => {
                return Err(ControlError::Failed("the leader did not answer in time".to_owned()));
            }
        };
        let status = answer.generator.ok_or_else(|| ControlError::Failed("the leader's answer is empty".to_owned()))?;
        Ok(status.into())
    }
}

/// Why the generator is as it was, or why that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The leader does not let callers control it.
    #[error("{0}")]
    Off(String),
    /// It draws nothing more.
    #[error("{0}")]
    Ended(String),
    /// The leader refuses the rate, or the page may not call it.
    #[error("{0}")]
    Refused(String),
    /// The leader takes it only with a token, or with another one.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The leader is older than the call.
    #[error("the leader is of a version that cannot answer this")]
    Unsupported,
    /// The call failed on its way, so the change may or may not have been made.
    #[error("{0}")]
    Failed(String),
}

/// Decides by the reason in the status, as `calculator.proto` lists them.
impl From<CallError> for ControlError {
    fn from(error: CallError) -> Self {
        if let Some(not_allowed) = error.not_allowed() {
            return Self::NotAllowed(not_allowed);
        }
        match (error.reason.as_str(), error.code) {
            ("CONTROL_OFF", _) => Self::Off(error.message),
            ("NO_GENERATOR", _) => Self::Ended(error.message),
            ("INVALID_REQUEST" | "HOST_NOT_ALLOWED" | "ORIGIN_NOT_ALLOWED", _) => Self::Refused(error.message),
            ("", Code::Unimplemented) => Self::Unsupported,
            _ => Self::Failed(error.message),
        }
    }
}

/// What a leader tells those who watch it. Dropping it ends the call.
#[derive(Debug)]
pub struct Rosters {
    messages: Messages,
    newest: Vec<u8>,
}

impl Rosters {
    /// The roster that came last, as it came, to hand on. [`read_roster`] reads it.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.newest
    }
}

impl Stream for Rosters {
    type Item = Result<Roster, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.messages).poll_next(context));
        Poll::Ready(next.map(|message| {
            self.newest = message?[..].to_vec();
            read_roster(&self.newest)
        }))
    }
}

/// Reads a roster that was handed on.
///
/// # Errors
///
/// [`LinkError`] if it is not what a leader sends.
pub fn read_roster(bytes: &[u8]) -> Result<Roster, LinkError> {
    let message = pb::WatchReplicasResponse::decode(bytes).map_err(|error| malformed(&error))?;
    Ok(Roster::try_from(message)?)
}
