//! The original demo's service, so that its replicas can follow this leader without a change.
//!
//! It translates: batches from the feed become single events, whose `eventindex` counts from 0. Each subscriber's events
//! are encoded for it alone, which is fine for the few that there are; everybody else uses `Subscribe`.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use engine::{Frame, Index};
use feed::{Caller, Cursor, Delivery, Feed, Presence, Roster, read_status};
use futures_util::{Stream, stream};
use tonic::{Code, Request, Response, Status};
use wire::frame::{FrameError, decode_next};
use wire::sharedcalculator::leader_server::Leader;
use wire::sharedcalculator::{Event, GetMostRecentValueRequest, GetMostRecentValueResponse, GetUpdatesRequest};
use wire::status::status;

/// Serves `sharedcalculator.Leader` from a feed.
#[derive(Clone)]
pub struct Classic {
    feed: Feed,
    roster: Roster,
    max_subscribers: usize,
}

impl Classic {
    /// Serves `feed`. Its streams count among those of `roster`, of which there may be `max_subscribers`.
    #[must_use]
    pub fn new(feed: Feed, roster: Roster, max_subscribers: usize) -> Self {
        Self { feed, roster, max_subscribers }
    }
}

#[tonic::async_trait]
impl Leader for Classic {
    type StreamUpdatesStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn stream_updates(
        &self,
        request: Request<GetUpdatesRequest>,
    ) -> Result<Response<Self::StreamUpdatesStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let presence = self.roster.join_unnamed(caller, self.max_subscribers).map_err(|_| {
            let message = "the leader has as many subscribers as it may; try again later";
            status(Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS", &[], message)
        })?;
        // `eventindex` N is index N + 1, so "the next event wanted" is this index. One beyond the tail is of a log that
        // this leader does not have, and one below the floor is gone; the nearest event that exists then does not follow
        // the caller's, and it starts over.
        let published = self.feed.published();
        let (oldest, newest) = (published.floor.next(), published.tail.position().index.next());
        let first = Index(request.into_inner().from_index).next().clamp(oldest, newest);
        let events = Events { cursor: self.feed.cursor(first), first, ready: VecDeque::new(), _presence: presence };
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
        let tail = self.feed.published().tail;
        Ok(Response::new(GetMostRecentValueResponse {
            current_value: tail.value(),
            latest_index: tail.position().index.0,
        }))
    }
}

/// Single events, pulled from a cursor.
struct Events {
    cursor: Cursor,
    /// Events before it were not asked for, though they may share a batch with those that were.
    first: Index,
    /// What was translated and not sent yet: at most one span's worth.
    ready: VecDeque<Event>,
    _presence: Presence,
}

impl Events {
    async fn next(&mut self) -> Result<Option<Event>, Status> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.cursor.next().await.map_err(|error| read_status(&error))? {
                // There is no word for a snapshot that leads around damage.
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
            // There is no word for a snapshot or a heartbeat in this protocol. After a snapshot the events do not
            // follow each other, which the original replica takes as a reason to ask for the value again.
            let Frame::Batch(batch) = frame else { continue };
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

fn undecodable(error: &FrameError) -> Status {
    status(Code::DataLoss, "LOG_DAMAGED", &[], &error.to_string())
}
