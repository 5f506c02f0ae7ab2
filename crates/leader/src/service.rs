//! The calls of `calculator.v1.CalculatorService` but for `Subscribe`, which [`feed::SubscribeService`] serves.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Frame, Index, Operation, Resume, Standing, StreamId, Submission, Verdict};
use feed::{Feed, Member, Roster, read_status};
use futures_util::Stream;
use store::{Corrupt, Damage, ReadError, Store};
use tonic::{Code, Request, Response, Status};
use wire::convert::log_id_bytes;
use wire::frame::decode_next;
use wire::pb::calculator_service_server::CalculatorService;
use wire::status::{invalid, with_retry};
use wire::{DecodeError, Identity, pb};

use crate::clock;
use crate::sequencer::Submitter;

/// What a page of history holds if the caller does not say.
const DEFAULT_PAGE: usize = 1_000;
/// The most that a page of history holds.
const MAX_PAGE: usize = 10_000;
/// When a report that was not looked up may be repeated: the next one is due then anyway.
const LOOK_UP_RETRY: Duration = Duration::from_secs(2);
/// How many bytes of history are read from the store at a time.
const READ_BYTES: usize = 64 << 10;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Calculator {
    feed: Feed,
    store: Arc<dyn Store>,
    submitter: Submitter,
    roster: Roster,
    started: Instant,
}

impl Calculator {
    /// Serves the log of `feed` and `store`; operations go to `submitter`.
    #[must_use]
    pub fn new(feed: Feed, store: Arc<dyn Store>, submitter: Submitter, roster: Roster) -> Self {
        Self { feed, store, submitter, roster, started: Instant::now() }
    }
}

#[tonic::async_trait]
impl CalculatorService for Calculator {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<pb::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        _request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        // The generated service would encode every frame again for each subscriber, so the server routes this method
        // to `feed::SubscribeService` before it gets here.
        Err(Status::internal("Subscribe was routed to the wrong service"))
    }

    async fn submit(&self, request: Request<pb::SubmitRequest>) -> Result<Response<pb::SubmitResponse>, Status> {
        let submission = Submission::try_from(request.into_inner()).map_err(|error| match error {
            DecodeError::Missing(_) => invalid(
                "the request holds no operation: set one of add, subtract, multiply, divide, square_root, power_of_two",
            ),
            error => invalid(&error.to_string()),
        })?;
        let event = self.submitter.submit(submission).await?;
        Ok(Response::new(pb::SubmitResponse { index: event.index.0, value: event.value }))
    }

    async fn read_events(
        &self,
        request: Request<pb::ReadEventsRequest>,
    ) -> Result<Response<pb::ReadEventsResponse>, Status> {
        let request = request.into_inner();
        let page = match usize::try_from(request.page_size) {
            Ok(0) => DEFAULT_PAGE,
            Ok(size) => size.min(MAX_PAGE),
            Err(_) => return Err(invalid("page_size must not be negative")),
        };
        let (first, operations) = match request.first_index {
            0 => self.read_oldest(page).await?,
            first => {
                let first = Index(first);
                (first, self.read_operations(first, page).await.map_err(|error| read_status(&error))?)
            }
        };
        let published = self.feed.published();
        let next = first.plus(operations.len() as u64);
        Ok(Response::new(pb::ReadEventsResponse {
            first_index: first.0,
            operations: operations.into_iter().map(Into::into).collect(),
            next_index: next.0,
            tail: published.tail.position().index.0,
            floor: published.floor.0,
        }))
    }

    async fn get_status(
        &self,
        _request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let published = self.feed.published();
        let position = published.tail.position();
        Ok(Response::new(pb::GetStatusResponse {
            log_id: log_id_bytes(published.tail.log()),
            term: published.term.0,
            tail: position.index.0,
            digest: position.digest.0,
            value: published.tail.value(),
            floor: published.floor.0,
            subscribers: u32::try_from(self.roster.streams()).unwrap_or(u32::MAX),
            durability: pb::Durability::from(self.feed.durability()).into(),
            uptime_ms: millis(self.started.elapsed()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            log_problem: self.submitter.writing().problem().unwrap_or_default(),
            log_damage: damage_text(&self.store.damage()),
        }))
    }

    async fn report_progress(
        &self,
        request: Request<pb::ReportProgressRequest>,
    ) -> Result<Response<pb::ReportProgressResponse>, Status> {
        let request = request.into_inner();
        let identity =
            Identity::try_from(request.replica.unwrap_or_default()).map_err(|error| invalid(&error.to_string()))?;
        let position = request.position.ok_or_else(|| invalid("position is not set"))?;
        let at = Resume::try_from(position).map_err(|error| invalid(&error.to_string()))?;
        self.roster.heard(&identity, StreamId(request.stream_id));
        let verdict = self.judge(&identity, at).await?;
        let lag = Duration::from_millis(request.lag_ms.into());
        self.roster.report(&identity, at, verdict, lag);
        let published = self.feed.published();
        Ok(Response::new(pb::ReportProgressResponse {
            standing: standing(verdict.into()),
            tail: published.tail.position().index.0,
            log_id: log_id_bytes(published.tail.log()),
            term: published.term.0,
            leader_time_us: clock::now().0,
        }))
    }

    async fn list_replicas(
        &self,
        _request: Request<pb::ListReplicasRequest>,
    ) -> Result<Response<pb::ListReplicasResponse>, Status> {
        let replicas = self.roster.list().into_iter().map(replica_status).collect();
        Ok(Response::new(pb::ListReplicasResponse { replicas }))
    }
}

impl Calculator {
    /// From memory, or else from the store, which replicas without a stream have no right to.
    async fn judge(&self, identity: &Identity, at: Resume) -> Result<Verdict, Status> {
        if let Some(verdict) = self.feed.judge_from_memory(at) {
            return Ok(verdict);
        }
        let Some(_look) = self.roster.look_up(identity) else {
            let message = "the position is not among the newest events, and it is looked up only for replicas that have a \
                           stream, twice a second at most";
            return Err(with_retry(Code::ResourceExhausted, "NOT_LOOKED_UP", &[], Some(LOOK_UP_RETRY), message));
        };
        self.feed.judge(at).await.map_err(|error| read_status(&error))
    }

    /// At most `page` of the oldest operations, and the index of the first. The floor may rise between looking for it
    /// and reading; then the look is repeated.
    async fn read_oldest(&self, page: usize) -> Result<(Index, Vec<Operation>), Status> {
        let mut first = self.store.floor().next();
        loop {
            match self.read_operations(first, page).await {
                Err(ReadError::Compacted(compacted)) => first = compacted.floor.next(),
                read => return read.map(|operations| (first, operations)).map_err(|error| read_status(&error)),
            }
        }
    }

    /// At most `page` operations from `first` on.
    async fn read_operations(&self, first: Index, page: usize) -> Result<Vec<Operation>, ReadError> {
        let mut operations = Vec::new();
        while operations.len() < page {
            let next = first.plus(operations.len() as u64);
            let batches = self.store.read(next, READ_BYTES).await?;
            if batches.is_empty() {
                break;
            }
            for stored in batches {
                let mut frame = stored.frame;
                let decoded = decode_next(&mut frame)
                    .map_err(|error| Corrupt { index: stored.first, what: error.to_string() })?;
                let Some(Frame::Batch(batch)) = decoded else {
                    let what = "what is stored is no batch".to_owned();
                    return Err(Corrupt { index: stored.first, what }.into());
                };
                // The first batch may begin before the event that was asked for.
                let wanted = first.plus(operations.len() as u64).events_since(batch.first());
                let skip = usize::try_from(wanted).unwrap_or(usize::MAX);
                let room = page - operations.len();
                operations.extend(batch.operations().iter().skip(skip).take(room));
            }
        }
        Ok(operations)
    }
}

/// The first places of all that are damaged, and how many more there are.
fn damage_text(damage: &[Damage]) -> String {
    const TOLD: usize = 10;
    let mut places: Vec<String> = damage.iter().take(TOLD).map(ToString::to_string).collect();
    if damage.len() > TOLD {
        places.push(format!("and {} places more", damage.len() - TOLD));
    }
    places.join("; ")
}

fn standing(standing: Standing) -> i32 {
    pb::Standing::from(standing).into()
}

fn replica_status(member: Member) -> pb::ReplicaStatus {
    pb::ReplicaStatus {
        replica: Some(member.identity.into()),
        connected: member.connected,
        position: member.position.map(|(at, _)| at.into()),
        standing: standing(member.position.map_or(Standing::Unknown, |(_, verdict)| verdict.into())),
        lag_ms: u32::try_from(member.lag.as_millis()).unwrap_or(u32::MAX),
        last_heard_ms: millis(member.last_heard),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
