//! The original demo's service, so that its unmodified replicas can follow this leader.
//!
//! Such a replica can recover in one way only: when its stream ends, it asks for the current value and at once subscribes
//! from there. After an event out of order, it first waits for the end of the stream. So a stream ends with a status before
//! any event that it would have to skip, and never because it has reached the tail.
//!
//! The service translates batches from the feed into single events, whose `eventindex` counts from 0. It encodes them for
//! each subscriber, which is cheap enough for the few that use it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use engine::{Frame, Index};
use feed::{Cursor, Delivery, Feed};
use futures_util::{Stream, stream};
use store::{Compacted, ReadError};
use tonic::{Code, Request, Response, Status};
use wire::frame::{FrameError, decode_next};
use wire::sharedcalculator::leader_server::Leader;
use wire::sharedcalculator::{Event, GetMostRecentValueRequest, GetMostRecentValueResponse, GetUpdatesRequest};
use wire::status::status;

use super::status::read_status;
use super::{Room, admit};
use crate::http::client::{Admitted, Client};
use crate::roster::{Caller, Membership, Presence};

/// How long the answer to a refused stream is delayed, because the original replica retries without a pause.
const TURNED_AWAY_AFTER: Duration = Duration::from_secs(1);

/// Serves `sharedcalculator.Leader` from a feed.
#[derive(Clone)]
pub struct Legacy {
    feed: Feed,
    membership: Membership,
    room: Room,
}

impl Legacy {
    /// Serves `feed`. Its streams count in `membership`, and are admitted while there is `room`.
    #[must_use]
    pub fn new(feed: Feed, membership: Membership, room: Room) -> Self {
        Self { feed, membership, room }
    }
}

#[tonic::async_trait]
impl Leader for Legacy {
    type StreamUpdatesStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn stream_updates(
        &self,
        request: Request<GetUpdatesRequest>,
    ) -> Result<Response<Self::StreamUpdatesStream>, Status> {
        if self.feed.is_closed() {
            return Err(shutting_down());
        }
        let caller = request.extensions().get::<Caller>().cloned();
        let client = request.extensions().get::<Client>().copied();
        let from_index = request.into_inner().from_index;
        let published = self.feed.published();
        let events_so_far = published.tail.position().index.0;
        if from_index > events_so_far {
            return Err(beyond(from_index, events_so_far));
        }
        // `eventindex` N is our index N + 1.
        let first = Index(from_index).next();
        if first <= published.floor {
            return Err(gone(first, published.floor));
        }
        let admitted = match admit(&self.room.clients, client) {
            Ok(admitted) => admitted,
            Err(refused) => {
                tokio::time::sleep(TURNED_AWAY_AFTER).await;
                return Err(refused);
            }
        };
        let Ok(presence) = self.membership.join_original(caller, self.room.streams) else {
            tokio::time::sleep(TURNED_AWAY_AFTER).await;
            let message = "the leader has its maximum number of subscribers; try again later";
            return Err(status(Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS", &[], message));
        };
        presence.sent_before(first);
        let cursor = self.feed.cursor(first);
        let events =
            Events { cursor, first, next: first, ready: VecDeque::new(), ends: None, presence, _admitted: admitted };
        let events = stream::try_unfold(events, |mut events| async move {
            let next = events.next().await?;
            Ok(next.map(|event| (event, events)))
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn get_most_recent_value(
        &self,
        _request: Request<GetMostRecentValueRequest>,
    ) -> Result<Response<GetMostRecentValueResponse>, Status> {
        if self.feed.is_closed() {
            // After an error, the original replica pauses before it retries.
            return Err(shutting_down());
        }
        let tail = self.feed.published().tail;
        Ok(Response::new(GetMostRecentValueResponse {
            current_value: tail.value(),
            latest_index: tail.position().index.0,
        }))
    }
}

struct Events {
    cursor: Cursor,
    /// The first event that was asked for. Earlier events of its batch are skipped.
    first: Index,
    next: Index,
    /// Translated events that were not sent yet, at most one span's worth.
    ready: VecDeque<Event>,
    /// The status that ends the stream once they are sent.
    ends: Option<Status>,
    presence: Presence,
    _admitted: Option<Admitted>,
}

impl Events {
    async fn next(&mut self) -> Result<Option<Event>, Status> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.presence.sent_before(Index(event.eventindex).plus(2));
                return Ok(Some(event));
            }
            if let Some(ends) = self.ends.take() {
                return Err(ends);
            }
            match self.cursor.next().await.map_err(|error| read_status(&error))? {
                // This protocol has no message for a snapshot.
                Delivery::Frames(_) if let Some(damage) = self.cursor.damage() => {
                    return Err(read_status(&damage.clone().into()));
                }
                Delivery::Frames(span) => self.translate(span)?,
                Delivery::Goodbye(_) => return Ok(None),
            }
        }
    }

    fn translate(&mut self, mut span: Bytes) -> Result<(), Status> {
        while let Some(frame) = decode_next(&mut span).map_err(|error| undecodable(&error))? {
            // This protocol has no message for a snapshot or a heartbeat.
            let batch = match frame {
                Frame::Batch(batch) => batch,
                Frame::Snapshot(snapshot) => {
                    self.ends = Some(gone(self.next, snapshot.snapshot.position().index));
                    return Ok(());
                }
                _ => continue,
            };
            self.next = batch.last().next();
            let events = batch.operations().iter().zip(batch.first().0..);
            let wanted = events.filter(|(_, index)| *index >= self.first.0);
            self.ready.extend(wanted.map(|(operation, index)| Event {
                eventindex: index - 1,
                operation: operation.name().to_owned(),
                argument: operation.argument().unwrap_or(0),
            }));
        }
        Ok(())
    }
}

/// The caller followed another log, which was longer.
fn beyond(from_index: u64, events: u64) -> Status {
    let message = format!(
        "this log has {events} events, and none with eventindex {from_index} yet; call GetMostRecentValue and start over \
         from its latest_index"
    );
    status(Code::FailedPrecondition, "BEYOND_TAIL", &[("latest_index", events.to_string())], &message)
}

/// History up to `floor` was compacted away.
fn gone(asked: Index, floor: Index) -> Status {
    read_status(&ReadError::Compacted(Compacted { asked, floor }))
}

fn shutting_down() -> Status {
    status(Code::Unavailable, "SHUTTING_DOWN", &[], "the leader is shutting down")
}

fn undecodable(error: &FrameError) -> Status {
    status(Code::DataLoss, "LOG_DAMAGED", &[], &error.to_string())
}
