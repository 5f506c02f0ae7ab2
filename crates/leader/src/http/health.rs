//! Health: whether this leader serves, and whether it can make operations durable.
//!
//! The two are separate because a leader that cannot write still serves replicas, history and the page. A restart, or a load
//! balancer that takes it out, would only end that too.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use tokio::sync::watch;

use sequencer::WriteHealth;

/// The inputs of health checks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    closing: watch::Receiver<bool>,
    writing: WriteHealth,
}

impl Health {
    pub(crate) fn new(closing: watch::Receiver<bool>, writing: WriteHealth) -> Self {
        Self { closing, writing }
    }

    /// `/healthz` says whether the leader serves, `/healthz/write` whether it can also make operations durable.
    pub(crate) fn router(self) -> Router {
        Router::new().route("/healthz", get(serves)).route("/healthz/write", get(writes)).with_state(self)
    }

    fn answer(&self, if_problem: StatusCode) -> (StatusCode, String) {
        if !self.serves() {
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

    pub(crate) fn serves(&self) -> bool {
        !*self.closing.borrow()
    }

    pub(crate) fn writing(&self) -> &WriteHealth {
        &self.writing
    }

    /// Waits until the leader shuts down. Returns `false` if the server is gone.
    pub(crate) async fn closes(&mut self) -> bool {
        self.closing.changed().await.is_ok()
    }
}

async fn serves(State(health): State<Health>) -> (StatusCode, String) {
    health.answer(StatusCode::OK)
}

async fn writes(State(health): State<Health>) -> (StatusCode, String) {
    health.answer(StatusCode::SERVICE_UNAVAILABLE)
}
