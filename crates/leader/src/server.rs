//! One port for everything: native gRPC, gRPC-Web, the page and `/healthz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use feed::{Feed, Roster, SubscribeService};
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tonic_web::GrpcWebLayer;
use tower::Layer;
use tracing::{debug, warn};
use wire::pb::calculator_service_server::CalculatorServiceServer;
use wire::sharedcalculator::leader_server::LeaderServer;

use crate::classic::Classic;
use crate::service::Calculator;
use crate::{clock, page};

/// How many streams one HTTP/2 connection may hold: a proxy or a load test puts many subscribers on one.
const STREAMS_PER_CONNECTION: u32 = 10_000;

/// What one stream may hold in memory that its reader has not taken: a few spans.
const SEND_BUFFER: usize = 256 << 10;

/// When a connection that is silent in both directions is asked for a sign of life by TCP. A host that vanishes while
/// something is being sent to it is found by TCP's own retransmission limit, on Linux after some fifteen minutes; a
/// shorter one would also cut programs that merely do not read.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long a client may take to send its first byte, and then the head of an HTTP/1 request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

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
) -> Server {
    let (health, health_service) = health_reporter();
    let healthy = Arc::new(AtomicBool::new(true));
    let subscribe = SubscribeService::new(feed.clone(), roster.clone(), max_subscribers, clock::now);
    let classic = Classic::new(feed, roster, max_subscribers);
    let app = Router::new()
        // The exact path wins over the service's own wildcard.
        .route_service(SubscribeService::PATH, GrpcWebLayer::new().layer(subscribe))
        .merge(grpc(CalculatorServiceServer::new(calculator)))
        .merge(grpc(LeaderServer::new(classic)))
        .merge(grpc(health_service))
        .merge(reflection())
        .route("/healthz", get(healthz).with_state(Arc::clone(&healthy)))
        .merge(page::router());
    let (stop, stopping) = oneshot::channel();
    let accepting = tokio::spawn(accept(listener, app, stopping));
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

/// Routes to a gRPC service, in both of gRPC's forms. The layer goes on these routes only: it answers 400 to ordinary
/// requests.
fn grpc<S>(service: S) -> Router
where
    GrpcWebLayer: Layer<S>,
    <GrpcWebLayer as Layer<S>>::Service: tower::Service<
            axum::extract::Request,
            Response: axum::response::IntoResponse,
            Error = std::convert::Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
    S: NamedService,
{
    Router::new().route_service(&format!("/{}/{{*method}}", S::NAME), GrpcWebLayer::new().layer(service))
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

async fn accept(listener: TcpListener, app: Router, mut stopping: oneshot::Receiver<Duration>) -> bool {
    let graceful = GracefulShutdown::new();
    // Bounded by the operating system's limit of open files; dropping the set cuts what is left.
    let mut connections = JoinSet::new();
    let mut failing = false;
    let grace = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    failing = false;
                    connections.spawn(serve(stream, app.clone(), graceful.watcher()));
                }
                Err(error) => {
                    // Most often too many open files. Trying again at once would only burn the processor.
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, "connections are not accepted at present");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            grace = &mut stopping => break grace.unwrap_or_default(),
        }
    };
    drop(listener);
    tokio::time::timeout(grace, graceful.shutdown()).await.is_ok()
}

async fn serve(stream: TcpStream, app: Router, watcher: Watcher) {
    if let Err(error) = tune(&stream) {
        debug!(%error, "a connection could not be tuned");
    }
    // Hyper's own limits begin with the first byte.
    if !matches!(tokio::time::timeout(HEAD_TIMEOUT, stream.readable()).await, Ok(Ok(()))) {
        return;
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().max_concurrent_streams(STREAMS_PER_CONNECTION).max_send_buf_size(SEND_BUFFER);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection ended with an error");
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3))
}
