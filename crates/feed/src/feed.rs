//! The published end of the log, which all cursors share, and the signal that wakes them.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use engine::fault::{self, Fault};
use engine::frame::SnapshotFrame;
use engine::leader::{Admission, KnownDigest, LogView, RecentFrames, Subscription};
use engine::{
    Digest, Durability, Frame, Goodbye, Heartbeat, Index, Resume, Snapshot, StreamId, Term, Timestamp, Verdict, Welcome,
};
use store::{LogReader, Opened, ReadError, StoredBatch};
use thiserror::Error;
use tokio::sync::watch;
use wire::frame::encode;

use crate::Cursor;
use crate::catch_up::{CatchUp, UNSENT_BYTES};
use crate::metrics::Metrics;
use crate::ring::Ring;

/// Memory for the ring: some seconds of a million five-byte events each second, so that a subscriber that falls behind for
/// a moment need not read the store.
const RING_BYTES: usize = 16 << 20;

/// The committed log as subscribers see it. Cheap to clone: all clones are the same feed.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) log: Arc<dyn LogReader>,
    durability: Durability,
    heartbeat_interval: Duration,
    /// A std lock: it is held only to copy a few pointers, and never across an await.
    published: RwLock<State>,
    /// Counts publications, so that idle cursors can wait for the next.
    wake: watch::Sender<u64>,
    /// Bounds the store reads and the memory of cursors that are behind.
    pub(crate) bounds: Arc<CatchUp>,
    pub(crate) metrics: Metrics,
}

pub(crate) struct State {
    pub(crate) ring: Ring,
    pub(crate) tail: Snapshot,
    pub(crate) term: Term,
    pub(crate) floor: Index,
    /// Set once the feed is closed: the last frame of every stream, after everything that was published.
    pub(crate) goodbye: Option<Bytes>,
}

/// The feed has said goodbye and publishes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the feed is closed")]
pub struct Closed;

/// The end of the log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The newest committed state.
    pub tail: Snapshot,
    /// The leader's term.
    pub term: Term,
    /// Events at or below it were compacted away.
    pub floor: Index,
}

impl State {
    pub(crate) fn view(&self) -> LogView {
        LogView { log: self.tail.log(), term: self.term, tail: self.tail.position(), floor: self.floor }
    }

    /// The digest after the event at `index`, if memory holds the answer; `None` if only the store knows.
    fn digest_in_memory(&self, index: Index) -> Option<KnownDigest> {
        // Most replicas stand at the tail. The store may already have compacted it away: another leader on the same log can
        // raise the floor past this feed's tail.
        let tail = self.tail.position();
        if index == tail.index {
            return Some(KnownDigest::End(tail.digest));
        }
        if index == Index::ZERO {
            return Some(KnownDigest::End(Digest::of_log(self.tail.log())));
        }
        self.ring.digest_at(index).map(KnownDigest::from)
    }

    fn is_closed(&self) -> bool {
        self.goodbye.is_some() && !fault::active(Fault::AcknowledgeAfterGoodbye)
    }

    pub(crate) fn snapshot_frame(&self) -> Frame {
        Frame::Snapshot(SnapshotFrame { term: self.term, snapshot: self.tail })
    }
}

impl Feed {
    /// Creates the feed of an opened log, starting at its tail. Welcomes announce a heartbeat every `heartbeat_interval`;
    /// the owner calls [`heartbeat`](Self::heartbeat) that often.
    #[must_use]
    pub fn new(opened: &Opened, heartbeat_interval: Duration) -> Self {
        Self::with_budget(opened, heartbeat_interval, UNSENT_BYTES)
    }

    /// The same, with how many bytes all streams together may hold before their connections write them.
    #[must_use]
    pub fn with_budget(opened: &Opened, heartbeat_interval: Duration, unsent_bytes: usize) -> Self {
        Self::with_bounds(opened, heartbeat_interval, RING_BYTES, unsent_bytes)
    }

    pub(crate) fn with_bounds(
        opened: &Opened,
        heartbeat_interval: Duration,
        ring_bytes: usize,
        unsent_bytes: usize,
    ) -> Self {
        let log = Arc::clone(&opened.reader);
        let state = State {
            ring: Ring::new(ring_bytes),
            tail: opened.tail,
            term: opened.term,
            floor: log.floor(),
            goodbye: None,
        };
        let (wake, _) = watch::channel(0);
        let bounds = Arc::new(CatchUp::new(unsent_bytes));
        let durability = opened.durability;
        let metrics = Metrics::default();
        let published = RwLock::new(state);
        let shared = Shared { log, durability, heartbeat_interval, published, wake, bounds, metrics };
        Self { shared: Arc::new(shared) }
    }

    /// Publishes a batch that the store has made durable; `tail` is the state after it.
    ///
    /// # Errors
    ///
    /// [`Closed`]: no subscriber gets the batch, so the caller must not acknowledge its operations.
    pub fn publish(&self, batch: StoredBatch, tail: Snapshot) -> Result<(), Closed> {
        let mut state = self.shared.write();
        if state.is_closed() {
            return Err(Closed);
        }
        assert_eq!(batch.first, state.tail.position().index.next(), "batches are published in order");
        state.tail = tail;
        state.floor = self.shared.log.floor().min(tail.position().index);
        state.ring.push_batch(batch.first, batch.end, batch.frame);
        drop(state);
        self.shared.wake();
        Ok(())
    }

    /// Publishes a heartbeat, after everything that was published before.
    pub fn heartbeat(&self, leader_time: Timestamp) {
        let mut state = self.shared.write();
        if state.is_closed() {
            return;
        }
        let tail = state.tail.position().index;
        let heartbeat = Heartbeat { term: state.term, tail, floor: state.floor, leader_time };
        state.ring.push_heartbeat(tail, encode(&Frame::Heartbeat(heartbeat)));
        drop(state);
        self.shared.wake();
    }

    /// Closes the feed: it publishes nothing more, and each stream ends with the goodbye after everything that was
    /// published. Only the first goodbye counts.
    pub fn close(&self, goodbye: Goodbye) {
        self.shared.write().goodbye.get_or_insert_with(|| encode(&Frame::Goodbye(goodbye)));
        self.shared.wake();
    }

    /// Whether the feed has said goodbye.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.read().is_closed()
    }

    /// The encoded goodbye of a closed feed. A subscription that begins after it gets nothing else.
    #[must_use]
    pub fn goodbye(&self) -> Option<Bytes> {
        self.shared.read().goodbye.clone()
    }

    /// The published end of the log.
    #[must_use]
    pub fn published(&self) -> Published {
        let state = self.shared.read();
        Published { tail: state.tail, term: state.term, floor: state.floor }
    }

    /// The published end of the log, and the encoded batches that hold its last `events` events, oldest first; fewer if
    /// memory does not hold them all.
    #[must_use]
    pub fn newest(&self, events: u64) -> (Published, Vec<Bytes>) {
        let state = self.shared.read();
        let published = Published { tail: state.tail, term: state.term, floor: state.floor };
        (published, state.ring.newest(events))
    }

    /// Bytes that streams hold and their connections have not written.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.shared.bounds.unsent()
    }

    /// What the feed counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// What a crash can lose.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared.durability
    }

    /// Judges a position that a replica claims to hold, or returns `None` if that takes a read of the store.
    #[must_use]
    pub fn judge_from_memory(&self, resume: Resume) -> Option<Verdict> {
        self.shared.raise_floor(self.shared.log.floor());
        let state = self.shared.read();
        let view = state.view();
        let index = resume.position.index;
        let by_digest = resume.log == view.log && view.floor <= index && index <= view.tail.index;
        let known = if by_digest { state.digest_in_memory(index)? } else { KnownDigest::NoEnd };
        Some(view.verdict(Some(resume), known))
    }

    /// Judges a position that a replica claims to hold.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the store cannot read the digest there.
    pub async fn judge(&self, resume: Resume) -> Result<Verdict, ReadError> {
        let known = self.digest_at(resume.position.index).await?;
        Ok(self.shared.read().view().verdict(Some(resume), known))
    }

    /// Answers a subscription with the encoded frames that begin its stream and a cursor for the rest. The welcome carries
    /// `stream` as the stream's id.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the store cannot read the digest at the replica's position.
    pub async fn subscribe(
        &self,
        resume: Option<Resume>,
        stream: StreamId,
        leader_time: Timestamp,
    ) -> Result<Opening, ReadError> {
        let known = match resume {
            Some(resume) => self.digest_at(resume.position.index).await?,
            None => KnownDigest::NoEnd,
        };
        let damage = self.shared.log.damage().into_iter().map(|damage| damage.first..=damage.last);
        let state = self.shared.read();
        let view = state.view();
        let admission = Subscription::open(&view, resume, known, damage, state.ring.first_event());
        let Admission { verdict, floor, damaged, subscription } = admission;
        let welcome = Welcome {
            log: view.log,
            term: view.term,
            tail: view.tail.index,
            floor,
            heartbeat_interval: self.shared.heartbeat_interval,
            durability: self.shared.durability,
            leader_time,
            verdict,
            damaged,
            stream,
        };
        let mut frames = vec![encode(&Frame::Welcome(welcome))];
        if verdict != Verdict::Resumed {
            frames.push(encode(&state.snapshot_frame()));
        }
        drop(state);
        let cursor = Cursor::new(Arc::clone(&self.shared), subscription);
        let count = frames.len();
        let frames = Bytes::from(frames.concat());
        self.shared.metrics.opening.add(count, frames.len());
        Ok(Opening { verdict, frames, cursor })
    }

    /// The log's digest at `index`. It also updates the floor, which may have passed `index` since the last batch was
    /// published; a digest that was compacted away would otherwise count as a divergence.
    async fn digest_at(&self, index: Index) -> Result<KnownDigest, ReadError> {
        self.shared.raise_floor(self.shared.log.floor());
        if let Some(digest) = self.shared.read().digest_in_memory(index) {
            return Ok(digest);
        }
        // Takes turns with the cursors, so that many such reads do not starve them.
        let _turn = self.shared.bounds.turn().await;
        let known = match self.shared.log.digest_at(index).await {
            Ok(digest) => digest.into(),
            Err(ReadError::Corrupt(_)) => KnownDigest::Damaged,
            Err(error) => return Err(error),
        };
        self.shared.raise_floor(self.shared.log.floor());
        Ok(known)
    }

    /// Creates a cursor that starts with the event at `next`.
    #[must_use]
    pub fn cursor(&self, next: Index) -> Cursor {
        Cursor::new(Arc::clone(&self.shared), Subscription::new(next))
    }
}

/// The beginning of a stream.
pub struct Opening {
    /// The verdict on the replica's position.
    pub verdict: Verdict,
    /// The welcome, and the snapshot if there is one.
    pub frames: Bytes,
    /// Delivers everything after them.
    pub cursor: Cursor,
}

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the store's floor has risen since the last batch.
    pub(crate) fn raise_floor(&self, floor: Index) {
        let known = self.read();
        if floor.min(known.tail.position().index) <= known.floor {
            return;
        }
        drop(known);
        let mut state = self.write();
        // The store may have compacted up to a batch that is not published yet.
        let floor = floor.min(state.tail.position().index);
        state.floor = state.floor.max(floor);
    }

    pub(crate) fn count_snapshot(&self, frame: Bytes) -> Bytes {
        self.metrics.snapshot.add(1, frame.len());
        frame
    }

    fn wake(&self) {
        self.wake.send_modify(|publications| *publications += 1);
    }

    pub(crate) fn publications(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }
}
