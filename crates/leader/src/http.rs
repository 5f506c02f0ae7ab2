//! The one port: native gRPC, gRPC-Web, the page and health.
//!
//! | to find | look in |
//! |---|---|
//! | how a connection is served, and what it may cost | `connection.rs`, [`limits`] |
//! | the ports, and TLS | [`port`], [`listen`], [`tls`] |
//! | whether the peer of a connection still answers | `peer.rs`, `tcp.rs` |
//! | the threads for streams | `readers.rs` |
//! | which browsers are answered | [`access`] |
//! | who a client is | [`client`] |
//! | who may read and write | [`tokens`] |
//! | the page's files | `assets.rs` |

pub mod access;
mod assets;
pub mod client;
mod connection;
mod follow_file;
pub(crate) mod health;
pub mod limits;
pub mod listen;
mod peer;
pub mod port;
pub(crate) mod readers;
mod tcp;
pub mod tls;
pub mod tokens;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use access::guard;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use client::PerClient;
use connection::Admission;
use feed::Feed;
use health::Health;
use http::header;
use port::{Answers, Port, Ports};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::server::health_reporter;
use tonic_web::GrpcWebLayer;
use tower::Layer;
use tracing::warn;
use wire::pb::calculator_service_server::CalculatorServiceServer;
use wire::sharedcalculator::leader_server::LeaderServer;

use crate::clock;
use crate::config::Config;
use crate::metrics::{self, Metrics, observe};
use crate::roster::Membership;
use crate::rpc::edge::{Deadlines, only_calls};
use crate::rpc::legacy::Legacy;
use crate::rpc::subscribe::SubscribeService;
use crate::rpc::watch_replicas::WatchService;
use crate::rpc::{self, Calculator, Room};
use sequencer::WriteHealth;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// One for each port. Returns whether all connections ended within the grace time.
    accepting: Vec<JoinHandle<bool>>,
    /// Follows the files of TLS and tokens.
    following: JoinSet<()>,
    /// Gives the grace time.
    stop: watch::Sender<Option<Duration>>,
    /// Turns true when the leader shuts down.
    closing: watch::Sender<bool>,
}

/// What is served.
pub struct Serving {
    /// The calls that are not streams.
    pub calculator: Calculator,
    /// What streams are handed.
    pub feed: Feed,
    /// Who follows.
    pub membership: Membership,
    /// What health checks report.
    pub writing: WriteHealth,
    /// What is counted.
    pub metrics: Metrics,
    /// Runs the streams.
    pub readers: Handle,
}

/// Starts to serve on `ports`.
#[must_use]
pub fn start(ports: Ports, serving: Serving, config: &Config) -> Server {
    let Serving { calculator, feed, membership, writing, metrics, readers } = serving;
    let (reporter, health_service) = health_reporter();
    let (closing, watched) = watch::channel(false);
    let health = Health::new(watched, writing);
    tokio::spawn(rpc::health::report(health.clone(), reporter));
    let limits = config.limits;
    let room = Room { streams: config.max_subscribers, clients: PerClient::new(limits.per_client) };
    let subscribe =
        SubscribeService::new(feed.clone(), membership.clone(), room.clone(), metrics.welcomes.clone(), clock::now);
    let legacy = Legacy::new(feed, membership, room.clone());
    let watch = WatchService { watchers: calculator.watchers().clone(), clients: room.clients };
    let access = Arc::new(config.access.clone());
    let mut app = Router::new()
        // The exact paths take precedence over the service's wildcard.
        .merge(raw_calls(SubscribeService::PATH, move |request| subscribe.clone().subscribe(request)))
        .merge(raw_calls(WatchService::PATH, move |request| watch.clone().watch(request)))
        .merge(grpc(CalculatorServiceServer::new(calculator).max_decoding_message_size(limits.request_bytes)))
        .merge(grpc(LeaderServer::new(legacy).max_decoding_message_size(limits.request_bytes)))
        .merge(grpc(health_service))
        .merge(reflection())
        .merge(health.clone().router())
        .merge(assets::router(Arc::clone(&access)));
    let told = told(metrics.clone());
    let operators = health.router().merge(told.clone());
    if !ports.have_one_for_operators() {
        app = app.merge(told);
    }
    if config.tokens.are_needed() {
        app = app.layer(from_fn_with_state(config.tokens.clone(), tokens::guard));
    }
    // Around the tokens, because a preflight shows none.
    if let Some(cors) = access.cors() {
        app = app.layer(cors);
    }
    let app = app.layer(from_fn_with_state(access, guard)).layer(from_fn_with_state(metrics.calls.clone(), observe));
    let connections = PerClient::new(limits.per_client);
    let (stop, stopping) = watch::channel(None);
    let mut following = JoinSet::new();
    following.spawn(config.tokens.clone().follow_files());
    let accept = |port: Port| {
        if let Some(tls) = port.tls.clone() {
            following.spawn(tls.follow_files());
        }
        let app = match port.answers {
            Answers::Everyone => app.clone(),
            Answers::Operators => operators.clone(),
        };
        let admission = Admission {
            limits,
            proxies: config.trusted_proxies.clone(),
            clients: connections.clone(),
            counted: metrics.connections.clone(),
        };
        tokio::spawn(connection::accept(port, app, admission, readers.clone(), stopping.clone()))
    };
    let accepting = ports.0.into_iter().map(accept).collect();
    Server { accepting, following, stop, closing }
}

impl Server {
    /// Makes health checks report that the leader shuts down.
    pub fn refuse_new_calls(&self) {
        self.closing.send_replace(true);
    }

    /// Stops accepting, waits up to `grace` for open connections to end, and cuts the rest. Returns whether all ended in time.
    pub async fn stop(self, grace: Duration) -> bool {
        drop(self.following);
        self.stop.send_replace(Some(grace));
        let mut in_time = true;
        for accepting in self.accepting {
            in_time &= accepting.await.unwrap_or(false);
        }
        in_time
    }
}

/// `/metrics`.
fn told(metrics: Metrics) -> Router {
    let text = move || async move { ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics.text()) };
    Router::new().route("/metrics", get(text))
}

fn grpc<S: Calls + NamedService>(service: S) -> Router {
    calls(&format!("/{}/{{*method}}", S::NAME), service)
}

/// Takes calls at `path`, in both of gRPC's forms.
fn calls(path: &str, service: impl Calls) -> Router {
    Router::new().route_service(path, GrpcWebLayer::new().layer(Deadlines(service))).layer(from_fn(only_calls))
}

/// The same for a call that does not come from a generated service.
fn raw_calls<F>(path: &str, call: impl Fn(http::Request<Body>) -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Result<http::Response<Body>, Status>> + Send + 'static,
{
    let answer = move |request| {
        let answered = call(request);
        async move { Ok(answered.await.unwrap_or_else(Status::into_http)) }
    };
    calls(path, tower::service_fn(answer))
}

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

/// gRPC reflection, which `grpcurl` needs, in both versions that clients use.
fn reflection() -> Router {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => grpc(v1).merge(grpc(v1alpha)),
        (Err(error), _) | (_, Err(error)) => {
            warn!(%error, "gRPC reflection is not available");
            Router::new()
        }
    }
}
