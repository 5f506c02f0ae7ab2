//! Health: whether this leader serves, and whether it can make operations durable.
//!
//! The two are told apart because they ask for different things. A leader that cannot write still serves replicas, history
//! and the page; to restart it, or to send everybody elsewhere, would only take that away too.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use tokio::sync::watch;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};
use wire::pb::calculator_service_server::CalculatorServiceServer;
use wire::sharedcalculator::leader_server::LeaderServer;

use crate::classic::Classic;
use crate::service::Calculator;
use crate::writing::Writing;

/// The name under which `grpc.health.v1` tells whether operations can be made durable.
pub const WRITING: &str = "calculator.v1.CalculatorService/Submit";

/// How often the state is looked at for those who watch it. Whoever asks gets it as it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What health is judged by. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    closing: watch::Receiver<bool>,
    writing: Writing,
}

impl Health {
    /// `closing` turns true when the leader is about to go.
    pub(crate) fn new(closing: watch::Receiver<bool>, writing: Writing) -> Self {
        Self { closing, writing }
    }

    /// `/healthz` tells whether the leader serves, `/healthz/write` whether it can also make operations durable.
    pub(crate) fn router(self) -> Router {
        Router::new().route("/healthz", get(serves)).route("/healthz/write", get(writes)).with_state(self)
    }

    fn answer(&self, if_problem: StatusCode) -> (StatusCode, String) {
        if *self.closing.borrow() {
            return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
        }
        match self.writing.problem() {
            None => (StatusCode::OK, "ok\n".to_owned()),
            Some(problem) => {
                let serves = if if_problem.is_success() { "ok\n" } else { "" };
                (if_problem, format!("{serves}operations cannot be made durable: {problem}\n"))
            }
        }
    }

    /// Keeps those who watch `grpc.health.v1` up to date, and says once that a commit hangs and once that it is done.
    /// Ends when nobody can close the leader any more.
    pub(crate) async fn report(mut self, reporter: HealthReporter) {
        let (mut told, mut hung) = (None, false);
        loop {
            let serves = !*self.closing.borrow_and_update();
            let writes = serves && self.writing.problem().is_none();
            if told != Some((serves, writes)) {
                for service in ["", CalculatorServiceServer::<Calculator>::NAME, LeaderServer::<Classic>::NAME] {
                    reporter.set_service_status(service, status(serves)).await;
                }
                reporter.set_service_status(WRITING, status(writes)).await;
                told = Some((serves, writes));
            }
            let hangs = self.writing.hangs();
            if hangs.is_some() != std::mem::replace(&mut hung, hangs.is_some()) {
                match hangs {
                    Some(since) => warn!(?since, "a commit hangs: who submits is not answered until the disk is"),
                    None => info!("the commit that hung has come to its end"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                changed = self.closing.changed() => if changed.is_err() { return },
            }
        }
    }
}

fn status(good: bool) -> ServingStatus {
    if good { ServingStatus::Serving } else { ServingStatus::NotServing }
}

async fn serves(State(health): State<Health>) -> (StatusCode, String) {
    health.answer(StatusCode::OK)
}

async fn writes(State(health): State<Health>) -> (StatusCode, String) {
    health.answer(StatusCode::SERVICE_UNAVAILABLE)
}
