//! What a leader counts, in the format of OpenMetrics. docs/operations.md lists every metric.
//!
//! No label has a value that a client chooses, so the number of series is bounded.

mod calls;
mod process;
mod state;

use std::sync::Arc;

use engine::{SnapshotReason, Verdict};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub(crate) use calls::{Calls, observe};
use process::Process;
pub use state::State;

/// One label: its name and value.
type Label = [(&'static str, &'static str); 1];

/// The media type of [`Metrics::text`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a leader counts. Cheap to clone: all clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    pub(crate) calls: Calls,
    pub(crate) connections: Connections,
    pub(crate) welcomes: Welcomes,
}

/// What the ports count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    /// Those that are open.
    pub(crate) open: Gauge,
    /// All that were accepted.
    pub(crate) accepted: Counter,
    /// Those without a valid handshake.
    pub(crate) failed_handshakes: Counter,
    /// Those that were closed at once, by the limit that they met.
    refused: Family<Label, Counter>,
    /// Those whose requests could not be read, by what was wrong.
    failed: Family<Label, Counter>,
}

impl Connections {
    /// Counts a connection that was closed at once. `limit`: of `all`, or of one `client`.
    pub(crate) fn refused(&self, limit: &'static str) {
        self.refused.get_or_create(&[("limit", limit)]).inc();
    }

    /// Counts a connection whose requests could not be read.
    pub(crate) fn failed(&self, problem: &'static str) {
        self.failed.get_or_create(&[("problem", problem)]).inc();
    }
}

/// How subscriptions are answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Welcomes {
    verdicts: Family<Label, Counter>,
    divergences: Counter,
    turned_away: Counter,
}

impl Welcomes {
    /// Counts an answer. `cause` says why the replica gets a snapshot, also if it had dropped its state before it asked.
    pub(crate) fn answered(&self, cause: Verdict) {
        let verdict = match cause {
            Verdict::Resumed => "resumed",
            Verdict::Snapshot(SnapshotReason::Fresh) => "fresh",
            Verdict::Snapshot(SnapshotReason::OtherLog) => "other_log",
            Verdict::Snapshot(SnapshotReason::Ahead) => "ahead",
            Verdict::Snapshot(SnapshotReason::Compacted) => "compacted",
            Verdict::Snapshot(SnapshotReason::Diverged) => {
                self.divergences.inc();
                "diverged"
            }
            Verdict::Snapshot(SnapshotReason::Unknown) => "unknown",
        };
        self.verdicts.get_or_create(&[("verdict", verdict)]).inc();
    }

    /// Counts a subscriber that got a goodbye because all places are taken.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }
}

impl Metrics {
    /// Counts what happens, and reads the rest from `state` whenever it is asked.
    #[must_use]
    pub fn new(state: State) -> Self {
        let (calls, connections, welcomes) = (Calls::new(), Connections::default(), Welcomes::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::now()));
        // A counter that begins with its first count would hide that count from rates.
        for limit in ["all", "client"] {
            drop(connections.refused.get_or_create(&[("limit", limit)]));
        }
        for problem in ["head_too_large", "malformed"] {
            drop(connections.failed.get_or_create(&[("problem", problem)]));
        }
        for verdict in ["resumed", "fresh", "other_log", "ahead", "compacted", "diverged"] {
            drop(welcomes.verdicts.get_or_create(&[("verdict", verdict)]));
        }
        let ours = registry.sub_registry_with_prefix("calculator");
        ours.register("build", "The program's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        state.sequencer().register(ours);
        state.feed().register(ours);
        calls.register(ours);
        let Connections { open, accepted, failed_handshakes, refused, failed } = &connections;
        ours.register("refused_connections", "Connections closed at once, by the limit that they met", refused.clone());
        let help = "Connections whose requests could not be read, by what was wrong";
        ours.register("failed_connections", help, failed.clone());
        ours.register("open_connections", "Open connections", open.clone());
        ours.register("connections", "Accepted connections", accepted.clone());
        ours.register("failed_handshakes", "Connections without a valid TLS handshake", failed_handshakes.clone());
        let Welcomes { verdicts, divergences, turned_away } = &welcomes;
        let help = "Subscribers that got a goodbye because all places are taken";
        ours.register("turned_away_subscribers", help, turned_away.clone());
        ours.register("welcomes", "Subscriptions, by how they were answered", verdicts.clone());
        ours.register("divergences", "Replicas that held another history and lost it", divergences.clone());
        ours.register_collector(Box::new(state));
        Self { registry: Arc::new(registry), calls, connections, welcomes }
    }

    /// All of them as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // A text takes everything that is written to it, and nothing of ours fails.
        let _: std::fmt::Result = encode(&mut text, &self.registry);
        text
    }
}
