//! Who follows the leader, and where they last said they stand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::{Resume, StreamId, Verdict};
use tracing::info;
use wire::Identity;

use crate::streams::{Caller, Crowded, Lost, Patience, Streams};

/// How long a replica without a stream is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// The most replicas that are remembered. At some 300 bytes each this bounds the roster to a few megabytes, whatever
/// ids a caller makes up.
const MAX_MEMBERS: usize = 20_000;

/// The roster. Cheap to clone: all clones are the same roster.
#[derive(Clone, Debug)]
pub struct Roster {
    /// A std lock: held for one map operation, or to copy the map for a list.
    members: Arc<Mutex<BTreeMap<Identity, Record>>>,
    /// Every open stream, also of replicas that the roster has no room for. Its lock is taken last.
    streams: Arc<Streams>,
}

#[derive(Clone, Debug)]
struct Record {
    /// More than one when a replica reconnects before its old stream is noticed to be dead.
    streams: Vec<StreamId>,
    progress: Option<Progress>,
    last_heard: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    at: Resume,
    verdict: Verdict,
    lag: Duration,
}

/// A replica, as the roster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it says it is.
    pub identity: Identity,
    /// Whether a stream of it is open and progresses.
    pub connected: bool,
    /// What it last reported and how that was judged, if it has reported.
    pub position: Option<(Resume, Verdict)>,
    /// The lag that it last reported.
    pub lag: Duration,
    /// How long ago it reported or subscribed.
    pub last_heard: Duration,
}

/// The roster remembers as many replicas as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterFull;

/// Counts a stream, and keeps its replica listed as connected, for as long as it lives.
#[derive(Debug)]
pub struct Presence {
    roster: Roster,
    stream: StreamId,
    /// `None` if the roster was full, or the replica has no name.
    identity: Option<Identity>,
}

impl Default for Roster {
    fn default() -> Self {
        Self::new(Patience::default())
    }
}

impl Roster {
    /// An empty one that has this much patience with streams that do not progress.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { members: Arc::default(), streams: Arc::new(Streams::new(patience)) }
    }

    /// A stream is opened by somebody who did not say who they are: it counts, but is not listed.
    ///
    /// # Errors
    ///
    /// [`Crowded`] if there are `limit` streams that progress.
    pub fn join_unnamed(&self, caller: Option<Caller>, limit: usize) -> Result<Presence, Crowded> {
        let stream = self.admit("", caller, limit)?;
        Ok(Presence { roster: self.clone(), stream, identity: None })
    }

    /// A stream of the replica is opened.
    pub(crate) fn join(&self, identity: Identity, caller: Option<Caller>, limit: usize) -> Result<Presence, Crowded> {
        let stream = self.admit(&identity.id, caller, limit)?;
        let mut older = Vec::new();
        let joined = self.update(&identity, |record| {
            older.clone_from(&record.streams);
            record.streams.push(stream);
        });
        if !identity.id.is_empty() {
            self.streams.supersede(&older);
        }
        Ok(Presence { roster: self.clone(), stream, identity: joined.is_ok().then_some(identity) })
    }

    fn admit(&self, replica: &str, caller: Option<Caller>, limit: usize) -> Result<StreamId, Crowded> {
        let (stream, made_room) = self.streams.admit(replica, caller.map(|caller| caller.0), limit, Instant::now())?;
        if let Some(lost) = made_room {
            end(&lost, "ended a stream without progress to make room");
        }
        Ok(stream)
    }

    /// Ends the streams that have been without progress for too long. To be called about once a second.
    pub fn end_lost(&self) {
        for lost in self.streams.take_lost(Instant::now()) {
            end(&lost, "ended a stream without progress");
        }
    }

    /// A replica reported a position, which was judged, and that it reached it on `stream`.
    ///
    /// # Errors
    ///
    /// [`RosterFull`] if it is a new one and there is no room.
    pub fn report(
        &self,
        identity: &Identity,
        stream: StreamId,
        at: Resume,
        verdict: Verdict,
        lag: Duration,
    ) -> Result<(), RosterFull> {
        self.streams.reported(stream, &identity.id, Instant::now());
        self.update(identity, |record| record.progress = Some(Progress { at, verdict, lag }))
    }

    /// How many streams are open.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Everybody who is connected or was heard of in the last minute, by name and then by id.
    #[must_use]
    pub fn list(&self) -> Vec<Member> {
        let now = Instant::now();
        let mut members = self.members();
        forget_the_silent(&mut members);
        let mut list: Vec<Member> = members
            .iter()
            .map(|(identity, record)| Member {
                identity: identity.clone(),
                connected: record.streams.iter().any(|stream| self.streams.progresses(*stream, now)),
                position: record.progress.map(|progress| (progress.at, progress.verdict)),
                lag: record.progress.map_or(Duration::ZERO, |progress| progress.lag),
                last_heard: record.last_heard.elapsed(),
            })
            .collect();
        drop(members);
        list.sort_by(|a, b| (&a.identity.name, &a.identity.id).cmp(&(&b.identity.name, &b.identity.id)));
        list
    }

    fn update(&self, identity: &Identity, change: impl FnOnce(&mut Record)) -> Result<(), RosterFull> {
        let mut members = self.members();
        if !members.contains_key(identity) && members.len() >= MAX_MEMBERS {
            forget_the_silent(&mut members);
            if members.len() >= MAX_MEMBERS {
                return Err(RosterFull);
            }
        }
        let now = Instant::now();
        let record =
            members.entry(identity.clone()).or_insert(Record { streams: Vec::new(), progress: None, last_heard: now });
        record.last_heard = now;
        change(record);
        Ok(())
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<Identity, Record>> {
        // No change under the lock can panic half-way.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_the_silent(members: &mut BTreeMap<Identity, Record>) {
    members.retain(|_, record| !record.streams.is_empty() || record.last_heard.elapsed() < MEMORY);
}

fn end(lost: &Lost, what: &str) {
    info!(replica = lost.replica, silent_for = ?lost.silence, "{what}");
    lost.cut();
}

impl Presence {
    /// Names the stream in the replica's reports.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.roster.streams.close(self.stream);
        if let Some(identity) = &self.identity {
            // It is listed, so there is room.
            let _ = self.roster.update(identity, |record| record.streams.retain(|stream| *stream != self.stream));
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{LogId, Position, SnapshotReason};
    use wire::ReplicaKind;

    use super::*;

    fn identity(id: &str, name: &str) -> Identity {
        Identity { id: id.to_owned(), name: name.to_owned(), kind: ReplicaKind::Native }
    }

    fn join(roster: &Roster, id: &str, name: &str) -> Presence {
        roster.join(identity(id, name), None, usize::MAX).unwrap()
    }

    #[test]
    fn replicas_are_listed_by_name_and_stay_for_a_while_after_they_left() {
        let roster = Roster::default();
        let (second, first) = (join(&roster, "1", "b"), join(&roster, "2", "a"));
        let also_first = join(&roster, "2", "a");
        assert_eq!(roster.streams(), 3);
        drop((second, also_first));
        let names: Vec<_> = roster.list().into_iter().map(|member| (member.identity.name, member.connected)).collect();
        assert_eq!(names, [("a".to_owned(), true), ("b".to_owned(), false)]);
        drop(first);
        assert_eq!(roster.streams(), 0);
    }

    #[test]
    fn a_report_is_remembered_with_its_verdict() {
        let roster = Roster::default();
        let at = Resume { log: LogId(1), position: Position::origin(LogId(1)) };
        let verdict = Verdict::Snapshot(SnapshotReason::Diverged);
        roster.report(&identity("1", "a"), StreamId(0), at, verdict, Duration::from_millis(7)).unwrap();
        let list = roster.list();
        assert_eq!(list[0].position, Some((at, verdict)));
        assert_eq!((list[0].connected, list[0].lag), (false, Duration::from_millis(7)));
    }

    #[test]
    fn made_up_ids_cannot_fill_the_memory() {
        let roster = Roster::default();
        let at = Resume { log: LogId(1), position: Position::origin(LogId(1)) };
        for id in 0..MAX_MEMBERS {
            let id = identity(&id.to_string(), "");
            roster.report(&id, StreamId(0), at, Verdict::Resumed, Duration::ZERO).unwrap();
        }
        assert_eq!(
            roster.report(&identity("new", ""), StreamId(0), at, Verdict::Resumed, Duration::ZERO),
            Err(RosterFull)
        );
        assert!(
            roster.report(&identity("0", ""), StreamId(0), at, Verdict::Resumed, Duration::ZERO).is_ok(),
            "a known one may"
        );
        let crowded_out = join(&roster, "new", "");
        assert_eq!(roster.streams(), 1, "its stream counts all the same");
        drop(crowded_out);
        assert_eq!(roster.streams(), 0);
    }
}
