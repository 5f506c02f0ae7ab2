//! What the feed counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// One label: its name and value.
type Source = [(&'static str, &'static str); 1];

/// What the feed counts. Cheap to clone: all clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    bytes: Family<Source, Counter>,
    frames: Family<Source, Counter>,
    /// What begins a stream: its welcome, and its snapshot if it gets one.
    pub(crate) opening: Sent,
    /// The newest frames, from memory.
    pub(crate) ring: Sent,
    /// Frames from the store, for streams that are far behind.
    pub(crate) store: Sent,
    /// Snapshots in place of events, for streams that the floor or damage passed.
    pub(crate) snapshot: Sent,
}

/// Counts what streams are handed from one source. No write looks its counters up.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    bytes: Counter,
    frames: Counter,
}

impl Sent {
    pub(crate) fn add(&self, frames: usize, bytes: usize) {
        self.frames.inc_by(frames as u64);
        self.bytes.inc_by(bytes as u64);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let (bytes, frames) = (Family::<Source, Counter>::default(), Family::<Source, Counter>::default());
        let sent = |source| {
            let label = [("source", source)];
            Sent { bytes: bytes.get_or_create_owned(&label), frames: frames.get_or_create_owned(&label) }
        };
        let (opening, ring) = (sent("opening"), sent("ring"));
        let (store, snapshot) = (sent("store"), sent("snapshot"));
        Self { bytes, frames, opening, ring, store, snapshot }
    }
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("bytes_sent", "Bytes of frames handed to streams, by source", self.bytes.clone());
        registry.register("frames_sent", "Frames handed to streams, by source", self.frames.clone());
    }
}
