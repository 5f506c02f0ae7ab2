//! The original demo's service, so that its replicas can follow this leader without a change.
//!
//! That replica knows of one remedy: when a stream has ended, it asks for the current value and subscribes from there, at
//! once. After an event out of order it waits for the end of the stream first. So a stream ends, with a status, wherever
//! it would have to leave something out, and never because it has reached the tail.
//!
//! It translates: batches from the feed become single events, whose `eventindex` counts from 0. Each subscriber's events
//! are encoded for it alone, which is fine for the few that there are; everybody else uses `Subscribe`.

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
use crate::roster::{Caller, Presence, Roster};

/// How long a stream that cannot be had keeps its caller waiting: the original replica tries again without a pause.
const TURNED_AWAY_AFTER: Duration = Duration::from_secs(1);

/// Serves `sharedcalculator.Leader` from a feed.
#[derive(Clone)]
pub struct Legacy {
    feed: Feed,
    roster: Roster,
    max_subscribers: usize,
}

impl Legacy {
    /// Serves `feed`. Its streams count among those of `roster`, of which there may be `max_subscribers`.
    #[must_use]
    pub fn new(feed: Feed, roster: Roster, max_subscribers: usize) -> Self {
        Self { feed, roster, max_subscribers }
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
        let Ok(presence) = self.roster.join_unnamed(caller, self.max_subscribers) else {
            tokio::time::sleep(TURNED_AWAY_AFTER).await;
            let message = "the leader has as many subscribers as it may; try again later";
            return Err(status(Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS", &[], message));
        };
        let from_index = request.into_inner().from_index;
        let published = self.feed.published();
        let events_so_far = published.tail.position().index.0;
        if from_index > events_so_far {
            return Err(beyond(from_index, events_so_far));
        }
        // `eventindex` N is index N + 1, so "the next event wanted" is this index.
        let first = Index(from_index).next();
        if first <= published.floor {
            return Err(gone(first, published.floor));
        }
        let cursor = self.feed.cursor(first);
        let events = Events { cursor, first, next: first, ready: VecDeque::new(), ends: None, _presence: presence };
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
            // After an error the original replica pauses before it tries again.
            return Err(shutting_down());
        }
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
    /// The event after those that were translated.
    next: Index,
    /// What was translated and not sent yet: at most one span's worth.
    ready: VecDeque<Event>,
    /// How the stream ends once they are sent.
    ends: Option<Status>,
    _presence: Presence,
}

impl Events {
    async fn next(&mut self) -> Result<Option<Event>, Status> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if let Some(ends) = self.ends.take() {
                return Err(ends);
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
            // There is no word for a snapshot or a heartbeat in this protocol.
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

/// The caller has followed another log.
fn beyond(from_index: u64, events: u64) -> Status {
    let message = format!(
        "this log has {events} events, so there is none with eventindex {from_index} yet; ask GetMostRecentValue and \
         start over from its latest_index"
    );
    status(Code::FailedPrecondition, "BEYOND_TAIL", &[("latest_index", events.to_string())], &message)
}

/// History up to `floor` is no longer there.
fn gone(asked: Index, floor: Index) -> Status {
    read_status(&ReadError::Compacted(Compacted { asked, floor }))
}

fn shutting_down() -> Status {
    status(Code::Unavailable, "SHUTTING_DOWN", &[], "the leader is shutting down")
}

fn undecodable(error: &FrameError) -> Status {
    status(Code::DataLoss, "LOG_DAMAGED", &[], &error.to_string())
}
