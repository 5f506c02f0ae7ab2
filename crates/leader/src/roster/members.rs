//! The members of the roster: replicas with a stream, and replicas that had one within the last minute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use engine::{Resume, StreamId, Verdict};
use wire::Identity;

pub(crate) const MEMORY: Duration = Duration::from_secs(60);

/// The most replicas that are remembered. At some 300 bytes each, this bounds the roster to a few megabytes.
pub(crate) const MAX_MEMBERS: usize = 20_000;

/// The least time between two look-ups in the store for one replica. Reports come every two seconds, and two pages may share
/// an identity.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(500);

/// The members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    records: BTreeMap<Identity, Record>,
    /// Replicas without a stream, by when they left. The first makes room for a new one.
    left: BTreeSet<(Instant, Identity)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Several if a replica reconnects before its old stream ends, or if two replicas share an identity.
    pub(crate) streams: Vec<StreamId>,
    pub(crate) progress: Option<Progress>,
    /// When it last joined, reported or left.
    pub(crate) last_heard: Instant,
    /// When its position was last looked up in the store.
    looked_up: Option<Instant>,
    looks_up: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) at: Resume,
    pub(crate) verdict: Verdict,
    pub(crate) lag: Duration,
}

impl Members {
    /// Adds a stream. Returns the replica's other streams, or `None` if the replica has no id, or if there is no room because
    /// all members have streams.
    pub(crate) fn join(&mut self, identity: &Identity, stream: StreamId, now: Instant) -> Option<Vec<StreamId>> {
        if identity.id.is_empty() {
            return None;
        }
        self.forget_left(now);
        if !self.records.contains_key(identity) && self.records.len() >= MAX_MEMBERS {
            let (_, first) = self.left.pop_first()?;
            self.records.remove(&first);
        }
        let new = || Record { streams: Vec::new(), progress: None, last_heard: now, looked_up: None, looks_up: false };
        let record = self.records.entry(identity.clone()).or_insert_with(new);
        if record.streams.is_empty() {
            self.left.remove(&(record.last_heard, identity.clone()));
        }
        let others = record.streams.clone();
        record.streams.push(stream);
        record.last_heard = now;
        Some(others)
    }

    pub(crate) fn leave(&mut self, identity: &Identity, stream: StreamId, now: Instant) {
        let Some(record) = self.connected(identity) else { return };
        record.streams.retain(|open| *open != stream);
        record.last_heard = now;
        if record.streams.is_empty() {
            self.left.insert((now, identity.clone()));
        }
    }

    /// Records a replica's report. Ignores reports of replicas without a stream.
    pub(crate) fn report(&mut self, identity: &Identity, progress: Progress, now: Instant) {
        if let Some(record) = self.connected(identity) {
            record.progress = Some(progress);
            record.last_heard = now;
        }
    }

    /// Begins a look-up in the store, if the replica may have one: it has a stream, and no look-up is in progress or recent.
    /// [`end_look_up`](Self::end_look_up) ends it.
    pub(crate) fn begin_look_up(&mut self, identity: &Identity, now: Instant) -> bool {
        let Some(record) = self.connected(identity) else { return false };
        let rests = record.looked_up.is_some_and(|last| now.duration_since(last) < LOOK_UP_PAUSE);
        if record.looks_up || rests {
            return false;
        }
        record.looks_up = true;
        record.looked_up = Some(now);
        true
    }

    pub(crate) fn end_look_up(&mut self, identity: &Identity) {
        if let Some(record) = self.records.get_mut(identity) {
            record.looks_up = false;
        }
    }

    /// Forgets replicas that left too long ago, and lists the others.
    pub(crate) fn list(&mut self, now: Instant) -> impl Iterator<Item = (&Identity, &Record)> {
        self.forget_left(now);
        self.records.iter()
    }

    fn connected(&mut self, identity: &Identity) -> Option<&mut Record> {
        self.records.get_mut(identity).filter(|record| !record.streams.is_empty())
    }

    fn forget_left(&mut self, now: Instant) {
        while self.left.first().is_some_and(|(left, _)| now.duration_since(*left) >= MEMORY) {
            if let Some((_, identity)) = self.left.pop_first() {
                self.records.remove(&identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{LogId, Position};
    use wire::ReplicaKind;

    use super::*;

    fn identity(id: &str) -> Identity {
        Identity { id: id.to_owned(), name: "a".to_owned(), kind: ReplicaKind::Native }
    }

    fn progress(log: u128) -> Progress {
        let at = Resume { log: LogId(log), position: Position::origin(LogId(log)) };
        Progress { at, verdict: Verdict::Resumed, lag: Duration::ZERO }
    }

    fn listed(members: &mut Members, now: Instant) -> Vec<(String, bool, Option<u128>)> {
        let entry = |(identity, record): (&Identity, &Record)| {
            (identity.id.clone(), !record.streams.is_empty(), record.progress.map(|progress| progress.at.log.0))
        };
        members.list(now).map(entry).collect()
    }

    #[test]
    fn a_replica_that_left_is_listed_for_a_minute_with_its_last_position() {
        let (mut members, start) = (Members::default(), Instant::now());
        members.join(&identity("1"), StreamId(1), start).unwrap();
        members.report(&identity("1"), progress(7), start);
        members.leave(&identity("1"), StreamId(1), start);
        let last_moment = start + MEMORY - Duration::from_millis(1);
        members.report(&identity("1"), progress(8), last_moment);
        assert_eq!(listed(&mut members, last_moment), [("1".to_owned(), false, Some(7))]);
        assert_eq!(listed(&mut members, start + MEMORY), [], "a late report does not keep it");
    }

    #[test]
    fn two_replicas_with_one_identity_are_listed_once_and_until_the_second_leaves() {
        let (mut members, now) = (Members::default(), Instant::now());
        assert_eq!(members.join(&identity("1"), StreamId(1), now), Some(vec![]));
        assert_eq!(members.join(&identity("1"), StreamId(2), now), Some(vec![StreamId(1)]));
        members.leave(&identity("1"), StreamId(1), now);
        members.leave(&identity("1"), StreamId(1), now);
        assert_eq!(listed(&mut members, now), [("1".to_owned(), true, None)]);
        members.leave(&identity("1"), StreamId(2), now);
        assert_eq!(listed(&mut members, now), [("1".to_owned(), false, None)]);
        members.join(&identity("1"), StreamId(3), now).unwrap();
        assert_eq!(listed(&mut members, now + 2 * MEMORY), [("1".to_owned(), true, None)], "it came back");
    }

    #[test]
    fn reports_without_a_stream_and_streams_without_an_id_add_no_member() {
        let (mut members, now) = (Members::default(), Instant::now());
        for id in 0..30_000 {
            members.report(&identity(&id.to_string()), progress(1), now);
            assert!(!members.begin_look_up(&identity(&id.to_string()), now));
        }
        assert_eq!(members.join(&identity(""), StreamId(1), now), None);
        assert_eq!(listed(&mut members, now), []);
        assert!(members.join(&identity("honest"), StreamId(2), now).is_some());
        members.report(&identity("honest"), progress(1), now);
        assert_eq!(listed(&mut members, now), [("honest".to_owned(), true, Some(1))]);
    }

    #[test]
    fn the_first_to_leave_makes_room_and_connected_replicas_stay() {
        let (mut members, start) = (Members::default(), Instant::now());
        members.join(&identity("honest"), StreamId(0), start).unwrap();
        for id in 1..MAX_MEMBERS + 1_000 {
            let (replica, stream) = (identity(&format!("{id:05}")), StreamId(id as u64));
            let now = start + Duration::from_micros(id as u64);
            assert!(members.join(&replica, stream, now).is_some());
            members.leave(&replica, stream, now);
        }
        let now = start + Duration::from_secs(1);
        assert!(members.join(&identity("new"), StreamId(u64::MAX), now).is_some());
        let list = listed(&mut members, now);
        assert_eq!(list.len(), MAX_MEMBERS);
        let has = |id: &str| list.iter().any(|(listed, ..)| listed == id);
        assert!(has("honest") && has("new") && has("20999") && !has("00001"));
    }

    #[test]
    fn a_replica_gets_one_look_up_at_a_time_and_not_too_often() {
        let (mut members, start) = (Members::default(), Instant::now());
        members.join(&identity("1"), StreamId(1), start).unwrap();
        assert!(members.begin_look_up(&identity("1"), start));
        assert!(!members.begin_look_up(&identity("1"), start + LOOK_UP_PAUSE * 9), "two look-ups at a time");
        members.end_look_up(&identity("1"));
        assert!(!members.begin_look_up(&identity("1"), start + LOOK_UP_PAUSE / 2));
        assert!(members.begin_look_up(&identity("1"), start + LOOK_UP_PAUSE));
    }
}
