//! One port for everything: native gRPC, gRPC-Web, the page and `/healthz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use feed::{Feed, Roster, SubscribeService};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tonic_web::GrpcWebLayer;
use tower::Layer;
use tracing::warn;
use wire::pb::calculator_service_server::CalculatorServiceServer;
use wire::sharedcalculator::leader_server::LeaderServer;

use crate::access::{Access, guard};
use crate::calls::{Deadlines, only_calls};
use crate::classic::Classic;
use crate::limits::Limits;
use crate::service::Calculator;
use crate::{clock, connection, page};

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Ends with whether all connections ended by themselves.
    accepting: JoinHandle<bool>,
    stop: oneshot::Sender<Duration>,
    health: HealthReporter,
    healthy: Arc<AtomicBool>,
}

/// Starts to serve on `listener`.
#[must_use]
pub fn start(
    listener: TcpListener,
    calculator: Calculator,
    feed: Feed,
    roster: Roster,
    max_subscribers: usize,
    limits: Limits,
    access: Access,
) -> Server {
    let (health, health_service) = health_reporter();
    let healthy = Arc::new(AtomicBool::new(true));
    let subscribe = SubscribeService::new(feed.clone(), roster.clone(), max_subscribers, clock::now);
    let classic = Classic::new(feed, roster, max_subscribers);
    let access = Arc::new(access);
    let mut app = Router::new()
        // The exact path wins over the service's own wildcard.
        .merge(calls(SubscribeService::PATH, subscribe))
        .merge(grpc(CalculatorServiceServer::new(calculator)))
        .merge(grpc(LeaderServer::new(classic)))
        .merge(grpc(health_service))
        .merge(reflection())
        .route("/healthz", get(healthz).with_state(Arc::clone(&healthy)))
        .merge(page::router(Arc::clone(&access)));
    if let Some(cors) = access.cors() {
        app = app.layer(cors);
    }
    let app = app.layer(from_fn_with_state(access, guard));
    let (stop, stopping) = oneshot::channel();
    let accepting = tokio::spawn(connection::accept(listener, app, limits, stopping));
    let server = Server { accepting, stop, health, healthy };
    server.report(ServingStatus::Serving);
    server
}

impl Server {
    /// Tells health checks that this leader is about to go.
    pub fn refuse_new_calls(&self) {
        self.healthy.store(false, Ordering::Relaxed);
        self.report(ServingStatus::NotServing);
    }

    /// Accepts nothing more and waits for open connections to end, at most `grace` long; then cuts them. Returns
    /// whether all ended by themselves.
    pub async fn stop(self, grace: Duration) -> bool {
        // It fails only if the task is gone already, which the next line notices.
        let _ = self.stop.send(grace);
        self.accepting.await.unwrap_or(false)
    }

    fn report(&self, status: ServingStatus) {
        let health = self.health.clone();
        tokio::spawn(async move {
            for service in ["", CalculatorServiceServer::<Calculator>::NAME, LeaderServer::<Classic>::NAME] {
                health.set_service_status(service, status).await;
            }
        });
    }
}

async fn healthz(State(healthy): State<Arc<AtomicBool>>) -> (StatusCode, &'static str) {
    if healthy.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    }
}

/// Routes to a gRPC service.
fn grpc<S: Calls + NamedService>(service: S) -> Router {
    calls(&format!("/{}/{{*method}}", S::NAME), service)
}

/// Takes calls at `path`, in both of gRPC's forms.
fn calls(path: &str, service: impl Calls) -> Router {
    Router::new().route_service(path, GrpcWebLayer::new().layer(Deadlines(service))).layer(from_fn(only_calls))
}

/// A service as tonic generates them.
trait Calls:
    tower::Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = std::convert::Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Calls for S where
    S: tower::Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// What `grpcurl` asks before anything else, in both versions that clients speak.
fn reflection() -> Router {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => grpc(v1).merge(grpc(v1alpha)),
        (Err(error), _) | (_, Err(error)) => {
            warn!(%error, "gRPC reflection is off");
            Router::new()
        }
    }
}
