//! The calls of `calculator.v1.CalculatorService`, a file for each, and those of the original demo in [`legacy`].
//!
//! | to find | look in |
//! |---|---|
//! | the checks before every call: content type, method, deadline | `edge.rs` |
//! | the code and reason of each read error | `status.rs` |
//! | the streams | [`subscribe`], [`watch_replicas`] |
//! | how both are written without encoding a message for each reader | `raw.rs` |

mod control_generator;
pub(crate) mod edge;
mod get_status;
pub mod health;
pub mod legacy;
mod list_replicas;
mod raw;
mod read_events;
mod read_snapshot;
mod report_progress;
pub mod status;
mod submit;
pub mod subscribe;
pub mod watch_replicas;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feed::Feed;
use futures_util::Stream;
use store::LogReader;
use tonic::{Code, Request, Response, Status};
use wire::pb;
use wire::pb::calculator_service_server::CalculatorService;
use wire::status::with_retry;

use crate::generator::Generation;
use crate::http::client::{Admitted, Client, PerClient};
use crate::http::limits::Limits;
use crate::rate::Rate;
use crate::roster::Membership;
use crate::traces::Traces;
use sequencer::Submitter;
use watch_replicas::Watchers;

/// All calls that are not streams. Cheap to clone.
#[derive(Clone)]
pub struct Calculator {
    feed: Feed,
    log: Arc<dyn LogReader>,
    submitter: Submitter,
    membership: Membership,
    generation: Generation,
    watchers: Watchers,
    traces: Traces,
    rate: Rate,
    started: Instant,
}

/// How many streams may be open.
#[derive(Clone, Debug)]
pub struct Room {
    /// In all.
    pub streams: usize,
    /// Of each client.
    pub clients: PerClient,
}

/// When a client that has too many streams should try again.
const TOO_MANY_RETRY: Duration = Duration::from_secs(5);

/// Admits one more stream of a client.
fn admit(clients: &PerClient, client: Option<Client>) -> Result<Option<Admitted>, Status> {
    let Some(client) = client else { return Ok(None) };
    clients.admit(client).map(Some).ok_or_else(|| {
        let message = "your address has as many streams as it may have; end some, or ask the leader's operator to raise \
                       --max-per-client, or to name the proxy that you share with --trusted-proxy";
        with_retry(Code::ResourceExhausted, "TOO_MANY_OF_CLIENT", &[], Some(TOO_MANY_RETRY), message)
    })
}

impl Calculator {
    /// Creates the service. `feed` knows the tail, `log` holds history, operations go to `submitter`, and `generation`
    /// draws them.
    #[must_use]
    pub fn new(
        feed: Feed,
        log: Arc<dyn LogReader>,
        submitter: Submitter,
        membership: Membership,
        generation: Generation,
        watchers: Watchers,
    ) -> Self {
        let traces = Traces::default();
        let Limits { submits, submits_of_one, .. } = Limits::default();
        let rate = Rate::new(submits, submits_of_one);
        Self { feed, log, submitter, membership, generation, watchers, traces, rate, started: Instant::now() }
    }

    /// Limits submissions to `rate`.
    #[must_use]
    pub fn with_rate(self, rate: Rate) -> Self {
        Self { rate, ..self }
    }

    /// Sends a trace of each submission to `traces`.
    #[must_use]
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Those who watch the replicas.
    pub(crate) fn watchers(&self) -> &Watchers {
        &self.watchers
    }
}

#[tonic::async_trait]
impl CalculatorService for Calculator {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<pb::SubscribeResponse, Status>> + Send>>;
    type WatchReplicasStream = Pin<Box<dyn Stream<Item = Result<pb::WatchReplicasResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        _request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        // The generated service would encode every frame again for each subscriber, so the port routes this method to
        // `SubscribeService`.
        Err(Status::internal("Subscribe was routed to the wrong service"))
    }

    async fn submit(&self, request: Request<pb::SubmitRequest>) -> Result<Response<pb::SubmitResponse>, Status> {
        let (headers, extensions, request) = request.into_parts();
        let client = extensions.get::<Client>().copied();
        submit::answer(self, &headers, client, request).await.map(Response::new)
    }

    async fn read_events(
        &self,
        request: Request<pb::ReadEventsRequest>,
    ) -> Result<Response<pb::ReadEventsResponse>, Status> {
        read_events::answer(self, request.into_inner()).await.map(Response::new)
    }

    async fn read_snapshot(
        &self,
        request: Request<pb::ReadSnapshotRequest>,
    ) -> Result<Response<pb::ReadSnapshotResponse>, Status> {
        read_snapshot::answer(self, request.into_inner()).await.map(Response::new)
    }

    async fn get_status(
        &self,
        _request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        Ok(Response::new(get_status::answer(self)))
    }

    async fn report_progress(
        &self,
        request: Request<pb::ReportProgressRequest>,
    ) -> Result<Response<pb::ReportProgressResponse>, Status> {
        report_progress::answer(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_replicas(
        &self,
        _request: Request<pb::ListReplicasRequest>,
    ) -> Result<Response<pb::ListReplicasResponse>, Status> {
        Ok(Response::new(list_replicas::answer(self)))
    }

    async fn watch_replicas(
        &self,
        _request: Request<pb::WatchReplicasRequest>,
    ) -> Result<Response<Self::WatchReplicasStream>, Status> {
        // As with Subscribe, the port routes this method to `WatchService`.
        Err(Status::internal("WatchReplicas was routed to the wrong service"))
    }

    async fn control_generator(
        &self,
        request: Request<pb::ControlGeneratorRequest>,
    ) -> Result<Response<pb::ControlGeneratorResponse>, Status> {
        control_generator::answer(self, request.into_inner()).map(Response::new)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
