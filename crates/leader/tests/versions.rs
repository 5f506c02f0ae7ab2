//! Replicas and leaders of different versions: each ignores unknown fields, and works without fields that the other does not
//! send.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Follower, TestLeader, config};
use engine::{
    Digest, Durability, Frame, Index, LogId, Operation, Position, SnapshotReason, Standing, StreamId, Submission, Term,
    Timestamp, Verdict, Welcome, apply,
};
use follower::{ControlError, LinkError};
use futures_util::Stream;
use leader::config::Generator;
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use wire::pb;
use wire::pb::calculator_service_server::{CalculatorService, CalculatorServiceServer};

/// The messages of the first version, with only the fields that its replicas know.
mod first {
    use wire::pb;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Welcome {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) log_id: Vec<u8>,
        #[prost(uint64, tag = "3")]
        pub(crate) tail: u64,
        #[prost(uint64, tag = "4")]
        pub(crate) floor: u64,
        #[prost(enumeration = "pb::Verdict", tag = "8")]
        pub(crate) verdict: i32,
        #[prost(enumeration = "pb::SnapshotReason", tag = "9")]
        pub(crate) snapshot_reason: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Batch {
        #[prost(uint64, tag = "1")]
        pub(crate) term: u64,
        #[prost(uint64, tag = "2")]
        pub(crate) first_index: u64,
        #[prost(message, repeated, tag = "3")]
        pub(crate) operations: Vec<pb::Operation>,
        #[prost(fixed64, tag = "4")]
        pub(crate) digest: u64,
        #[prost(uint64, tag = "5")]
        pub(crate) committed_at_us: u64,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Frame {
        #[prost(message, tag = "1")]
        Welcome(Welcome),
        #[prost(message, tag = "2")]
        Snapshot(pb::Snapshot),
        #[prost(message, tag = "3")]
        Batch(Batch),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct SubscribeResponse {
        #[prost(oneof = "Frame", tags = "1, 2, 3")]
        pub(crate) frame: Option<Frame>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ReportProgressRequest {
        #[prost(message, optional, tag = "1")]
        pub(crate) replica: Option<pb::Replica>,
        #[prost(message, optional, tag = "2")]
        pub(crate) position: Option<pb::LogPosition>,
        #[prost(uint32, tag = "3")]
        pub(crate) lag_ms: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ReportProgressResponse {
        #[prost(enumeration = "pb::Standing", tag = "1")]
        pub(crate) standing: i32,
        #[prost(uint64, tag = "2")]
        pub(crate) tail: u64,
    }
}

/// Whether a replica of the first version that stands at `applied` accepts a welcome. These are the checks of that version.
fn first_version_accepts(welcome: &first::Welcome, applied: u64) -> bool {
    let possible = match (welcome.verdict(), welcome.snapshot_reason()) {
        (pb::Verdict::Resumed, _) => welcome.floor <= applied && applied <= welcome.tail,
        (pb::Verdict::Snapshot, pb::SnapshotReason::Compacted) => applied < welcome.floor,
        (pb::Verdict::Snapshot, _) => true,
        (pb::Verdict::Unspecified, _) => false,
    };
    possible && welcome.floor <= welcome.tail
}

struct First {
    client: tonic::client::Grpc<Channel>,
    /// Its position, and the value there.
    held: Option<(pb::LogPosition, i64)>,
}

impl First {
    async fn new(leader: &TestLeader) -> Self {
        Self { client: tonic::client::Grpc::new(leader.channel().await), held: None }
    }

    /// Follows to the event at `index`, and returns how it was welcomed.
    async fn follow_to(&mut self, index: u64) -> first::Welcome {
        let request = pb::SubscribeRequest {
            replica: None,
            resume_from: self.held.as_ref().map(|held| held.0.clone()),
            ..Default::default()
        };
        let path = http::uri::PathAndQuery::from_static("/calculator.v1.CalculatorService/Subscribe");
        let codec = tonic_prost::ProstCodec::<pb::SubscribeRequest, first::SubscribeResponse>::default();
        self.client.ready().await.unwrap();
        let mut frames = self.client.server_streaming(Request::new(request), path, codec).await.unwrap().into_inner();
        let mut welcomed = None;
        loop {
            let frame = tokio::time::timeout(common::PATIENCE, frames.message()).await.unwrap().unwrap().unwrap().frame;
            match frame {
                Some(first::Frame::Welcome(welcome)) => {
                    let applied = self.held.as_ref().map_or(0, |held| held.0.index);
                    let fresh = self.held.is_none();
                    assert!(fresh || first_version_accepts(&welcome, applied), "{welcome:?} to {applied}");
                    welcomed = Some(welcome);
                }
                Some(first::Frame::Snapshot(snapshot)) => {
                    let pb::Snapshot { log_id, index, digest, value, .. } = snapshot;
                    self.held = Some((pb::LogPosition { log_id, index, digest }, value));
                }
                Some(first::Frame::Batch(batch)) => self.apply(batch),
                // Frames that it does not need here, or does not know.
                None => {}
            }
            if self.held.as_ref().is_some_and(|held| held.0.index >= index) {
                return welcomed.unwrap();
            }
        }
    }

    fn apply(&mut self, batch: first::Batch) {
        let (at, value) = self.held.as_mut().unwrap();
        assert_eq!(batch.first_index, at.index + 1);
        for operation in batch.operations {
            let operation = Operation::try_from(operation).unwrap();
            *value = apply(*value, operation).unwrap();
            at.index += 1;
            at.digest = Digest(at.digest).after(Index(at.index), operation, *value).0;
        }
        assert_eq!(at.digest, batch.digest);
    }

    async fn report(&mut self) -> pb::Standing {
        let position = self.held.as_ref().map(|held| held.0.clone());
        let request = first::ReportProgressRequest { replica: None, position, lag_ms: 1 };
        let path = http::uri::PathAndQuery::from_static("/calculator.v1.CalculatorService/ReportProgress");
        let codec = tonic_prost::ProstCodec::<first::ReportProgressRequest, first::ReportProgressResponse>::default();
        self.client.ready().await.unwrap();
        self.client.unary(Request::new(request), path, codec).await.unwrap().into_inner().standing()
    }
}

#[tokio::test]
async fn a_replica_of_the_first_version_follows_resumes_and_reports() {
    let mut short = config(Generator::Off);
    short.retain = NonZeroU64::new(10).unwrap();
    let leader = TestLeader::start(short).await;
    let calls = leader.calls();
    let submit = async |count: i64| {
        for n in 1..=count {
            // Such a replica does not know authors.
            let author = Some(common::identity("somebody"));
            calls.submit(Submission { author, ..Operation::Add(n).into() }).await.unwrap();
        }
    };
    submit(3).await;
    let mut replica = First::new(&leader).await;
    assert_eq!(replica.follow_to(3).await.snapshot_reason(), pb::SnapshotReason::Fresh);
    submit(4).await;
    assert_eq!(replica.follow_to(7).await.verdict(), pb::Verdict::Resumed);
    assert_eq!(replica.report().await, pb::Standing::InStep);
    assert_eq!(replica.held.as_ref().unwrap().1, 16);
    submit(20).await;
    assert_eq!(replica.follow_to(27).await.snapshot_reason(), pb::SnapshotReason::Compacted);
    assert_eq!(replica.report().await, pb::Standing::InStep);
    leader.stop().await;
}

#[test]
fn a_replica_of_the_first_version_treats_a_damaged_range_as_compacted() {
    let welcome = Welcome {
        log: LogId(1),
        term: Term(2),
        tail: Index(50),
        // Above the replica's index, 20, although the leader's own floor may be lower.
        floor: Index(21),
        heartbeat_interval: Duration::from_secs(1),
        durability: Durability::Fsync,
        leader_time: Timestamp(3),
        verdict: Verdict::Snapshot(SnapshotReason::Compacted),
        damaged: true,
        stream: StreamId(9),
    };
    let bytes = pb::SubscribeResponse::from(&Frame::Welcome(welcome)).encode_to_vec();
    let Some(first::Frame::Welcome(old)) = first::SubscribeResponse::decode(&bytes[..]).unwrap().frame else {
        panic!()
    };
    assert_eq!(old.snapshot_reason(), pb::SnapshotReason::Compacted);
    assert!(first_version_accepts(&old, 20));
    assert!(!first_version_accepts(&old, 21), "the floor in the welcome must be above the replica's index");
}

/// A leader of the first version, which sends no later fields. Its log has five events; each adds one.
struct FirstLeader {
    log: LogId,
    reports: Arc<Mutex<Vec<pb::ReportProgressRequest>>>,
}

impl FirstLeader {
    fn end(&self) -> Position {
        let digest = (1..=5).fold(Digest::of_log(self.log), |digest, n: u64| {
            digest.after(Index(n), Operation::Add(1), i64::try_from(n).unwrap())
        });
        Position { index: Index(5), digest }
    }

    fn stream(&self) -> Vec<pb::subscribe_response::Frame> {
        use pb::subscribe_response::Frame::{Batch, Heartbeat, Snapshot, Welcome};

        let welcome = pb::Welcome {
            log_id: self.log.0.to_be_bytes().to_vec(),
            term: 1,
            tail: 5,
            heartbeat_interval_ms: 10_000,
            durability: pb::Durability::Fsync.into(),
            leader_time_us: 1_790_000_000_000_000,
            verdict: pb::Verdict::Snapshot.into(),
            snapshot_reason: pb::SnapshotReason::Fresh.into(),
            ..Default::default()
        };
        let origin = engine::Snapshot::take(self.log, Position::origin(self.log), 0);
        let snapshot = engine::frame::SnapshotFrame { term: Term(1), snapshot: origin };
        let pb::SubscribeResponse { frame: Some(Snapshot(snapshot)) } = (&Frame::Snapshot(snapshot)).into() else {
            panic!()
        };
        let batch = pb::Batch {
            term: 1,
            first_index: 1,
            operations: vec![Operation::Add(1).into(); 5],
            digest: self.end().digest.0,
            committed_at_us: 1_790_000_000_000_000,
            ..Default::default()
        };
        let heartbeat = pb::Heartbeat { term: 1, tail: 5, leader_time_us: 1_790_000_000_000_000, ..Default::default() };
        vec![Welcome(welcome), Snapshot(snapshot), Batch(batch), Heartbeat(heartbeat)]
    }
}

#[tonic::async_trait]
impl CalculatorService for FirstLeader {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<pb::SubscribeResponse, Status>> + Send>>;
    type WatchReplicasStream = tokio_stream::Pending<Result<pb::WatchReplicasResponse, Status>>;

    async fn subscribe(
        &self,
        _request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let frames = self.stream().into_iter().map(|frame| Ok(pb::SubscribeResponse { frame: Some(frame) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(frames).chain(tokio_stream::pending()))))
    }

    async fn submit(&self, _request: Request<pb::SubmitRequest>) -> Result<Response<pb::SubmitResponse>, Status> {
        Err(Status::unavailable("not in this test"))
    }

    async fn read_events(
        &self,
        _request: Request<pb::ReadEventsRequest>,
    ) -> Result<Response<pb::ReadEventsResponse>, Status> {
        Err(Status::unavailable("not in this test"))
    }

    async fn read_snapshot(
        &self,
        _request: Request<pb::ReadSnapshotRequest>,
    ) -> Result<Response<pb::ReadSnapshotResponse>, Status> {
        Err(Status::unimplemented("the first version has no such call"))
    }

    async fn get_status(
        &self,
        _request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        Err(Status::unavailable("not in this test"))
    }

    async fn report_progress(
        &self,
        request: Request<pb::ReportProgressRequest>,
    ) -> Result<Response<pb::ReportProgressResponse>, Status> {
        self.reports.lock().unwrap().push(request.into_inner());
        let standing = pb::Standing::InStep.into();
        Ok(Response::new(pb::ReportProgressResponse { standing, tail: 5, ..Default::default() }))
    }

    async fn list_replicas(
        &self,
        _request: Request<pb::ListReplicasRequest>,
    ) -> Result<Response<pb::ListReplicasResponse>, Status> {
        Err(Status::unavailable("not in this test"))
    }

    async fn control_generator(
        &self,
        _request: Request<pb::ControlGeneratorRequest>,
    ) -> Result<Response<pb::ControlGeneratorResponse>, Status> {
        Err(Status::unimplemented("the first version does not have this call"))
    }

    async fn watch_replicas(
        &self,
        _request: Request<pb::WatchReplicasRequest>,
    ) -> Result<Response<Self::WatchReplicasStream>, Status> {
        Err(Status::unimplemented("the first version does not have this call"))
    }
}

#[tokio::test]
async fn a_replica_follows_a_leader_of_the_first_version() {
    let reports = Arc::default();
    let leader = FirstLeader { log: LogId(7), reports: Arc::clone(&reports) };
    let end = leader.end();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = CalculatorServiceServer::new(leader);
    let app = axum::Router::new().route_service("/calculator.v1.CalculatorService/{*method}", service);
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let follower = Follower::start(&url, "newer");
    follower.recorder.until_live().await;
    let held = follower.recorder.read(|record| record.now.unwrap());
    assert_eq!((held.position(), held.value()), (end, 5));
    follower.recorder.until("in step", |record| record.standings.contains(&Standing::InStep)).await;
    let report = reports.lock().unwrap().first().cloned().unwrap();
    assert_eq!(report.stream_id, 0, "the leader sent no stream id");
    assert_eq!(report.position.unwrap().index, 5);
    let calls = follower::connect(&url, common::identity("reader")).unwrap().calls();
    assert_eq!(calls.read_snapshot(Index(3)).await, Err(follower::ReadError::Unsupported));
    let Err(LinkError::Call(error)) = calls.watch_replicas(common::identity("newer")).await else {
        panic!("the first version has no rosters")
    };
    assert_eq!(error.code, tonic::Code::Unimplemented);
    assert_eq!(calls.control_generator(Some(true), None).await, Err(ControlError::Unsupported));
    serving.abort();
}
