//! The roster: connected replicas, the positions that they last reported, and open streams.

mod count;
mod members;
mod select;
mod streams;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::replica::LATE;
use engine::{Index, Resume, SnapshotReason, Standing, StreamId, Verdict};
use tracing::info;
use wire::{Identity, RosterRow};

pub use count::Counts;
use members::{Key, Members, Newcomer, Progress, Record, Stream};
use select::{Candidate, Trouble, choose};
pub use streams::{Caller, Crowded, Line, Patience};
use streams::{Lost, Progressing, Streams};

/// All members of the roster. Cheap to clone: all clones are the same.
#[derive(Clone, Debug)]
pub struct Membership {
    /// A std lock: held for a few map operations, or to copy the members for a list.
    members: Arc<Mutex<Members>>,
    /// Every open stream, even of replicas for which the roster has no room. Its lock is taken last.
    streams: Arc<Streams>,
}

/// What those who watch are shown of the members.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// How many members have a stream.
    pub connected: usize,
    /// The members that are shown, by name and then by id.
    pub rows: Vec<RosterRow>,
    /// How many others there are.
    pub not_shown: usize,
}

/// A report of a replica with the verdict on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The position.
    pub at: Resume,
    /// The value there, if the replica says it.
    pub value: Option<i64>,
    /// How the position compares with the log.
    pub verdict: Verdict,
    /// How long after its commit the newest event was applied.
    pub lag: Duration,
    /// How many events the leader is ahead.
    pub behind: u64,
}

/// Counts a stream, and lists its replica as connected, until it is dropped.
#[derive(Debug)]
pub struct Presence {
    membership: Membership,
    stream: StreamId,
    /// The index of the newest event that was written to the stream.
    sent: Arc<AtomicU64>,
    /// `None` if the roster had no room.
    member: Option<Key>,
}

impl Default for Membership {
    fn default() -> Self {
        Self::new(Patience::default())
    }
}

impl Membership {
    /// Creates an empty roster. `patience` bounds how long a stream may be without progress.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { members: Arc::default(), streams: Arc::new(Streams::new(patience)) }
    }

    /// Adds a stream of a replica of the original demo.
    ///
    /// # Errors
    ///
    /// [`Crowded`] if `limit` streams are open and all of them progress.
    pub fn join_original(&self, caller: Option<Caller>, limit: usize) -> Result<Presence, Crowded> {
        self.add(Newcomer { identity: Identity::default(), original: true }, caller, limit)
    }

    /// Adds a stream of a replica.
    pub(crate) fn join(&self, identity: Identity, caller: Option<Caller>, limit: usize) -> Result<Presence, Crowded> {
        self.add(Newcomer { identity, original: false }, caller, limit)
    }

    fn add(&self, newcomer: Newcomer, caller: Option<Caller>, limit: usize) -> Result<Presence, Crowded> {
        let caller = caller.map(|caller| caller.0);
        let (id, made_room) = self.streams.admit(&newcomer.identity.id, caller, limit, Instant::now())?;
        if let Some(lost) = made_room {
            end(&lost, "ended a stream without progress to make room");
        }
        let sent = Arc::<AtomicU64>::default();
        let joined = self.members().join(newcomer, Stream { id, began: Instant::now(), sent: Arc::clone(&sent) });
        if let Some((_, others)) = &joined {
            self.streams.supersede(others);
        }
        Ok(Presence { membership: self.clone(), stream: id, sent, member: joined.map(|(key, _)| key) })
    }

    /// Ends streams that have been without progress for too long. Call it about once a second.
    pub fn end_lost(&self) {
        for lost in self.streams.take_lost(Instant::now()) {
            end(&lost, "ended a stream without progress");
        }
    }

    /// Notes that a replica reported on `stream`, whatever the report holds.
    pub fn heard(&self, identity: &Identity, stream: StreamId) {
        self.streams.reported(stream, &identity.id, Instant::now());
    }

    /// Records a replica's report, if the replica has a stream.
    pub fn report(&self, identity: &Identity, reported: Reported) {
        let Reported { at, value, verdict, lag, behind } = reported;
        self.members().report(&identity.id, Progress { at, value, verdict, lag, behind }, Instant::now());
    }

    /// The right to look a reported position up in the store. Only replicas with a stream get it, one at a time and at most
    /// every 500 ms, so that requests of invented replicas never read the store.
    #[must_use]
    pub fn look_up(&self, identity: &Identity) -> Option<LookUp> {
        let may = self.members().begin_look_up(&identity.id, Instant::now());
        may.then(|| LookUp { membership: self.clone(), replica: identity.id.clone() })
    }

    /// The number of open streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The replicas that are connected or left within the last minute, by name and then by id.
    #[must_use]
    pub fn list(&self) -> Vec<RosterRow> {
        let now = Instant::now();
        let mut members = self.members();
        let list = members.list(now);
        let progressing = self.streams.progressing(now);
        list.into_iter().map(|record| row(record, &progressing, now)).collect()
    }

    /// At most `room` members, to show to those who watch. A stream that lacks events up to `due` is late.
    #[must_use]
    pub fn show(&self, room: usize, due: Index) -> Shown {
        let now = Instant::now();
        let mut members = self.members();
        let list = members.list(now);
        let progressing = self.streams.progressing(now);
        let candidates: Vec<_> = list.iter().map(|record| candidate(record, &progressing, due, now)).collect();
        let chosen = choose(&candidates, room);
        let rows = chosen.iter().filter_map(|place| list.get(*place).map(|record| row(record, &progressing, now)));
        Shown {
            connected: list.iter().filter(|record| !record.streams.is_empty()).count(),
            rows: rows.collect(),
            not_shown: list.len() - chosen.len(),
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(lost: &Lost, what: &str) {
    info!(replica = lost.replica, silent_for = ?lost.silence, "{what}");
    lost.cut();
}

fn row(record: &Record, progressing: &Progressing<'_>, now: Instant) -> RosterRow {
    let newest = record.streams.last();
    let progress = record.progress.as_ref();
    RosterRow {
        identity: record.identity.clone(),
        original: record.original,
        connected: is_connected(record, progressing),
        position: progress.map(|progress| progress.at),
        value: progress.and_then(|progress| progress.value),
        standing: standing(record),
        lag: progress.map_or(Duration::ZERO, |progress| progress.lag),
        last_heard: now.saturating_duration_since(record.last_heard),
        sent: Index(newest.map_or(0, |stream| stream.sent.load(Ordering::Relaxed))),
        streaming: newest.map(|stream| now.saturating_duration_since(stream.began)),
        verdict: record.verdict,
        streams: u32::try_from(record.streams.len()).unwrap_or(u32::MAX),
    }
}

fn candidate(record: &Record, progressing: &Progressing<'_>, due: Index, now: Instant) -> Candidate {
    let newest = record.streams.last();
    let changed = now.saturating_duration_since(newest.map_or(record.last_heard, |stream| stream.began));
    let trouble = newest.and_then(|newest| {
        if matches!(standing(record), Standing::OtherLog | Standing::Ahead | Standing::Diverged) {
            return Some(Trouble::Wrong);
        }
        if !is_connected(record, progressing) {
            return Some(Trouble::Stalled);
        }
        let unsent = due.events_since(Index(newest.sent.load(Ordering::Relaxed)));
        let unapplied = record.progress.filter(|progress| progress.lag >= LATE).map_or(0, |progress| progress.behind);
        let events = unsent.max(unapplied);
        (events > 0).then_some(Trouble::Late(events))
    });
    Candidate { trouble, changed }
}

fn is_connected(record: &Record, progressing: &Progressing<'_>) -> bool {
    record.streams.iter().any(|stream| progressing.has(stream.id))
}

fn standing(record: &Record) -> Standing {
    record.progress.map_or(Standing::Unknown, |progress| progress.verdict.into())
}

/// A look-up in the store for one replica. It lasts until this is dropped.
#[derive(Debug)]
pub struct LookUp {
    membership: Membership,
    replica: String,
}

impl Drop for LookUp {
    fn drop(&mut self) {
        self.membership.members().end_look_up(&self.replica);
    }
}

impl Presence {
    /// The stream's id, which the replica sends in its reports.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Notes that all events before `next` were written to the stream.
    pub fn sent_before(&self, next: Index) {
        self.sent.store(next.0.saturating_sub(1), Ordering::Relaxed);
    }

    /// Notes how the subscription was answered, and returns the cause. `dropped` says why the replica had dropped its state
    /// before it asked.
    pub fn answered(&self, verdict: Verdict, dropped: SnapshotReason) -> Verdict {
        let cause = match verdict {
            Verdict::Snapshot(SnapshotReason::Fresh) if dropped != SnapshotReason::Unknown => {
                Verdict::Snapshot(dropped)
            }
            verdict => verdict,
        };
        if let Some(member) = &self.member {
            self.membership.members().answered(member, self.stream, cause);
        }
        cause
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.membership.streams.close(self.stream);
        if let Some(member) = &self.member {
            self.membership.members().leave(member, self.stream, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{LogId, Position};
    use wire::ReplicaKind;

    use super::*;

    fn identity(id: &str, name: &str) -> Identity {
        Identity { id: id.to_owned(), name: name.to_owned(), kind: ReplicaKind::Native }
    }

    fn join(membership: &Membership, id: &str, name: &str) -> Presence {
        membership.join(identity(id, name), None, usize::MAX).unwrap()
    }

    fn reported(verdict: Verdict, lag: Duration, behind: u64) -> Reported {
        let at = Resume { log: LogId(1), position: Position::origin(LogId(1)) };
        Reported { at, value: Some(5), verdict, lag, behind }
    }

    fn names(rows: &[RosterRow]) -> Vec<&str> {
        rows.iter().map(|row| row.identity.name.as_str()).collect()
    }

    #[test]
    fn replicas_are_listed_by_name_and_stay_for_a_while_after_they_left() {
        let membership = Membership::default();
        let (second, first) = (join(&membership, "1", "b"), join(&membership, "2", "a"));
        let also_first = join(&membership, "2", "a");
        assert_eq!(membership.streams(), 3);
        drop((second, also_first));
        let list = membership.list();
        let listed: Vec<_> =
            names(&list).into_iter().zip(list.iter().map(|row| (row.connected, row.streams))).collect();
        assert_eq!(listed, [("a", (true, 1)), ("b", (false, 0))]);
        drop(first);
        assert_eq!(membership.streams(), 0);
    }

    #[test]
    fn a_report_is_remembered_with_its_verdict() {
        let membership = Membership::default();
        let report = reported(Verdict::Snapshot(SnapshotReason::Diverged), Duration::from_millis(7), 0);
        let presence = join(&membership, "1", "a");
        membership.report(&identity("1", "a"), report);
        membership.report(&identity("2", "made up"), report);
        drop(presence);
        let list = membership.list();
        assert_eq!((list.len(), list[0].position, list[0].value), (1, Some(report.at), Some(5)));
        assert_eq!((list[0].standing, list[0].connected, list[0].lag), (Standing::Diverged, false, report.lag));
    }

    #[test]
    fn a_row_says_what_was_sent_and_how_the_stream_began() {
        let membership = Membership::default();
        let presence = join(&membership, "1", "a");
        presence.sent_before(Index(8));
        for (verdict, dropped, told) in [
            (Verdict::Resumed, SnapshotReason::Diverged, Verdict::Resumed),
            (
                Verdict::Snapshot(SnapshotReason::Fresh),
                SnapshotReason::Diverged,
                Verdict::Snapshot(SnapshotReason::Diverged),
            ),
            (
                Verdict::Snapshot(SnapshotReason::Fresh),
                SnapshotReason::Unknown,
                Verdict::Snapshot(SnapshotReason::Fresh),
            ),
            (
                Verdict::Snapshot(SnapshotReason::Compacted),
                SnapshotReason::Diverged,
                Verdict::Snapshot(SnapshotReason::Compacted),
            ),
        ] {
            presence.answered(verdict, dropped);
            assert_eq!(membership.list()[0].verdict, Some(told), "{verdict}, dropped because {dropped}");
        }
        let row = membership.list().swap_remove(0);
        assert_eq!((row.sent, row.streams, row.streaming.is_some()), (Index(7), 1, true));
        drop(presence);
        let row = membership.list().swap_remove(0);
        assert_eq!((row.sent, row.streams, row.streaming), (Index(0), 0, None));
    }

    #[test]
    fn a_replica_that_lacks_events_for_a_while_is_shown_before_others() {
        let membership = Membership::default();
        let healthy: Vec<_> = (0..30).map(|n| join(&membership, &n.to_string(), &format!("healthy-{n:02}"))).collect();
        let originals: Vec<_> = (0..2).map(|_| membership.join_original(None, usize::MAX).unwrap()).collect();
        let slow = join(&membership, "slow", "zz-slow");
        for presence in healthy.iter().chain(&originals).chain([&slow]) {
            presence.sent_before(Index(101));
        }
        let late_reporter = join(&membership, "late", "zz-late");
        late_reporter.sent_before(Index(101));
        membership.report(&identity("late", "zz-late"), reported(Verdict::Resumed, LATE, 9));
        membership.report(&identity("0", "healthy-00"), reported(Verdict::Resumed, LATE / 2, 9));
        originals[1].sent_before(Index(90));
        slow.sent_before(Index(50));
        let shown = membership.show(3, Index(100));
        assert_eq!(names(&shown.rows), ["original-2", "zz-late", "zz-slow"]);
        assert_eq!((shown.connected, shown.not_shown), (34, 31));
        drop(slow);
        let shown = membership.show(100, Index(100));
        assert_eq!((shown.connected, shown.rows.len(), shown.not_shown), (33, 34, 0));
    }

    #[test]
    fn a_look_up_ends_when_it_is_dropped() {
        let membership = Membership::default();
        let _presence = join(&membership, "1", "a");
        let look = membership.look_up(&identity("1", "a")).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        assert!(membership.look_up(&identity("1", "a")).is_none(), "two look-ups at a time");
        drop(look);
        assert!(membership.look_up(&identity("1", "a")).is_some());
    }
}
