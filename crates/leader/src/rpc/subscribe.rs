//! The `Subscribe` call, served from encoded frames.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::{Frame, Goodbye, GoodbyeReason, Resume, SnapshotReason, Timestamp};
use feed::{Cursor, Delivery, Feed};
use futures_util::Stream;
use futures_util::stream;
use http::{Request, Response};
use tonic::{Status, body::Body};
use tracing::{debug, info};
use wire::frame::encode;
use wire::status::invalid;
use wire::{Identity, pb};

use super::raw::{read_request, respond};
use super::status::read_status;
use super::{Room, admit};
use crate::http::client::{Admitted, Client};
use crate::metrics::Welcomes;
use crate::roster::{Caller, Membership, Presence};

const OVERLOADED_RETRY: Duration = Duration::from_secs(5);

/// Serves `calculator.v1.CalculatorService/Subscribe`.
#[derive(Clone)]
pub struct SubscribeService {
    feed: Feed,
    membership: Membership,
    room: Room,
    welcomes: Welcomes,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl SubscribeService {
    /// The path of the call.
    pub const PATH: &'static str = "/calculator.v1.CalculatorService/Subscribe";

    /// Serves `feed`, with streams in `membership` while there is `room`. `clock` gives the leader's time.
    pub(crate) fn new(
        feed: Feed,
        membership: Membership,
        room: Room,
        welcomes: Welcomes,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self { feed, membership, room, welcomes, clock: Arc::new(clock) }
    }

    /// Makes the call.
    pub(crate) async fn subscribe(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let client = request.extensions().get::<Client>().copied();
        let request: pb::SubscribeRequest = read_request(request).await?;
        let dropped: SnapshotReason = request.dropped().into();
        let (identity, resume) = parse(request)?;

        if let Some(goodbye) = self.feed.goodbye() {
            return Ok(respond(stream::iter([goodbye])));
        }
        let admitted = admit(&self.room.clients, client)?;
        let name = identity.name.clone();
        let limit = self.room.streams;
        let Ok(presence) = self.membership.join(identity, caller, limit) else {
            self.welcomes.turned_away();
            info!(name, limit, "turned a subscriber away: too many subscribers");
            let goodbye = Goodbye { reason: GoodbyeReason::Overloaded, retry_after: OVERLOADED_RETRY };
            return Ok(respond(stream::iter([encode(&Frame::Goodbye(goodbye))])));
        };
        let opening = self.feed.subscribe(resume, presence.stream(), (self.clock)()).await;
        let opening = opening.map_err(|error| read_status(&error))?;
        self.welcomes.answered(presence.answered(opening.verdict, dropped));
        let at = resume.map(|resume| resume.position.index.0);
        info!(name, at, verdict = %opening.verdict, "a replica subscribed");
        Ok(respond(deliver(opening.frames, opening.cursor, (presence, admitted))))
    }
}

fn parse(request: pb::SubscribeRequest) -> Result<(Identity, Option<Resume>), Status> {
    let identity =
        Identity::try_from(request.replica.unwrap_or_default()).map_err(|error| invalid(&error.to_string()))?;
    let resume = request.resume_from.map(Resume::try_from).transpose().map_err(|error| invalid(&error.to_string()))?;
    Ok((identity, resume))
}

/// Streams the opening and then what the cursor delivers, up to and including a goodbye.
fn deliver(opening: Bytes, cursor: Cursor, presence: (Presence, Option<Admitted>)) -> impl Stream<Item = Bytes> + Send {
    let state = Some((Some(opening), cursor, presence));
    stream::unfold(state, |state| async {
        let (opening, mut cursor, presence) = state?;
        if let Some(opening) = opening {
            presence.0.sent_before(cursor.next_index());
            return Some((opening, Some((None, cursor, presence))));
        }
        match cursor.next().await {
            Ok(Delivery::Frames(bytes)) => {
                presence.0.sent_before(cursor.next_index());
                Some((bytes, Some((None, cursor, presence))))
            }
            Ok(Delivery::Goodbye(bytes)) => Some((bytes, None)),
            Err(error) => {
                // The replica reconnects and resumes; the store logs the error for the operator.
                debug!(%error, "a stream ended because the store could not be read");
                None
            }
        }
    })
}
