//! What one subscriber was sent, and what it is sent next.
#![doc = include_str!("subscription.md")]

use std::ops::RangeInclusive;

use super::{KnownDigest, LogView, Source};
use crate::fault::{self, Fault};
use crate::{Index, Resume, SnapshotReason, Verdict};

/// A subscriber's place in the log. Its owner asks [`poll_send`](Self::poll_send) what to send, sends that, and notes it here.
///
/// ```
/// use engine::leader::{LogView, RecentFrames, ToSend, Subscription};
/// use engine::{Digest, Index, LogId, Position, Term};
///
/// /// The ring holds event 20, which is frame 100.
/// struct Ring;
///
/// impl RecentFrames for Ring {
///     fn first_event(&self) -> Option<Index> {
///         Some(Index(20))
///     }
///     fn oldest(&self) -> u64 {
///         100
///     }
///     fn next(&self) -> u64 {
///         101
///     }
///     fn locate(&self, index: Index) -> u64 {
///         if index > Index(20) { 101 } else { 100 }
///     }
/// }
///
/// let tail = Position { index: Index(20), digest: Digest(1) };
/// let view = LogView { log: LogId(7), term: Term(1), tail, floor: Index(10) };
/// let mut subscription = Subscription::new(Index(15));
/// assert_eq!(subscription.poll_send(&view, &Ring, false), ToSend::Store(Index(15)));
/// subscription.sent_batches(Index(19));
/// assert_eq!(subscription.poll_send(&view, &Ring, false), ToSend::Ring(100));
/// subscription.sent_frames(101, Index(20));
/// assert_eq!(subscription.poll_send(&view, &Ring, false), ToSend::Wait);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The first event that was not sent yet.
    next: Index,
    /// The number of the next frame in the ring, while this subscriber reads there.
    in_ring: Option<u64>,
}

/// The ring of recent frames, as a subscription sees it. Frames are numbered without a hole.
pub trait RecentFrames {
    /// The first event in the ring, or `None` if no batch is in it.
    fn first_event(&self) -> Option<Index>;

    /// The number of the oldest frame.
    fn oldest(&self) -> u64;

    /// The number that the next frame gets.
    fn next(&self) -> u64;

    /// The number of the batch that holds the event at `index`, or of the next frame if that event is yet to come. `index`
    /// does not lie before [`first_event`](Self::first_event).
    fn locate(&self, index: Index) -> u64;
}

/// How a subscription begins. The welcome says it; if the verdict is a snapshot, a snapshot of the tail follows directly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admission {
    /// How the replica's position was judged.
    pub verdict: Verdict,
    /// The floor to name. Above the log's own if the replica needs history that is damaged.
    pub floor: Index,
    /// Whether the verdict is a snapshot because history is damaged.
    pub damaged: bool,
    /// Everything after.
    pub subscription: Subscription,
}

/// What a subscriber is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToSend {
    /// Frames of the ring from this number on.
    Ring(u64),
    /// Batches of the store from this event on.
    Store(Index),
    /// A snapshot of the tail.
    Snapshot,
    /// Nothing until something is published.
    Wait,
    /// The goodbye, which is the last frame.
    Goodbye,
}

impl Subscription {
    /// A subscriber that was sent everything before `next`.
    #[must_use]
    pub fn new(next: Index) -> Self {
        Self { next, in_ring: None }
    }

    /// Answers a replica that holds `resume`. `known` is what the leader knows of the digest there, `damage` names the
    /// damaged events in the store, and `ring_first` is the first event in the ring.
    ///
    /// A replica that needs damaged history is answered as if that had been compacted away. The floor it is told lies above
    /// its position then, as every replica expects of that answer.
    #[must_use]
    pub fn open(
        view: &LogView,
        resume: Option<Resume>,
        known: KnownDigest,
        damage: impl IntoIterator<Item = RangeInclusive<Index>>,
        ring_first: Option<Index>,
    ) -> Admission {
        let verdict = view.verdict(resume, known);
        if let Some(Resume { position, .. }) = resume
            && let Some(last) = last_damaged(view, position.index, verdict, known, damage, ring_first)
        {
            let verdict = Verdict::Snapshot(SnapshotReason::Compacted);
            return Admission { verdict, floor: last, damaged: true, subscription: Self::new(view.tail.index.next()) };
        }
        let next = match (verdict, resume) {
            (Verdict::Resumed, Some(resume)) if fault::active(Fault::ResumeOneTooLate) => resume.position.index.plus(2),
            (Verdict::Resumed, Some(resume)) => resume.position.index.next(),
            _ => view.tail.index.next(),
        };
        Admission { verdict, floor: view.floor, damaged: false, subscription: Self::new(next) }
    }

    /// The first event that was not sent yet.
    #[must_use]
    pub fn next(&self) -> Index {
        self.next
    }

    /// What to send, given the log and its ring. `closed`: the leader said goodbye and publishes nothing more.
    pub fn poll_send(&mut self, view: &LogView, ring: &impl RecentFrames, closed: bool) -> ToSend {
        if closed && fault::active(Fault::GoodbyeFirst) {
            return ToSend::Goodbye;
        }
        let in_ring = self.in_ring.filter(|frame| *frame >= ring.oldest());
        let frame = match in_ring {
            Some(frame) => frame,
            None => match view.source(self.next, ring.first_event()) {
                Source::Ring => ring.locate(self.next),
                Source::Store => {
                    self.in_ring = None;
                    return ToSend::Store(self.next);
                }
                Source::Snapshot => {
                    self.in_ring = None;
                    return ToSend::Snapshot;
                }
            },
        };
        self.in_ring = Some(frame);
        match frame < ring.next() {
            true => ToSend::Ring(frame),
            false if closed => ToSend::Goodbye,
            false => ToSend::Wait,
        }
    }

    /// Frames of the ring were sent: those before the number `next_frame`, with events up to `through`.
    pub fn sent_frames(&mut self, next_frame: u64, through: Index) {
        self.in_ring = Some(next_frame);
        self.sent_through(through);
    }

    /// Batches of the store with events up to `through` were sent.
    pub fn sent_batches(&mut self, through: Index) {
        self.in_ring = None;
        self.sent_through(through);
    }

    /// A snapshot of the tail at `at` was sent.
    pub fn sent_snapshot(&mut self, at: Index) {
        self.in_ring = None;
        self.sent_through(at);
    }

    fn sent_through(&mut self, through: Index) {
        self.next = self.next.max(through.next());
    }
}

/// The last event of the damage that a replica at `index` cannot get past without a snapshot, if there is any. It lies above
/// `index`.
fn last_damaged(
    view: &LogView,
    index: Index,
    verdict: Verdict,
    known: KnownDigest,
    damage: impl IntoIterator<Item = RangeInclusive<Index>>,
    ring_first: Option<Index>,
) -> Option<Index> {
    let no_digest = known == KnownDigest::Damaged;
    let needs_store = match verdict {
        Verdict::Resumed => view.source(index.next(), ring_first) == Source::Store,
        // The digest could not be compared.
        Verdict::Snapshot(SnapshotReason::Compacted) => no_digest && view.floor <= index,
        Verdict::Snapshot(_) => false,
    };
    if !needs_store {
        return None;
    }
    let in_the_way =
        |range: &RangeInclusive<Index>| index < *range.end() && ring_first.is_none_or(|first| *range.start() < first);
    let last = damage.into_iter().filter(in_the_way).map(|range| *range.end()).max();
    last.or(no_digest.then(|| index.next())).map(|last| last.min(view.tail.index))
}

#[cfg(test)]
mod tests;
