//! Whether a fault has healed.

use std::time::Duration;

use engine::replica::{Notice, State};
use engine::{LinkFault, Replica};
use tokio::time::Instant;

use super::Fault;

/// How a fault healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healed {
    /// The fault.
    pub fault: Fault,
    /// How long it took since the replica noticed it, or since the fault's time was over.
    pub took: Duration,
    /// How many events came, after the snapshot if there was one.
    pub events: u64,
    /// Whether a snapshot was needed.
    pub snapshot: bool,
}

/// A fault that has not healed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Healing {
    fault: Fault,
    /// Since when it can heal: it struck, was noticed, or its time was over.
    since: Option<Instant>,
    /// How many events had waited for a replica that was frozen, and when the last of them was applied.
    waited: (u64, Duration),
}

impl Healing {
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, since: None, waited: (0, Duration::ZERO) }
    }

    /// From now on it can heal.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Returns how it healed, if this notice says so.
    pub(super) fn handle_notice(&mut self, notice: &Notice, replica: &Replica, now: Instant) -> Option<Healed> {
        let passed = now - self.since?;
        let (events, snapshot, took) = match (self.fault, notice) {
            (Fault::Link(LinkFault::Repeat), Notice::Duplicate { .. }) => (0, false, passed),
            (Fault::Link(_), Notice::Gap { .. } | Notice::Diverged(_)) => {
                self.since = Some(now);
                return None;
            }
            (_, Notice::CaughtUp(resync)) => (resync.events, resync.snapshot.is_some(), passed),
            (Fault::Freeze(_), Notice::Applied { batch, .. }) => {
                let (events, took) = self.waited;
                // What was committed since the replica reads again had not waited.
                if replica.lag().is_none_or(|lag| lag > passed) {
                    self.waited = (events + batch.operations().len() as u64, passed);
                    return None;
                }
                (events, false, took)
            }
            (Fault::Freeze(_), Notice::LagChanged) => {
                let is_level = replica.lag_events().is_some_and(|lag| lag.exact && lag.events == 0);
                if replica.state() != State::Live || !is_level {
                    return None;
                }
                (self.waited.0, false, self.waited.1)
            }
            _ => return None,
        };
        Some(Healed { fault: self.fault, took, events, snapshot })
    }
}
