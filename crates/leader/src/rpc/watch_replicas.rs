//! `WatchReplicas`: shows people the leader and its replicas. The roster is made while somebody watches, encoded once, and
//! shared by all who watch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::{Frame, Index, Operation};
use feed::Feed;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Code, Status, body::Body};
use tracing::debug;
use wire::frame::{decode_next, encode_message};
use wire::roster::{MAX_NEWEST, MAX_ROWS};
use wire::status::{invalid, with_retry};
use wire::{Identity, Roster, pb};

use super::admit;
use super::raw::{read_request, respond};
use crate::clock;
use crate::generator::Generation;
use crate::http::client::{Client, PerClient};
use crate::roster::Membership;

/// The least time between two rosters.
const PERIOD: Duration = Duration::from_millis(250);

/// The longest time between two rosters, and between two reports of a replica.
const LONGEST_PERIOD: Duration = Duration::from_secs(2);

/// How much longer the period is for each replica. Above a thousand replicas, this bounds what rosters cost.
const PERIOD_FOR_EACH: Duration = Duration::from_micros(250);

/// What a report of each replica adds to the time between its reports while somebody watches, so that all of them together
/// cost at most a hundred reports a second.
const REPORT_FOR_EACH: Duration = Duration::from_millis(10);

/// When to try again if too many watch.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Those who watch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watchers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    newest: watch::Sender<Newest>,
    /// Notified when somebody begins to watch.
    came: Notify,
    /// A place for each who may watch at a time.
    places: Arc<Semaphore>,
}

/// What those who watch get next.
#[derive(Clone, Debug)]
enum Newest {
    /// Nothing yet.
    None,
    /// The newest roster, encoded.
    Roster(Bytes),
    /// The end of the stream.
    End,
}

impl Watchers {
    /// At most `limit` may watch at a time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (newest, _) = watch::channel(Newest::None);
        let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Self { shared: Arc::new(Shared { newest, came: Notify::new(), places }) }
    }

    /// When a replica should report again, if that is sooner than usual. `connected`: how many replicas follow.
    #[must_use]
    pub fn report_again(&self, connected: usize) -> Option<Duration> {
        (self.shared.newest.receiver_count() > 0).then(|| REPORT_FOR_EACH * count(connected)).map(bounded)
    }

    /// How many watch.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.newest.receiver_count()
    }

    /// The rosters from now on, or `None` if too many watch already.
    fn watch(&self) -> Option<impl Stream<Item = Bytes> + Send + use<>> {
        let place = Arc::clone(&self.shared.places).try_acquire_owned().ok()?;
        let mut newest = self.shared.newest.subscribe();
        newest.mark_changed();
        self.shared.came.notify_one();
        Some(stream::unfold((newest, place), next_roster))
    }
}

/// Waits for a roster that is newer than the last one taken. Those in between are skipped.
async fn next_roster(
    (mut newest, place): (watch::Receiver<Newest>, OwnedSemaphorePermit),
) -> Option<(Bytes, (watch::Receiver<Newest>, OwnedSemaphorePermit))> {
    loop {
        newest.changed().await.ok()?;
        let next = newest.borrow_and_update().clone();
        match next {
            Newest::None => {}
            Newest::Roster(bytes) => return Some((bytes, (newest, place))),
            Newest::End => return None,
        }
    }
}

fn count(replicas: usize) -> u32 {
    u32::try_from(replicas).unwrap_or(u32::MAX)
}

fn bounded(period: Duration) -> Duration {
    period.clamp(PERIOD, LONGEST_PERIOD)
}

/// Makes rosters.
pub struct RosterMaker {
    /// The log.
    pub feed: Feed,
    /// The replicas.
    pub membership: Membership,
    /// What draws operations.
    pub generation: Generation,
    /// Those who get the rosters.
    pub watchers: Watchers,
}

impl RosterMaker {
    /// Makes a roster some times a second while somebody watches, until the feed is closed.
    pub async fn run(self) {
        let Shared { newest, came, .. } = &*self.watchers.shared;
        // The tail of the roster before: what lacks events up to there is late.
        let mut due = Index::ZERO;
        loop {
            if newest.receiver_count() == 0 {
                newest.send_replace(Newest::None);
                came.notified().await;
                due = Index::ZERO;
                continue;
            }
            if self.feed.is_closed() {
                newest.send_replace(Newest::End);
                return;
            }
            let roster = self.make(due);
            due = roster.tail.position().index;
            let period = bounded(PERIOD_FOR_EACH * count(roster.replicas.len()).saturating_add(roster.not_shown));
            newest.send_replace(Newest::Roster(encode_message(&pb::WatchReplicasResponse::from(roster))));
            tokio::time::sleep(period).await;
        }
    }

    fn make(&self, due: Index) -> Roster {
        let (published, frames) = self.feed.newest(MAX_NEWEST as u64);
        let shown = self.membership.show(MAX_ROWS, due);
        Roster {
            tail: published.tail,
            term: published.term,
            floor: published.floor,
            leader_time: clock::now(),
            newest: newest_operations(frames),
            connected: count(shown.connected),
            replicas: shown.rows,
            not_shown: count(shown.not_shown),
            generator: Some(self.generation.status()),
        }
    }
}

fn newest_operations(batches: Vec<Bytes>) -> Vec<Operation> {
    let mut operations = Vec::new();
    for mut frame in batches {
        if let Ok(Some(Frame::Batch(batch))) = decode_next(&mut frame) {
            operations.extend_from_slice(batch.operations());
        }
    }
    operations.split_off(operations.len().saturating_sub(MAX_NEWEST))
}

/// Serves `calculator.v1.CalculatorService/WatchReplicas`.
#[derive(Clone, Debug)]
pub struct WatchService {
    /// Those who watch.
    pub watchers: Watchers,
    /// How many of them are of one client.
    pub clients: PerClient,
}

impl WatchService {
    /// The path of the call.
    pub const PATH: &'static str = "/calculator.v1.CalculatorService/WatchReplicas";

    /// Makes the call.
    pub(crate) async fn watch(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let client = request.extensions().get::<Client>().copied();
        let request: pb::WatchReplicasRequest = read_request(request).await?;
        let identity = Identity::try_from(request.replica.unwrap_or_default());
        let identity = identity.map_err(|error| invalid(&error.to_string()))?;
        let admitted = admit(&self.clients, client)?;
        let rosters = self.watchers.watch().ok_or_else(|| {
            let message = "too many watch the replicas already; try again later";
            with_retry(Code::ResourceExhausted, "TOO_MANY_WATCHERS", &[], Some(RETRY_AFTER), message)
        })?;
        debug!(name = identity.name, "somebody watches the replicas");
        Ok(respond(rosters.map(move |roster| {
            let _open = &admitted;
            roster
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_report_sooner_only_while_somebody_watches() {
        let watchers = Watchers::new(1);
        assert_eq!(watchers.report_again(1), None);
        let watching = watchers.watch().unwrap();
        let again: Vec<_> = [0, 1, 25, 26, 100, 200, 100_000].map(|count| watchers.report_again(count).unwrap()).into();
        assert_eq!(again, [250, 250, 250, 260, 1_000, 2_000, 2_000].map(Duration::from_millis));
        drop(watching);
        assert_eq!(watchers.report_again(1), None);
    }

    #[tokio::test]
    async fn a_slow_watcher_gets_the_newest_roster_and_a_new_one_gets_it_at_once() {
        let watchers = Watchers::new(2);
        let mut slow = Box::pin(watchers.watch().unwrap());
        for number in 1..=3 {
            watchers.shared.newest.send_replace(Newest::Roster(Bytes::copy_from_slice(&[number])));
        }
        assert_eq!(slow.next().await.as_deref(), Some(&[3][..]));
        let mut new = Box::pin(watchers.watch().unwrap());
        assert_eq!(new.next().await.as_deref(), Some(&[3][..]));
        assert!(watchers.watch().is_none(), "there are two places");
        watchers.shared.newest.send_replace(Newest::End);
        assert_eq!((slow.next().await, new.next().await), (None, None));
        drop(slow);
        assert!(watchers.watch().is_some());
    }
}
