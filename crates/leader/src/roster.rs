//! The roster: connected replicas, the positions that they last reported, and open streams.

mod members;
mod streams;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::{Resume, StreamId, Verdict};
use tracing::info;
use wire::Identity;

use members::{Members, Progress};
pub use streams::{Caller, Crowded, Line, Patience};
use streams::{Lost, Streams};

/// The roster. Cheap to clone: all clones are the same roster.
#[derive(Clone, Debug)]
pub struct Roster {
    /// A std lock: held for a few map operations, or to copy the members for a list.
    members: Arc<Mutex<Members>>,
    /// Every open stream, even of replicas for which the roster has no room. Its lock is taken last.
    streams: Arc<Streams>,
}

/// A replica, as the roster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The identity in its requests.
    pub identity: Identity,
    /// Whether it has an open stream that progresses.
    pub connected: bool,
    /// Its last report and the verdict on it, if it has reported.
    pub position: Option<(Resume, Verdict)>,
    /// The lag in its last report.
    pub lag: Duration,
    /// How long ago it reported or subscribed.
    pub last_heard: Duration,
}

/// Counts a stream, and lists its replica as connected, until it is dropped.
#[derive(Debug)]
pub struct Presence {
    roster: Roster,
    stream: StreamId,
    /// `None` if the roster had no room, or the replica has no id.
    identity: Option<Identity>,
}

impl Default for Roster {
    fn default() -> Self {
        Self::new(Patience::default())
    }
}

impl Roster {
    /// Creates an empty roster. `patience` bounds how long a stream may be without progress.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { members: Arc::default(), streams: Arc::new(Streams::new(patience)) }
    }

    /// Adds a stream of a client without an identity. The stream counts; the client is not listed.
    ///
    /// # Errors
    ///
    /// [`Crowded`] if `limit` streams are open and all of them progress.
    pub fn join_unnamed(&self, caller: Option<Caller>, limit: usize) -> Result<Presence, Crowded> {
        let stream = self.admit("", caller, limit)?;
        Ok(Presence { roster: self.clone(), stream, identity: None })
    }

    /// Adds a stream of a replica. A replica without an id is not listed, but its stream counts.
    pub(crate) fn join(&self, identity: Identity, caller: Option<Caller>, limit: usize) -> Result<Presence, Crowded> {
        let stream = self.admit(&identity.id, caller, limit)?;
        let others = self.members().join(&identity, stream, Instant::now());
        if let Some(older) = &others {
            self.streams.supersede(older);
        }
        Ok(Presence { roster: self.clone(), stream, identity: others.map(|_| identity) })
    }

    fn admit(&self, replica: &str, caller: Option<Caller>, limit: usize) -> Result<StreamId, Crowded> {
        let (stream, made_room) = self.streams.admit(replica, caller.map(|caller| caller.0), limit, Instant::now())?;
        if let Some(lost) = made_room {
            end(&lost, "ended a stream without progress to make room");
        }
        Ok(stream)
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

    /// Records a replica's report and the verdict on it, if the replica has a stream.
    pub fn report(&self, identity: &Identity, at: Resume, verdict: Verdict, lag: Duration) {
        self.members().report(identity, Progress { at, verdict, lag }, Instant::now());
    }

    /// The right to look a reported position up in the store. Only replicas with a stream get it, one at a time and at most
    /// every 500 ms, so that requests of invented replicas never read the store.
    #[must_use]
    pub fn look_up(&self, identity: &Identity) -> Option<LookUp> {
        let may = self.members().begin_look_up(identity, Instant::now());
        may.then(|| LookUp { roster: self.clone(), identity: identity.clone() })
    }

    /// The number of open streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The replicas that are connected or left within the last minute, by name and then by id.
    #[must_use]
    pub fn list(&self) -> Vec<Member> {
        let now = Instant::now();
        let mut members = self.members();
        let mut list: Vec<Member> = members
            .list(now)
            .map(|(identity, record)| Member {
                identity: identity.clone(),
                connected: record.streams.iter().any(|stream| self.streams.progresses(*stream, now)),
                position: record.progress.map(|progress| (progress.at, progress.verdict)),
                lag: record.progress.map_or(Duration::ZERO, |progress| progress.lag),
                last_heard: now.duration_since(record.last_heard),
            })
            .collect();
        drop(members);
        list.sort_by(|a, b| (&a.identity.name, &a.identity.id).cmp(&(&b.identity.name, &b.identity.id)));
        list
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(lost: &Lost, what: &str) {
    info!(replica = lost.replica, silent_for = ?lost.silence, "{what}");
    lost.cut();
}

/// A look-up in the store for one replica. It lasts until this is dropped.
#[derive(Debug)]
pub struct LookUp {
    roster: Roster,
    identity: Identity,
}

impl Drop for LookUp {
    fn drop(&mut self) {
        self.roster.members().end_look_up(&self.identity);
    }
}

impl Presence {
    /// The stream's id, which the replica sends in its reports.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.roster.streams.close(self.stream);
        if let Some(identity) = &self.identity {
            self.roster.members().leave(identity, self.stream, Instant::now());
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
        let presence = join(&roster, "1", "a");
        roster.report(&identity("1", "a"), at, verdict, Duration::from_millis(7));
        roster.report(&identity("2", "made up"), at, verdict, Duration::ZERO);
        drop(presence);
        let list = roster.list();
        assert_eq!((list.len(), list[0].position), (1, Some((at, verdict))));
        assert_eq!((list[0].connected, list[0].lag), (false, Duration::from_millis(7)));
    }

    #[test]
    fn a_replica_without_an_id_counts_and_is_not_listed() {
        let roster = Roster::default();
        let nameless = join(&roster, "", "nameless");
        assert_eq!((roster.streams(), roster.list()), (1, vec![]));
        drop(nameless);
        assert_eq!(roster.streams(), 0);
    }

    #[test]
    fn a_look_up_ends_when_it_is_dropped() {
        let roster = Roster::default();
        let _presence = join(&roster, "1", "a");
        let look = roster.look_up(&identity("1", "a")).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        assert!(roster.look_up(&identity("1", "a")).is_none(), "two look-ups at a time");
        drop(look);
        assert!(roster.look_up(&identity("1", "a")).is_some());
    }
}
