//! One JSON object a line. Programs depend on the field names, which `docs/json.md` describes, so they do not change.

use engine::replica::{Notice, Resync};
use engine::{Replica, Resume, Standing, Struck, Verdict};
use serde::Serialize;

use crate::faults::{Healed, Injected};
use crate::retry::Retry;

/// A line. The field `type` names the variant.
///
/// Indexes and durations are numbers. Values are strings, because JavaScript and many other JSON readers round numbers
/// beyond 2^53. Digests have 16 hexadecimal digits, log ids 32.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    State {
        state: &'static str,
    },
    Welcome {
        log_id: String,
        term: u64,
        tail: u64,
        floor: u64,
        durability: String,
        verdict: String,
    },
    NewLog {
        old_log_id: String,
        new_log_id: String,
    },
    Snapshot {
        index: u64,
        value: String,
        digest: String,
    },
    Applied {
        index: u64,
        value: String,
        digest: String,
        events: u64,
        lag_events: u64,
        lag_events_exact: bool,
        lag_ms: Option<f64>,
    },
    Live {
        index: u64,
        verdict: String,
        from_index: Option<u64>,
        snapshot_index: Option<u64>,
        /// Why a state was dropped since the replica was last live, if one was.
        dropped_because: Option<String>,
        events: u64,
        took_ms: f64,
        damaged: bool,
    },
    Duplicate {
        first_index: u64,
        last_index: u64,
    },
    Gap {
        expected_index: u64,
        got_index: u64,
        by_heartbeat: bool,
    },
    Diverged {
        reason: String,
    },
    StaleLeader {
        seen_term: u64,
        got_term: u64,
    },
    Goodbye {
        reason: String,
        retry_after_ms: f64,
    },
    Violation {
        reason: String,
    },
    LinkFailed {
        reason: String,
        address: String,
        attempt: u32,
        retry_in_ms: f64,
    },
    Retry {
        address: String,
        attempt: u32,
        retry_in_ms: f64,
    },
    Fault {
        fault: &'static str,
        first_index: Option<u64>,
        last_index: Option<u64>,
        for_ms: Option<f64>,
    },
    FaultOver {
        fault: &'static str,
    },
    Healed {
        fault: &'static str,
        took_ms: f64,
        events: u64,
        snapshot: bool,
    },
    Dropped {
        lines: u64,
    },
    LinkLost,
    NoWelcome,
    Silent {
        silence_ms: f64,
    },
    Standing {
        standing: String,
        index: u64,
        digest: String,
    },
}

impl Line {
    fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

/// The line for a notice.
#[must_use]
pub fn notice(notice: &Notice, replica: &Replica) -> Option<String> {
    let line = match notice {
        Notice::StateChanged { to, .. } => Line::State { state: to.name() },
        Notice::Welcomed(welcome) => Line::Welcome {
            log_id: welcome.log.to_string(),
            term: welcome.term.0,
            tail: welcome.tail.0,
            floor: welcome.floor.0,
            durability: welcome.durability.to_string(),
            verdict: verdict(welcome.verdict),
        },
        Notice::NewLog { old, new } => Line::NewLog { old_log_id: old.to_string(), new_log_id: new.to_string() },
        Notice::SnapshotLoaded { snapshot } => Line::Snapshot {
            index: snapshot.position().index.0,
            value: snapshot.value().to_string(),
            digest: snapshot.position().digest.to_string(),
        },
        Notice::Applied { batch, .. } => Line::Applied {
            index: batch.last().0,
            value: replica.value()?.to_string(),
            digest: batch.digest().to_string(),
            events: batch.operations().len() as u64,
            lag_events: replica.lag_events().map_or(0, |lag| lag.events),
            lag_events_exact: replica.lag_events().is_some_and(|lag| lag.exact),
            lag_ms: replica.lag().map(millis),
        },
        Notice::CaughtUp(resync) => live(resync, replica),
        Notice::LagChanged => return None,
        Notice::Duplicate { first, last } => Line::Duplicate { first_index: first.0, last_index: last.0 },
        Notice::Gap { expected, got, by_heartbeat } => {
            Line::Gap { expected_index: expected.0, got_index: got.0, by_heartbeat: *by_heartbeat }
        }
        Notice::Diverged(divergence) => Line::Diverged { reason: divergence.to_string() },
        Notice::StaleLeader { seen, got } => Line::StaleLeader { seen_term: seen.0, got_term: got.0 },
        Notice::Goodbye(goodbye) => {
            Line::Goodbye { reason: goodbye.reason.to_string(), retry_after_ms: millis(goodbye.retry_after) }
        }
        Notice::Violated(violation) => Line::Violation { reason: violation.to_string() },
        Notice::LinkLost => Line::LinkLost,
        Notice::NoWelcome => Line::NoWelcome,
        Notice::Silent { silence } => Line::Silent { silence_ms: millis(*silence) },
    };
    line.write()
}

fn live(resync: &Resync, replica: &Replica) -> Line {
    Line::Live {
        index: replica.position().index.0,
        verdict: verdict(resync.verdict),
        from_index: resync.from.map(|from| from.position.index.0),
        snapshot_index: resync.snapshot.map(|position| position.index.0),
        dropped_because: resync.dropped.map(|dropped| dropped.reason.to_string()),
        events: resync.events,
        took_ms: millis(resync.took),
        damaged: resync.damaged,
    }
}

/// The line for a pause before the leader is tried again.
#[must_use]
pub fn retry(retry: &Retry<'_>) -> Option<String> {
    let (address, attempt, retry_in_ms) = (retry.address.to_owned(), retry.attempt, millis(retry.pause));
    let line = match retry.failure {
        Some(reason) => Line::LinkFailed { reason: reason.to_owned(), address, attempt, retry_in_ms },
        None => Line::Retry { address, attempt, retry_in_ms },
    };
    line.write()
}

/// The line for a fault that was injected.
#[must_use]
pub fn injected(injected: Injected<'_>) -> Option<String> {
    let fault =
        |fault, time: Option<_>| Line::Fault { fault, first_index: None, last_index: None, for_ms: time.map(millis) };
    let line = match injected {
        Injected::Struck(struck) => {
            let (fault, batch) = match struck {
                Struck::Lost(batch) => ("lose", batch),
                Struck::Repeated(batch) => ("repeat", batch),
                Struck::HeldBack(batch) => ("exchange", batch),
                Struck::Altered { sent, .. } => ("alter", sent),
                Struck::Cut(batch) => ("cut", batch),
                Struck::Exchanged { .. } | Struck::TakenDown | Struck::BroughtUp => return None,
            };
            let (first, last) = (Some(batch.first().0), Some(batch.last().0));
            Line::Fault { fault, first_index: first, last_index: last, for_ms: None }
        }
        Injected::Cut(time) => fault("cut", Some(time)),
        Injected::Frozen(time) => fault("freeze", Some(time)),
        Injected::Over(fault) => Line::FaultOver { fault: fault.name() },
        Injected::Forgotten => fault("forget", None),
    };
    line.write()
}

/// The line for a fault that has healed.
#[must_use]
pub fn healed(healed: Healed) -> Option<String> {
    let Healed { fault, took, events, snapshot } = healed;
    Line::Healed { fault: fault.name(), took_ms: millis(took), events, snapshot }.write()
}

/// The line for lines that were dropped.
#[must_use]
pub fn dropped(lines: u64) -> String {
    Line::Dropped { lines }.write().unwrap_or_default()
}

/// The line for the leader's judgement of a reported position.
#[must_use]
pub fn standing(standing: Standing, at: Resume) -> Option<String> {
    let standing = standing.to_string();
    Line::Standing { standing, index: at.position.index.0, digest: at.position.digest.to_string() }.write()
}

/// `resumed`, or the reason for the snapshot.
fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Resumed => "resumed".to_owned(),
        Verdict::Snapshot(reason) => reason.to_string(),
    }
}

/// Milliseconds with three decimals.
fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::{Digest, Index, LogId, Position, Snapshot};

    use super::*;
    use crate::faults::Fault;

    #[test]
    fn field_names_are_stable() {
        let position = Position { index: Index(7), digest: Digest(0xab) };
        let snapshot = Snapshot::take(LogId(1), position, i64::MIN);
        let replica = Replica::restore(0, snapshot);
        assert_eq!(
            notice(&Notice::SnapshotLoaded { snapshot }, &replica).unwrap(),
            r#"{"type":"snapshot","index":7,"value":"-9223372036854775808","digest":"00000000000000ab"}"#
        );
        let resync = Resync {
            from: Some(Resume { log: LogId(1), position }),
            verdict: Verdict::Resumed,
            damaged: false,
            dropped: None,
            snapshot: None,
            events: 12,
            took: Duration::from_micros(1_500),
        };
        assert_eq!(
            notice(&Notice::CaughtUp(resync), &replica).unwrap(),
            r#"{"type":"live","index":7,"verdict":"resumed","from_index":7,"snapshot_index":null,"dropped_because":null,"events":12,"took_ms":1.5,"damaged":false}"#
        );
        assert_eq!(
            standing(Standing::InStep, Resume { log: LogId(1), position }).unwrap(),
            r#"{"type":"standing","standing":"in_step","index":7,"digest":"00000000000000ab"}"#
        );
        assert_eq!(dropped(3), r#"{"type":"dropped","lines":3}"#);
        assert_eq!(
            injected(Injected::Cut(Duration::from_secs(2))).unwrap(),
            r#"{"type":"fault","fault":"cut","first_index":null,"last_index":null,"for_ms":2000.0}"#
        );
        assert_eq!(injected(Injected::Over(Fault::Forget)).unwrap(), r#"{"type":"fault_over","fault":"forget"}"#);
        let took = Duration::from_micros(1_500);
        assert_eq!(
            healed(Healed { fault: Fault::Forget, took, events: 3, snapshot: true }).unwrap(),
            r#"{"type":"healed","fault":"forget","took_ms":1.5,"events":3,"snapshot":true}"#
        );
        assert_eq!(notice(&Notice::LinkLost, &replica).unwrap(), r#"{"type":"link_lost"}"#);
    }
}
