//! The members of the roster: replicas with a stream, and replicas that had one within the last minute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use engine::{Resume, StreamId, Verdict};
use wire::Identity;

pub(crate) const MEMORY: Duration = Duration::from_secs(60);

/// The most replicas that are remembered. At some 400 bytes each, this bounds the roster to a few megabytes.
pub(crate) const MAX_MEMBERS: usize = 20_000;

/// The least time between two look-ups in the store for one replica. Reports come every two seconds, and two pages may share
/// an identity.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(500);

/// The members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    records: BTreeMap<Key, Record>,
    /// Replicas without a stream, by when they left. The first makes room for a new one.
    left: BTreeSet<(Instant, Key)>,
    /// How many replicas got a made-up name.
    named: u64,
}

/// What makes two streams those of one replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The same id. A replica keeps it when its name changes.
    Id(String),
    /// Nothing: without an id, each stream counts as a replica.
    Stream(StreamId),
}

/// A stream that is about to begin.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) identity: Identity,
    /// Whether it speaks the original demo's protocol.
    pub(crate) original: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// As it was given with the newest stream. The name is made up if the id is empty.
    pub(crate) identity: Identity,
    pub(crate) original: bool,
    /// Several if a replica reconnects before its old stream ends, or if two replicas share an id. The newest is last.
    pub(crate) streams: Vec<Stream>,
    /// How the newest subscription was answered.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) progress: Option<Progress>,
    /// When it last joined, reported or left.
    pub(crate) last_heard: Instant,
    /// When its position was last looked up in the store.
    looked_up: Option<Instant>,
    looks_up: bool,
}

/// An open stream of a member.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) began: Instant,
    /// The index of the newest event that was written to it.
    pub(crate) sent: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) at: Resume,
    pub(crate) value: Option<i64>,
    pub(crate) verdict: Verdict,
    pub(crate) lag: Duration,
    /// How many events the leader was ahead when the report came.
    pub(crate) behind: u64,
}

impl Members {
    /// Adds a stream. Returns the replica's key and its other streams, or `None` if there is no room because all members have
    /// streams.
    pub(crate) fn join(&mut self, newcomer: Newcomer, stream: Stream) -> Option<(Key, Vec<StreamId>)> {
        let now = stream.began;
        self.forget_left(now);
        let Newcomer { mut identity, original } = newcomer;
        let key = if identity.id.is_empty() { Key::Stream(stream.id) } else { Key::Id(identity.id.clone()) };
        if !self.records.contains_key(&key) && self.records.len() >= MAX_MEMBERS {
            let (_, first) = self.left.pop_first()?;
            self.records.remove(&first);
        }
        if identity.id.is_empty() {
            self.named += 1;
            identity.name = format!("{}-{}", if original { "original" } else { "unnamed" }, self.named);
        }
        let new = || Record {
            identity: identity.clone(),
            original,
            streams: Vec::new(),
            verdict: None,
            progress: None,
            last_heard: now,
            looked_up: None,
            looks_up: false,
        };
        let record = self.records.entry(key.clone()).or_insert_with(new);
        if record.streams.is_empty() {
            self.left.remove(&(record.last_heard, key.clone()));
        }
        let others = record.streams.iter().map(|open| open.id).collect();
        record.streams.push(stream);
        record.identity = identity;
        record.verdict = None;
        record.last_heard = now;
        Some((key, others))
    }

    /// Notes how the subscription that `stream` belongs to was answered.
    pub(crate) fn answered(&mut self, key: &Key, stream: StreamId, verdict: Verdict) {
        if let Some(record) = self.connected(key)
            && record.streams.last().is_some_and(|newest| newest.id == stream)
        {
            record.verdict = Some(verdict);
        }
    }

    pub(crate) fn leave(&mut self, key: &Key, stream: StreamId, now: Instant) {
        let Some(record) = self.connected(key) else { return };
        record.streams.retain(|open| open.id != stream);
        record.last_heard = now;
        if record.streams.is_empty() {
            self.left.insert((now, key.clone()));
        }
    }

    /// Records a replica's report. Ignores reports of replicas without a stream.
    pub(crate) fn report(&mut self, id: &str, progress: Progress, now: Instant) {
        if let Some(record) = self.connected(&Key::Id(id.to_owned())) {
            record.progress = Some(progress);
            record.last_heard = now;
        }
    }

    /// Begins a look-up in the store, if the replica may have one: it has a stream, and no look-up is in progress or recent.
    /// [`end_look_up`](Self::end_look_up) ends it.
    pub(crate) fn begin_look_up(&mut self, id: &str, now: Instant) -> bool {
        let Some(record) = self.connected(&Key::Id(id.to_owned())) else { return false };
        let rests = record.looked_up.is_some_and(|last| now.duration_since(last) < LOOK_UP_PAUSE);
        if record.looks_up || rests {
            return false;
        }
        record.looks_up = true;
        record.looked_up = Some(now);
        true
    }

    pub(crate) fn end_look_up(&mut self, id: &str) {
        if let Some(record) = self.records.get_mut(&Key::Id(id.to_owned())) {
            record.looks_up = false;
        }
    }

    /// Forgets replicas that left too long ago, and returns the others by name and then by id.
    pub(crate) fn list(&mut self, now: Instant) -> Vec<&Record> {
        self.forget_left(now);
        let mut list: Vec<&Record> = self.records.values().collect();
        list.sort_by(|a, b| (&a.identity.name, &a.identity.id).cmp(&(&b.identity.name, &b.identity.id)));
        list
    }

    /// Every record, in no order that people see. Some may have left long ago.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    fn connected(&mut self, key: &Key) -> Option<&mut Record> {
        self.records.get_mut(key).filter(|record| !record.streams.is_empty())
    }

    fn forget_left(&mut self, now: Instant) {
        while self.left.first().is_some_and(|(left, _)| now.duration_since(*left) >= MEMORY) {
            if let Some((_, key)) = self.left.pop_first() {
                self.records.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{LogId, Position};
    use wire::ReplicaKind;

    use super::*;

    fn newcomer(id: &str, name: &str) -> Newcomer {
        let identity = Identity { id: id.to_owned(), name: name.to_owned(), kind: ReplicaKind::Native };
        Newcomer { identity, original: false }
    }

    fn stream(id: u64, began: Instant) -> Stream {
        Stream { id: StreamId(id), began, sent: Arc::default() }
    }

    fn join(members: &mut Members, id: &str, number: u64, now: Instant) -> Option<Vec<StreamId>> {
        members.join(newcomer(id, "a"), stream(number, now)).map(|(_, others)| others)
    }

    fn leave(members: &mut Members, id: &str, number: u64, now: Instant) {
        members.leave(&Key::Id(id.to_owned()), StreamId(number), now);
    }

    fn progress(log: u128) -> Progress {
        let at = Resume { log: LogId(log), position: Position::origin(LogId(log)) };
        Progress { at, value: None, verdict: Verdict::Resumed, lag: Duration::ZERO, behind: 0 }
    }

    fn listed(members: &mut Members, now: Instant) -> Vec<(String, bool, Option<u128>)> {
        let entry = |record: &&Record| {
            let log = record.progress.map(|progress| progress.at.log.0);
            (record.identity.id.clone(), !record.streams.is_empty(), log)
        };
        members.list(now).iter().map(entry).collect()
    }

    #[test]
    fn a_replica_that_left_is_listed_for_a_minute_with_its_last_position() {
        let (mut members, start) = (Members::default(), Instant::now());
        join(&mut members, "1", 1, start).unwrap();
        members.report("1", progress(7), start);
        leave(&mut members, "1", 1, start);
        let last_moment = start + MEMORY - Duration::from_millis(1);
        members.report("1", progress(8), last_moment);
        assert_eq!(listed(&mut members, last_moment), [("1".to_owned(), false, Some(7))]);
        assert_eq!(listed(&mut members, start + MEMORY), [], "a late report does not keep it");
    }

    #[test]
    fn two_replicas_with_one_id_are_listed_once_and_until_the_second_leaves() {
        let (mut members, now) = (Members::default(), Instant::now());
        assert_eq!(join(&mut members, "1", 1, now), Some(vec![]));
        assert_eq!(join(&mut members, "1", 2, now), Some(vec![StreamId(1)]));
        leave(&mut members, "1", 1, now);
        leave(&mut members, "1", 1, now);
        assert_eq!(listed(&mut members, now), [("1".to_owned(), true, None)]);
        leave(&mut members, "1", 2, now);
        assert_eq!(listed(&mut members, now), [("1".to_owned(), false, None)]);
        join(&mut members, "1", 3, now).unwrap();
        assert_eq!(listed(&mut members, now + 2 * MEMORY), [("1".to_owned(), true, None)], "it came back");
    }

    #[test]
    fn a_replica_that_changes_its_name_leaves_nothing_under_the_old_one() {
        let (mut members, now) = (Members::default(), Instant::now());
        members.join(newcomer("1", "old"), stream(1, now)).unwrap();
        members.report("1", progress(7), now);
        let (key, others) = members.join(newcomer("1", "new"), stream(2, now)).unwrap();
        assert_eq!(others, [StreamId(1)]);
        members.leave(&key, StreamId(1), now);
        let names: Vec<_> = members.list(now).iter().map(|record| record.identity.name.clone()).collect();
        assert_eq!((names, listed(&mut members, now)), (vec!["new".to_owned()], vec![("1".to_owned(), true, Some(7))]));
    }

    #[test]
    fn streams_without_an_id_get_names_of_their_own() {
        let (mut members, now) = (Members::default(), Instant::now());
        let original = Newcomer { original: true, ..newcomer("", "") };
        for number in 1..=2 {
            members.join(original.clone(), stream(number, now)).unwrap();
        }
        members.join(newcomer("", "a"), stream(3, now)).unwrap();
        let names: Vec<_> = members.list(now).iter().map(|record| record.identity.name.clone()).collect();
        assert_eq!(names, ["original-1", "original-2", "unnamed-3"]);
    }

    #[test]
    fn only_the_newest_stream_says_how_a_replica_was_answered() {
        let (mut members, now) = (Members::default(), Instant::now());
        let (key, _) = members.join(newcomer("1", "a"), stream(1, now)).unwrap();
        members.answered(&key, StreamId(1), Verdict::Resumed);
        assert_eq!(members.list(now)[0].verdict, Some(Verdict::Resumed));
        members.join(newcomer("1", "a"), stream(2, now)).unwrap();
        members.answered(&key, StreamId(1), Verdict::Resumed);
        assert_eq!(members.list(now)[0].verdict, None);
    }

    #[test]
    fn reports_without_a_stream_add_no_member() {
        let (mut members, now) = (Members::default(), Instant::now());
        for id in 0..30_000 {
            members.report(&id.to_string(), progress(1), now);
            assert!(!members.begin_look_up(&id.to_string(), now));
        }
        assert_eq!(listed(&mut members, now), []);
        assert!(join(&mut members, "honest", 2, now).is_some());
        members.report("honest", progress(1), now);
        assert_eq!(listed(&mut members, now), [("honest".to_owned(), true, Some(1))]);
    }

    #[test]
    fn the_first_to_leave_makes_room_and_connected_replicas_stay() {
        let (mut members, start) = (Members::default(), Instant::now());
        join(&mut members, "honest", 0, start).unwrap();
        for number in 1..MAX_MEMBERS as u64 + 1_000 {
            let (id, now) = (format!("{number:05}"), start + Duration::from_micros(number));
            assert!(join(&mut members, &id, number, now).is_some());
            leave(&mut members, &id, number, now);
        }
        let now = start + Duration::from_secs(1);
        assert!(join(&mut members, "new", u64::MAX, now).is_some());
        let list = listed(&mut members, now);
        assert_eq!(list.len(), MAX_MEMBERS);
        let has = |id: &str| list.iter().any(|(listed, ..)| listed == id);
        assert!(has("honest") && has("new") && has("20999") && !has("00001"));
    }

    #[test]
    fn a_replica_gets_one_look_up_at_a_time_and_not_too_often() {
        let (mut members, start) = (Members::default(), Instant::now());
        join(&mut members, "1", 1, start).unwrap();
        assert!(members.begin_look_up("1", start));
        assert!(!members.begin_look_up("1", start + LOOK_UP_PAUSE * 9), "two look-ups at a time");
        members.end_look_up("1");
        assert!(!members.begin_look_up("1", start + LOOK_UP_PAUSE / 2));
        assert!(members.begin_look_up("1", start + LOOK_UP_PAUSE));
    }
}
