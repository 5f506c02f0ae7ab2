//! How many replicas follow, and how far behind the slowest is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine::Index;
use wire::ReplicaKind;

use super::members::Record;
use super::select::Trouble;
use super::{Membership, candidate};

/// How many replicas follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those with a stream, by kind and state.
    pub subscribers: BTreeMap<(&'static str, &'static str), u64>,
    /// How many events the one that is furthest behind lacks.
    pub slowest_events: u64,
    /// The longest lag that one of them last reported.
    pub slowest_lag: Duration,
}

impl Membership {
    /// Counts the replicas. One that lacks events up to `due` is late.
    #[must_use]
    pub fn count(&self, due: Index) -> Counts {
        let now = Instant::now();
        let members = self.members();
        let progressing = self.streams.progressing(now);
        let mut counts = Counts::default();
        for record in members.records().filter(|record| !record.streams.is_empty()) {
            let trouble = candidate(record, &progressing, due, now).trouble;
            let state = match trouble {
                Some(Trouble::Wrong) => "wrong",
                Some(Trouble::Stalled) => "stalled",
                Some(Trouble::Late(events)) => {
                    counts.slowest_events = counts.slowest_events.max(events);
                    "late"
                }
                None => "live",
            };
            *counts.subscribers.entry((kind(record), state)).or_default() += 1;
            let lag = record.progress.map_or(Duration::ZERO, |progress| progress.lag);
            counts.slowest_lag = counts.slowest_lag.max(lag);
        }
        counts
    }
}

fn kind(record: &Record) -> &'static str {
    match record.identity.kind {
        _ if record.original => "original",
        ReplicaKind::Native => "native",
        ReplicaKind::Browser => "browser",
        ReplicaKind::Unknown => "unknown",
    }
}
