//! What is read from the leader's state when somebody asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Index;
use feed::Feed;
use program::Outlet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sequencer::Submitter;
use store::LogReader;

use crate::roster::Membership;
use crate::rpc::watch_replicas::Watchers;

/// The parts of a leader whose state is told.
pub struct State {
    /// The published log.
    pub feed: Feed,
    /// The stored log.
    pub log: Arc<dyn LogReader>,
    /// The way to the committer.
    pub submitter: Submitter,
    /// Who follows.
    pub membership: Membership,
    /// Who watches.
    pub watchers: Watchers,
    /// Where log lines go, if this program has one.
    pub lines: Option<Outlet>,
    /// The tail when somebody last asked: what lacks events up to there is late.
    pub due: AtomicU64,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn sequencer(&self) -> &sequencer::Metrics {
        self.submitter.metrics()
    }

    pub(super) fn feed(&self) -> &feed::Metrics {
        self.feed.metrics()
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let published = self.feed.published();
        let tail = published.tail.position().index;
        let counts = self.membership.count(Index(self.due.swap(tail.0, Ordering::Relaxed)));

        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("tail_index", "Index of the newest durable event", tail.0)?;
        gauge("floor_index", "Events up to this index were compacted away", published.floor.0)?;
        gauge("term", "Counts the leaders that opened this log", published.term.0)?;
        let writable = u64::from(self.submitter.health().problem().is_none());
        gauge("writable", "1 if operations can be made durable, else 0", writable)?;
        let damage = self.log.damage().len() as u64;
        gauge("damaged_places", "Damaged places in stored history", damage)?;
        if let Some(size) = self.log.size() {
            gauge("history_bytes", "Bytes that stored history takes", size.history)?;
            gauge("log_bytes", "Bytes of the log's file", size.file)?;
            gauge("wal_bytes", "Bytes of the write-ahead log's file", size.write_ahead)?;
        }
        gauge("queue_operations", "Commands that wait for a commit", self.submitter.waiting() as u64)?;
        gauge(
            "unsent_bytes",
            "Bytes that streams hold and their connections have not written",
            self.feed.unsent() as u64,
        )?;
        gauge("streams", "Open streams", self.membership.streams() as u64)?;
        gauge("watchers", "Open WatchReplicas calls", self.watchers.count() as u64)?;
        gauge("slowest_lag_events", "Events that the slowest subscriber lacks", counts.slowest_events)?;

        let lag = ConstGauge::new(counts.slowest_lag.as_secs_f64());
        let help = "The longest time from a commit until a subscriber applied it, as they last reported it";
        lag.encode(encoder.encode_descriptor("slowest_lag_seconds", help, None, lag.metric_type())?)?;

        let lost = ConstCounter::new(self.lines.as_ref().map_or(0, Outlet::lost));
        let help = "Log lines that were dropped, because nobody read them in time";
        lost.encode(encoder.encode_descriptor("log_lines_dropped", help, None, lost.metric_type())?)?;

        let one = ConstGauge::new(1_i64);
        let mut roles = encoder.encode_descriptor("role", "1 for what this program is", None, one.metric_type())?;
        one.encode(roles.encode_family(&[("role", "leader")])?)?;

        let kind = one.metric_type();
        let help = "Replicas with a stream, by kind and state: live, late, stalled or wrong";
        let mut subscribers = encoder.encode_descriptor("subscribers", help, None, kind)?;
        for ((kind, state), count) in counts.subscribers {
            let labels = [("kind", kind), ("state", state)];
            ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)).encode(subscribers.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
