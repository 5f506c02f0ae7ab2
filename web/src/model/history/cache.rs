//! The events that are held: some thousands around what is looked at, and the newest.

use std::collections::BTreeMap;

use engine::Index;

use super::Row;

/// Events in a chunk, which is held or dropped as a whole.
const CHUNK: u64 = 500;

/// How many chunks are held.
const CHUNKS: usize = 40;

/// What is known of an event.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Row(Row),
    Damaged,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    /// By the number of the chunk; each has a place for each of its events.
    chunks: BTreeMap<u64, Vec<Option<Held>>>,
    looked_at: Index,
}

impl Cache {
    pub(super) fn get(&self, index: Index) -> Option<&Held> {
        self.chunks.get(&(index.0 / CHUNK))?.get(within(index))?.as_ref()
    }

    pub(super) fn put(&mut self, index: Index, held: Held) {
        let chunk = self.chunks.entry(index.0 / CHUNK).or_default();
        let place = within(index);
        if chunk.len() <= place {
            chunk.resize_with(place + 1, || None);
        }
        chunk[place] = Some(held);
        if self.chunks.len() > CHUNKS {
            self.drop_one();
        }
    }

    /// The newest event from `first` to `last` (both inclusive) that is not held.
    pub(super) fn newest_missing(&self, first: Index, last: Index) -> Option<Index> {
        (first.0..=last.0).rev().map(Index).find(|index| self.get(*index).is_none())
    }

    /// Somebody looks at `index` and around it.
    pub(super) fn look_at(&mut self, index: Index) {
        self.looked_at = index;
    }

    /// The events at or below `floor` are gone.
    pub(super) fn raise_floor(&mut self, floor: Index) {
        self.chunks = self.chunks.split_off(&(floor.next().0 / CHUNK));
    }

    /// Drops the chunk that is furthest from what is looked at, except the newest.
    fn drop_one(&mut self) {
        let at = self.looked_at.0 / CHUNK;
        let newest = self.chunks.keys().next_back().copied();
        let others = self.chunks.keys().copied().filter(|number| Some(*number) != newest);
        if let Some(furthest) = others.max_by_key(|number| number.abs_diff(at)) {
            self.chunks.remove(&furthest);
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.chunks.values().flatten().flatten().count()
    }
}

fn within(index: Index) -> usize {
    usize::try_from(index.0 % CHUNK).unwrap_or(0)
}
