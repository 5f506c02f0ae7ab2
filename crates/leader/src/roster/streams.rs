//! The open streams: which of them progress, and which have lost their reader.
//!
//! A reader that vanishes closes nothing. Once its replica has reported with the stream's id, a stream is judged by the
//! reports alone, because a middlebox can acknowledge bytes for a dead reader. Before the first such report, it is judged by
//! whether the reader's host acknowledges bytes. A slow reader is never ended.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::StreamId;

/// The connection to a stream's reader, as the server sees it.
pub trait Line: fmt::Debug + Send + Sync {
    /// Asks the system for the state of the connection, and updates [`unacknowledged`](Self::unacknowledged).
    fn look(&self);

    /// How long bytes had waited for an acknowledgment at the last look. Zero if none wait, or if the system does not say.
    fn unacknowledged(&self) -> Duration;

    /// Ends the call at once.
    fn cut(&self);
}

/// A call's line. The server adds it to the extensions of the request.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<dyn Line>);

/// How long a stream may be without progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After this long, it ends.
    pub silent: Duration,
    /// After this long, its replica is listed as not connected, and the stream ends if the replica has a newer one or if a
    /// new subscriber needs the room. Two reports and some slack.
    pub missing: Duration,
}

impl Patience {
    /// Raises both times to three heartbeats, because between two of them a replica may have nothing to acknowledge, and a
    /// hidden page nothing that wakes it.
    #[must_use]
    pub fn with_heartbeat(self, interval: Duration) -> Self {
        Self { silent: self.silent.max(3 * interval), missing: self.missing.max(3 * interval) }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { silent: Duration::from_secs(30), missing: Duration::from_secs(6) }
    }
}

/// The limit of streams is reached, and all of them progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

/// Every open stream, with and without an identity.
#[derive(Debug)]
pub(crate) struct Streams {
    patience: Patience,
    /// Makes ids that cannot be guessed, so that only the stream's reader can report for it.
    names: RandomState,
    /// A std lock: held for one pass over the streams at most.
    open: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    opened: u64,
    streams: BTreeMap<StreamId, Open>,
}

#[derive(Debug)]
struct Open {
    /// The replica's id; empty if it gave none.
    replica: String,
    /// When the newest report with this stream's id arrived.
    reported: Option<Instant>,
    superseded: bool,
    /// `None` in tests without a connection.
    line: Option<Arc<dyn Line>>,
}

impl Open {
    fn silence(&self, now: Instant) -> Duration {
        match (self.reported, &self.line) {
            (Some(at), _) => now.saturating_duration_since(at),
            (None, Some(line)) => line.unacknowledged(),
            (None, None) => Duration::ZERO,
        }
    }
}

/// Which streams progress at one moment. No stream begins or ends while this is held.
pub(crate) struct Progressing<'a> {
    table: MutexGuard<'a, Table>,
    missing: Duration,
    now: Instant,
}

impl Progressing<'_> {
    pub(crate) fn has(&self, id: StreamId) -> bool {
        self.table.streams.get(&id).is_some_and(|open| open.silence(self.now) < self.missing)
    }
}

/// A stream to end because it does not progress.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) replica: String,
    pub(crate) silence: Duration,
    line: Option<Arc<dyn Line>>,
}

impl Lost {
    pub(crate) fn cut(&self) {
        if let Some(line) = &self.line {
            line.cut();
        }
    }
}

impl Streams {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, names: RandomState::new(), open: Mutex::default() }
    }

    /// Adds a stream of `replica`. At the limit, the stream that has been without progress for longest makes room, and is
    /// returned for the caller to cut.
    pub(crate) fn admit(
        &self,
        replica: &str,
        line: Option<Arc<dyn Line>>,
        limit: usize,
        now: Instant,
    ) -> Result<(StreamId, Option<Lost>), Crowded> {
        let mut table = self.table();
        let mut made_room = None;
        if table.streams.len() >= limit {
            let silences = table.streams.iter().map(|(id, open)| (open.silence(now), *id));
            let longest = silences.max().filter(|(silence, _)| *silence >= self.patience.missing);
            let (_, id) = longest.ok_or(Crowded)?;
            made_room = table.take(id, now);
        }
        let id = loop {
            table.opened += 1;
            let id = StreamId(self.names.hash_one(table.opened));
            if id != StreamId::default() && !table.streams.contains_key(&id) {
                break id;
            }
        };
        table.streams.insert(id, Open { replica: replica.to_owned(), reported: None, superseded: false, line });
        Ok((id, made_room))
    }

    pub(crate) fn supersede(&self, older: &[StreamId]) {
        let mut table = self.table();
        for id in older {
            if let Some(open) = table.streams.get_mut(id) {
                open.superseded = true;
            }
        }
    }

    /// Notes that a replica reported with this stream's id. Ignores a report of another replica.
    pub(crate) fn reported(&self, id: StreamId, replica: &str, now: Instant) {
        if let Some(open) = self.table().streams.get_mut(&id)
            && open.replica == replica
        {
            open.reported = Some(now);
        }
    }

    /// Which streams progress.
    pub(crate) fn progressing(&self, now: Instant) -> Progressing<'_> {
        Progressing { table: self.table(), missing: self.patience.missing, now }
    }

    /// Removes and returns the streams that have been without progress for too long. The caller cuts them.
    pub(crate) fn take_lost(&self, now: Instant) -> Vec<Lost> {
        // Each look is a system call, so it happens outside the lock.
        let lines: Vec<_> = self.table().streams.values().filter_map(|open| open.line.clone()).collect();
        for line in lines {
            line.look();
        }
        let mut table = self.table();
        let over = table.streams.iter().filter(|(_, open)| {
            let limit = if open.superseded { self.patience.missing } else { self.patience.silent };
            open.silence(now) >= limit
        });
        let over: Vec<StreamId> = over.map(|(id, _)| *id).collect();
        over.into_iter().filter_map(|id| table.take(id, now)).collect()
    }

    pub(crate) fn close(&self, id: StreamId) {
        self.table().streams.remove(&id);
    }

    pub(crate) fn len(&self) -> usize {
        self.table().streams.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn take(&mut self, id: StreamId, now: Instant) -> Option<Lost> {
        let open = self.streams.remove(&id)?;
        Some(Lost { silence: open.silence(now), replica: open.replica, line: open.line })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// A line whose state the test sets.
    #[derive(Debug, Default)]
    struct Wire {
        unacknowledged: AtomicU64,
        cut: AtomicBool,
    }

    impl Wire {
        fn stalls_for(&self, seconds: u64) {
            self.unacknowledged.store(seconds, Ordering::Relaxed);
        }

        fn is_cut(&self) -> bool {
            self.cut.load(Ordering::Relaxed)
        }
    }

    impl Line for Wire {
        fn look(&self) {}

        fn unacknowledged(&self) -> Duration {
            Duration::from_secs(self.unacknowledged.load(Ordering::Relaxed))
        }

        fn cut(&self) {
            self.cut.store(true, Ordering::Relaxed);
        }
    }

    /// Streams, and a clock that the test advances.
    struct World {
        streams: Streams,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { streams: Streams::new(Patience::default()), now: Instant::now() }
        }

        fn open(&self, replica: &str) -> (StreamId, Arc<Wire>) {
            let wire = Arc::<Wire>::default();
            let (id, made_room) = self.streams.admit(replica, Some(wire.clone()), 10, self.now).unwrap();
            if let Some(lost) = made_room {
                lost.cut();
            }
            (id, wire)
        }

        fn report(&self, replica: &str, id: StreamId) {
            self.streams.reported(id, replica, self.now);
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
            for lost in self.streams.take_lost(self.now) {
                lost.cut();
            }
        }
    }

    #[test]
    fn a_stream_that_never_reported_lives_as_long_as_bytes_are_acknowledged() {
        let mut world = World::new();
        let (_, wire) = world.open("a");
        world.wait(3_600);
        assert!(!wire.is_cut(), "a stream on which nothing waits for an acknowledgment was cut");
        wire.stalls_for(29);
        world.wait(1);
        assert!(!wire.is_cut());
        wire.stalls_for(30);
        world.wait(1);
        assert!(wire.is_cut());
        assert_eq!(world.streams.len(), 0);
    }

    #[test]
    fn a_stream_that_reported_is_judged_by_its_reports_alone() {
        let mut world = World::new();
        let (id, wire) = world.open("a");
        world.report("a", id);
        wire.stalls_for(100);
        world.wait(29);
        world.report("a", id);
        world.wait(29);
        assert!(!wire.is_cut(), "a slow reader that reports was cut");
        wire.stalls_for(0);
        world.wait(1);
        assert!(wire.is_cut(), "acknowledged bytes kept a stream without reports alive");
    }

    #[test]
    fn a_report_for_another_replicas_stream_does_not_count() {
        let mut world = World::new();
        let (id, wire) = world.open("a");
        world.report("b", id);
        world.wait(100);
        assert!(!wire.is_cut(), "the report made the stream depend on reports");
    }

    #[test]
    fn an_older_stream_ends_once_it_misses_two_reports_and_a_duplicate_that_reports_stays() {
        let mut world = World::new();
        let (first, first_wire) = world.open("a");
        let (second, second_wire) = world.open("a");
        world.streams.supersede(&[first]);
        for _ in 0..100 {
            world.report("a", first);
            world.report("a", second);
            world.wait(2);
        }
        assert!(!first_wire.is_cut() && !second_wire.is_cut(), "a stream that reports was cut");
        for _ in 0..2 {
            world.report("a", second);
            world.wait(2);
        }
        assert!(first_wire.is_cut() && !second_wire.is_cut());
    }

    #[test]
    fn an_older_stream_that_never_reported_ends_if_its_bytes_are_not_acknowledged() {
        let mut world = World::new();
        let ((older, older_wire), (_, newer_wire)) = (world.open("a"), world.open("a"));
        world.streams.supersede(&[older]);
        world.wait(60);
        assert!(!older_wire.is_cut(), "an older stream that is read was cut");
        older_wire.stalls_for(6);
        newer_wire.stalls_for(6);
        world.wait(1);
        assert!(older_wire.is_cut() && !newer_wire.is_cut());
    }

    #[test]
    fn at_the_limit_the_stream_longest_without_progress_makes_room() {
        let world = World::new();
        let streams: Vec<_> = (0..10).map(|n| world.open(&n.to_string())).collect();
        let refused = world.streams.admit("new", None, 10, world.now).unwrap_err();
        assert_eq!(refused, Crowded);
        streams[3].1.stalls_for(7);
        streams[5].1.stalls_for(9);
        streams[7].1.stalls_for(5);
        let cut = || streams.iter().map(|(_, wire)| usize::from(wire.is_cut())).sum::<usize>();
        world.open("new");
        assert!(streams[5].1.is_cut() && cut() == 1);
        world.open("newer");
        assert!(streams[3].1.is_cut() && cut() == 2);
        assert_eq!(world.streams.admit("newest", None, 10, world.now).unwrap_err(), Crowded, "5 s is too short");
        assert_eq!(world.streams.len(), 10);
    }

    #[test]
    fn a_rare_heartbeat_raises_the_limits() {
        let patience = Patience::default().with_heartbeat(Duration::from_secs(20));
        assert_eq!((patience.silent, patience.missing), (Duration::from_secs(60), Duration::from_secs(60)));
        assert_eq!(Patience::default().with_heartbeat(Duration::from_secs(1)), Patience::default());
    }
}
