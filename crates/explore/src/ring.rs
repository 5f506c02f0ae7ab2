//! The newest frames that a leader published.

use std::collections::VecDeque;
use std::rc::Rc;

use engine::leader::{KnownDigest, RecentFrames};
use engine::{Batch, Frame, Index};

/// The newest few frames, numbered without a hole. It stands for `feed`'s ring, which is bounded in bytes.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    oldest: u64,
    capacity: usize,
}

#[derive(Clone, Debug, Hash)]
struct Entry {
    /// The newest event that a subscriber was sent once it was sent this frame.
    after: Index,
    frame: Rc<Frame>,
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::with_capacity(capacity + 1), oldest: 0, capacity }
    }

    pub(crate) fn push(&mut self, after: Index, frame: Frame) {
        self.entries.push_back(Entry { after, frame: Rc::new(frame) });
        while self.entries.len() > self.capacity {
            self.entries.pop_front();
            self.oldest += 1;
        }
    }

    /// The frame with this number, and the newest event after it.
    pub(crate) fn get(&self, number: u64) -> Option<(Rc<Frame>, Index)> {
        let at = usize::try_from(number.checked_sub(self.oldest)?).ok()?;
        self.entries.get(at).map(|entry| (Rc::clone(&entry.frame), entry.after))
    }

    /// What is known of the digest at `index`; `None` if that event is not in the ring.
    pub(crate) fn digest_at(&self, index: Index) -> Option<KnownDigest> {
        let (_, batch) = self.batches().find(|(_, batch)| batch.first() <= index && index <= batch.last())?;
        Some(if batch.last() == index { KnownDigest::End(batch.digest()) } else { KnownDigest::NoEnd })
    }

    fn batches(&self) -> impl Iterator<Item = (u64, &Batch)> {
        (self.oldest..).zip(&self.entries).filter_map(|(number, entry)| match &*entry.frame {
            Frame::Batch(batch) => Some((number, batch)),
            _ => None,
        })
    }
}

impl RecentFrames for Ring {
    fn first_event(&self) -> Option<Index> {
        self.batches().next().map(|(_, batch)| batch.first())
    }

    fn oldest(&self) -> u64 {
        self.oldest
    }

    fn next(&self) -> u64 {
        self.oldest + self.entries.len() as u64
    }

    fn locate(&self, index: Index) -> u64 {
        let holds = |batch: &Batch| batch.first() <= index && index <= batch.last();
        self.batches().find(|(_, batch)| holds(batch)).map_or_else(|| self.next(), |(number, _)| number)
    }
}
