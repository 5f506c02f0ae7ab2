//! Lines for people.

use std::time::Duration;

use engine::replica::{Lag, Notice, Resync, State};
use engine::{Batch, Replica, Resume, SnapshotReason, Standing, Struck, Verdict};

use crate::faults::{Healed, Injected};
use crate::retry::Retry;

/// The line for a notice, if it needs one.
#[must_use]
pub fn notice(notice: &Notice, replica: &Replica) -> Option<String> {
    Some(match notice {
        Notice::Applied { batch, .. } => {
            let (value, index) = (replica.value()?, batch.last());
            let lag = replica.lag().map_or_else(|| "?".to_owned(), millis);
            format!("Current value: {value} (index {index}, lag {}, {lag})", lag_events(replica))
        }
        Notice::LagChanged => return None,
        // The line for the pause says it, with its length.
        Notice::StateChanged { to: State::Waiting, .. } => return None,
        Notice::StateChanged { to, .. } => format!("State: {}", to.name().replace('_', " ")),
        Notice::Welcomed(welcome) => format!(
            "Welcomed by the leader of log {} (term {}, tail {}, durability {})",
            welcome.log, welcome.term, welcome.tail, welcome.durability
        ),
        Notice::NewLog { old, new } => format!("The leader started a new log: {new} (was {old})"),
        Notice::SnapshotLoaded { snapshot } => format!(
            "Current value: {} (index {}, from a snapshot, digest {})",
            snapshot.value(),
            snapshot.position().index,
            snapshot.position().digest
        ),
        Notice::CaughtUp(resync) => resynced(resync, replica),
        Notice::Duplicate { first, last } => format!("Ignored a duplicate: events {first} to {last}"),
        Notice::Gap { expected, got, .. } if expected.0 == 0 => {
            format!("Gap: event {got} came before the snapshot; asking again")
        }
        Notice::Gap { expected, got, by_heartbeat: true } => {
            let (tail, held) = (got.0.saturating_sub(1), replica.position().index);
            format!("Gap: the log ends at event {tail}, but {expected} did not come; resuming from {held}")
        }
        Notice::Gap { expected, got, .. } => {
            format!("Gap: event {got} came, but {expected} is missing; resuming from {}", replica.position().index)
        }
        Notice::Diverged(divergence) => format!("Diverged: {divergence}; taking a fresh snapshot"),
        Notice::StaleLeader { seen, got } => {
            format!("Stale leader: its term is {got}, but term {seen} was already seen; disconnecting")
        }
        Notice::Goodbye(goodbye) => {
            let (reason, after) = (goodbye.reason.to_string().replace('_', " "), millis(goodbye.retry_after));
            format!("The leader said goodbye ({reason}); trying again after {after}")
        }
        Notice::Violated(violation) => format!("The stream broke the protocol: {violation}; reconnecting"),
        Notice::LinkLost => "The link to the leader was lost".to_owned(),
        Notice::NoWelcome => "The leader accepted no stream in time".to_owned(),
        Notice::Silent { silence } => format!("No word from the leader for {}; reconnecting", millis(*silence)),
    })
}

fn lag_events(replica: &Replica) -> String {
    match replica.lag_events() {
        Some(Lag { events, exact: true }) => format!("{events} events"),
        Some(Lag { events, exact: false }) => format!("at least {events} events"),
        None => "unknown".to_owned(),
    }
}

fn resynced(resync: &Resync, replica: &Replica) -> String {
    let took = millis(resync.took);
    let index = replica.position().index;
    match resync.verdict {
        Verdict::Resumed => {
            let from = resync.from.map_or(index, |from| from.position.index);
            format!("Live at index {index}: resumed from index {from}, {} events in {took}", resync.events)
        }
        Verdict::Snapshot(reason) => {
            // A replica that dropped its state asks as a fresh one. People want to know why it was dropped.
            let cause = match resync.dropped {
                Some(dropped) if reason == SnapshotReason::Fresh => dropped.reason,
                _ => reason,
            };
            let why = match cause {
                SnapshotReason::Fresh => "the replica held nothing",
                SnapshotReason::OtherLog => "the leader has a new log",
                SnapshotReason::Ahead => "the replica was ahead of the leader's tail",
                SnapshotReason::Compacted if resync.damaged => "the events since are damaged at the leader",
                SnapshotReason::Compacted => "the events since were compacted away",
                SnapshotReason::Diverged => "the replica had diverged",
                SnapshotReason::Unknown => "the leader gave a reason that this version does not know",
            };
            let at = resync.snapshot.map_or(index, |position| position.index);
            format!(
                "Live at index {index}: snapshot at index {at} because {why}, then {} events, {took}",
                resync.events
            )
        }
    }
}

/// The line for a pause before the leader is tried again.
#[must_use]
pub fn retry(retry: &Retry<'_>) -> String {
    let (address, attempt, pause) = (retry.address, retry.attempt, millis(retry.pause));
    match (retry.failure, attempt) {
        (Some(failure), 0) => format!("The link to the leader at {address} ended: {failure}; trying again in {pause}"),
        (Some(failure), _) => {
            format!("No link to the leader at {address}: {failure}; attempt {attempt} failed, trying again in {pause}")
        }
        (None, 0) => format!("Trying the leader at {address} again in {pause}"),
        (None, _) => format!("Attempt {attempt} to reach the leader at {address} failed; trying again in {pause}"),
    }
}

/// The line for a fault that was injected.
#[must_use]
pub fn injected(injected: Injected<'_>) -> Option<String> {
    let what = match injected {
        Injected::Struck(Struck::Lost(batch)) => format!("{} is lost", named(batch)),
        Injected::Struck(Struck::Repeated(batch)) => format!("{} comes twice", named(batch)),
        Injected::Struck(Struck::HeldBack(batch)) => format!("{} lets the next batch pass", named(batch)),
        Injected::Struck(Struck::Altered { sent, arrived }) => {
            let first = |batch: &Batch| batch.operations().first().map_or(String::new(), ToString::to_string);
            format!("event {} is altered from {} to {}", sent.first(), first(sent), first(arrived))
        }
        Injected::Struck(Struck::Cut(batch)) => format!("the stream is cut before {}", named(batch)),
        Injected::Cut(time) => format!("the link is cut for {}", millis(time)),
        Injected::Frozen(time) => format!("the replica reads nothing for {}", millis(time)),
        Injected::Over(fault) => return Some(format!("Fault over: {fault}")),
        Injected::Forgotten => "the replica forgets everything".to_owned(),
        Injected::Struck(Struck::Exchanged { .. } | Struck::TakenDown | Struck::BroughtUp) => return None,
    };
    Some(format!("Fault: {what}"))
}

fn named(batch: &Batch) -> String {
    let (first, last) = (batch.first(), batch.last());
    if first == last { format!("event {first}") } else { format!("the batch of events {first} to {last}") }
}

/// The line for a fault that has healed.
#[must_use]
pub fn healed(healed: Healed) -> String {
    let Healed { fault, took, events, snapshot } = healed;
    let how = if snapshot { "with a snapshot" } else { "without a snapshot" };
    format!("Healed from {fault} in {}: {events} events, {how}", millis(took))
}

/// The line for lines that were dropped.
#[must_use]
pub fn dropped(lines: u64) -> String {
    format!("{lines} lines are missing here: nobody read them in time")
}

/// The line for the leader's judgement of a reported position. Being in step is normal and needs none.
#[must_use]
pub fn standing(standing: Standing, at: Resume) -> Option<String> {
    (standing == Standing::Diverged)
        .then(|| format!("The leader holds another digest than this replica at index {}", at.position.index))
}

fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1_000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}
