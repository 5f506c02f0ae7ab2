//! The newest frames, in order, bounded in bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use engine::leader::RecentFrames;
use engine::{Digest, Index, Position};

/// Bytes of memory that a frame takes beside its contents: its entry, its place among the batches, and the allocation.
const OVERHEAD: usize = 128;

#[derive(Clone, Debug)]
struct Entry {
    /// The newest event that a subscriber has after this frame.
    after: Index,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    first: Index,
    end: Position,
    sequence: u64,
}

/// The newest frames, numbered by a sequence that never repeats.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    oldest: u64,
    /// The batches among the entries, so that a search need not skip heartbeats one by one.
    batches: VecDeque<Place>,
    bytes: usize,
    max_bytes: usize,
}

/// Frames taken from the ring, to be sent in one write.
#[derive(Debug, Default)]
pub(crate) struct Span {
    pub(crate) frames: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// The sequence number after the last frame.
    pub(crate) next: u64,
    /// The newest event that the subscriber has after these frames. Meaningless if there are none.
    pub(crate) after: Index,
}

impl Ring {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), oldest: 0, batches: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Adds a batch that starts at `first` and ends at `end`.
    pub(crate) fn push_batch(&mut self, first: Index, end: Position, bytes: Bytes) {
        self.batches.push_back(Place { first, end, sequence: self.next() });
        self.push(end.index, bytes);
    }

    /// Adds a frame without events, after everything up to `tail`.
    pub(crate) fn push_heartbeat(&mut self, tail: Index, bytes: Bytes) {
        self.push(tail, bytes);
    }

    fn push(&mut self, after: Index, bytes: Bytes) {
        self.bytes += bytes.len() + OVERHEAD;
        self.entries.push_back(Entry { after, bytes });
        while self.bytes > self.max_bytes && self.entries.len() > 1 {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.bytes.len() + OVERHEAD;
            }
            if self.batches.front().is_some_and(|batch| batch.sequence == self.oldest) {
                self.batches.pop_front();
            }
            self.oldest += 1;
        }
    }

    /// The digest after the event at `index`: `Some(None)` if no batch ends there, `None` if the event is not in the ring.
    pub(crate) fn digest_at(&self, index: Index) -> Option<Option<Digest>> {
        let at = self.batches.partition_point(|batch| batch.end.index < index);
        let batch = self.batches.get(at).filter(|batch| batch.first <= index)?;
        Some((batch.end.index == index).then_some(batch.end.digest))
    }

    /// The frames from `sequence` on that fit in `max_bytes`, and at least one if there is one. Panics if `sequence` is
    /// below [`oldest`](RecentFrames::oldest).
    pub(crate) fn span(&self, sequence: u64, max_bytes: usize) -> Span {
        assert!(sequence >= self.oldest, "frame {sequence} fell out of the ring");
        let skip = sequence - self.oldest;
        let mut span = Span { next: sequence, ..Span::default() };
        for entry in self.entries.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if span.bytes > 0 && span.bytes + entry.bytes.len() > max_bytes {
                break;
            }
            span.bytes += entry.bytes.len();
            span.frames.push(entry.bytes.clone());
            span.next += 1;
            span.after = entry.after;
        }
        span
    }

    /// The batches with the newest `events` events, oldest first, or all if there are fewer.
    pub(crate) fn newest(&self, events: u64) -> Vec<Bytes> {
        let Some(last) = self.batches.back() else { return Vec::new() };
        let wanted =
            self.batches.iter().rev().take_while(|batch| last.end.index.events_since(batch.end.index) < events);
        let mut frames: Vec<Bytes> = wanted
            .filter_map(|batch| self.entries.get(usize::try_from(batch.sequence - self.oldest).ok()?))
            .map(|entry| entry.bytes.clone())
            .collect();
        frames.reverse();
        frames
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl RecentFrames for Ring {
    fn first_event(&self) -> Option<Index> {
        self.batches.front().map(|batch| batch.first)
    }

    fn oldest(&self) -> u64 {
        self.oldest
    }

    fn next(&self) -> u64 {
        self.oldest + self.entries.len() as u64
    }

    fn locate(&self, index: Index) -> u64 {
        let tail = self.entries.back().map(|entry| entry.after);
        if tail.is_none_or(|tail| index > tail) {
            return self.next();
        }
        let found = self.batches.partition_point(|batch| batch.first <= index);
        found.checked_sub(1).and_then(|at| self.batches.get(at)).map_or(self.oldest, |batch| batch.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(mark: u8) -> Bytes {
        Bytes::from(vec![mark; 10])
    }

    fn end(index: u64) -> Position {
        Position { index: Index(index), digest: Digest(index * 10) }
    }

    /// Batches (1,2), (3,4), (5,6), a heartbeat after the second.
    fn ring(max_bytes: usize) -> Ring {
        let mut ring = Ring::new(max_bytes);
        ring.push_batch(Index(1), end(2), frame(1));
        ring.push_batch(Index(3), end(4), frame(3));
        ring.push_heartbeat(Index(4), frame(0));
        ring.push_batch(Index(5), end(6), frame(5));
        ring
    }

    fn marks(span: &Span) -> Vec<u8> {
        span.frames.iter().map(|bytes| bytes[0]).collect()
    }

    #[test]
    fn a_span_holds_what_fits_and_at_least_one_frame() {
        let ring = ring(10_000);
        let span = ring.span(0, 25);
        assert_eq!((marks(&span), span.next, span.after), (vec![1, 3], 2, Index(4)));
        let rest = ring.span(span.next, 1_000);
        assert_eq!((marks(&rest), rest.next, rest.after), (vec![0, 5], 4, Index(6)));
        assert_eq!(marks(&ring.span(1, 1)), [3]);
        assert!(ring.span(4, 1_000).frames.is_empty(), "nothing new yet");
    }

    #[test]
    fn the_oldest_frames_fall_out() {
        let ring = ring(2 * (10 + OVERHEAD) + 5);
        assert_eq!(ring.bytes(), 2 * (10 + OVERHEAD));
        assert_eq!((ring.oldest(), ring.first_event()), (2, Some(Index(5))));
        assert_eq!(marks(&ring.span(2, 1_000)), [0, 5]);
    }

    #[test]
    fn an_event_is_located_in_its_batch() {
        let ring = ring(10_000);
        let sequences: Vec<u64> = (1..=8).map(|index| ring.locate(Index(index))).collect();
        assert_eq!(sequences, [0, 0, 1, 1, 3, 3, 4, 4]);
    }

    #[test]
    fn the_newest_events_are_in_the_last_batches() {
        let ring = ring(10_000);
        let newest = |events| ring.newest(events).iter().map(|bytes| bytes[0]).collect::<Vec<_>>();
        let found: Vec<_> = (0..=5).map(newest).collect();
        assert_eq!(found, [vec![], vec![5], vec![5], vec![3, 5], vec![3, 5], vec![1, 3, 5]]);
        assert_eq!(newest(u64::MAX), [1, 3, 5]);
        assert!(Ring::new(100).newest(1).is_empty());
    }

    #[test]
    fn digests_are_known_where_batches_in_the_ring_end() {
        let mut ring = Ring::new(3 * (10 + OVERHEAD));
        for first in [1, 3, 5, 7] {
            ring.push_batch(Index(first), end(first + 1), frame(1));
        }
        let known: Vec<_> = (1..=9).map(|index| ring.digest_at(Index(index))).collect();
        let (inside, at) = (Some(None), |digest| Some(Some(Digest(digest))));
        assert_eq!(known, [None, None, inside, at(40), inside, at(60), inside, at(80), None]);
    }

    #[test]
    fn a_frame_larger_than_the_ring_is_kept_until_the_next_one() {
        let mut ring = Ring::new(5);
        ring.push_batch(Index(1), end(1), frame(1));
        assert_eq!(marks(&ring.span(0, 1)), [1]);
        ring.push_batch(Index(2), end(2), frame(2));
        assert_eq!((ring.oldest(), ring.bytes()), (1, 10 + OVERHEAD));
    }
}
