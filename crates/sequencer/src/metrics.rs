//! What the sequencer counts.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What the sequencer counts. Cheap to clone: all clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    commits: Counter,
    failed_commits: Counter,
    events: Counter,
    batch_events: Histogram,
    commit_duration: Histogram,
    producers: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commits: Counter::default(),
            failed_commits: Counter::default(),
            events: Counter::default(),
            // 1 to 1,024, the most that a batch holds.
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_duration: Histogram::new(seconds()),
            producers: Gauge::default(),
        }
    }
}

/// Buckets for times, in seconds: 50 microseconds to 3.3 s.
pub fn seconds() -> impl Iterator<Item = f64> {
    exponential_buckets(0.000_05, 2.0, 17)
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("commits", "Batches made durable", self.commits.clone());
        registry.register("failed_commits", "Batches that the store refused", self.failed_commits.clone());
        registry.register("events", "Events made durable", self.events.clone());
        registry.register("batch_events", "Events in each batch", self.batch_events.clone());
        registry.register(
            "commit_duration_seconds",
            "Time that the store takes to make a batch durable",
            self.commit_duration.clone(),
        );
        registry.register("producers", "Producers that are remembered", self.producers.clone());
    }

    pub(crate) fn committed(&self, events: usize, took: Duration) {
        self.commits.inc();
        self.events.inc_by(events as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 1,024 events")]
        self.batch_events.observe(events as f64);
        self.commit_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn not_committed(&self) {
        self.failed_commits.inc();
    }

    pub(crate) fn remember(&self, producers: usize) {
        self.producers.set(i64::try_from(producers).unwrap_or(i64::MAX));
    }
}
