//! Watches a leader and its replicas, and controls what draws its operations.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use prost::Message;
use wire::{Identity, Roster, pb};

use crate::LinkError;
#[cfg(target_arch = "wasm32")]
use crate::fetch::Messages;
use crate::grpc::{Calls, malformed, method};
#[cfg(not(target_arch = "wasm32"))]
use crate::native::Messages;

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
        Ok(Rosters { messages })
    }
}

/// What a leader tells those who watch it. Dropping it ends the call.
#[derive(Debug)]
pub struct Rosters {
    messages: Messages,
}

impl Stream for Rosters {
    type Item = Result<Roster, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.messages).poll_next(context));
        Poll::Ready(next.map(|message| {
            let message = pb::WatchReplicasResponse::decode(message?.as_ref()).map_err(|error| malformed(&error))?;
            Roster::try_from(message).map_err(LinkError::Frame)
        }))
    }
}
