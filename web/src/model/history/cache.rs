//! The events that are held: some thousands around what is looked at, and the newest.

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

#[derive(Clone, Debug)]
struct Chunk {
    number: u64,
    /// A place for each of its events.
    events: Vec<Option<Held>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    /// Ordered by number: there are few, and a tree would be more code.
    chunks: Vec<Chunk>,
    looked_at: Index,
}

impl Cache {
    pub(super) fn get(&self, index: Index) -> Option<&Held> {
        let chunk = self.find(index.0 / CHUNK).ok()?;
        self.chunks[chunk].events.get(within(index))?.as_ref()
    }

    pub(super) fn put(&mut self, index: Index, held: Held) {
        let number = index.0 / CHUNK;
        let chunk = self.find(number).unwrap_or_else(|missing| {
            self.chunks.insert(missing, Chunk { number, events: Vec::new() });
            missing
        });
        let (events, place) = (&mut self.chunks[chunk].events, within(index));
        if events.len() <= place {
            events.resize_with(place + 1, || None);
        }
        events[place] = Some(held);
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
        let oldest = floor.next().0 / CHUNK;
        self.chunks.retain(|chunk| chunk.number >= oldest);
    }

    /// Drops the chunk that is furthest from what is looked at, except the newest.
    fn drop_one(&mut self) {
        let at = self.looked_at.0 / CHUNK;
        // The newest is the last. Of the others, the first or the last but one is furthest.
        let last = self.chunks.len().saturating_sub(2);
        let distance = |chunk: usize| self.chunks[chunk].number.abs_diff(at);
        let furthest = if distance(0) >= distance(last) { 0 } else { last };
        self.chunks.remove(furthest);
    }

    /// Where the chunk is, or belongs.
    fn find(&self, number: u64) -> Result<usize, usize> {
        self.chunks.binary_search_by_key(&number, |chunk| chunk.number)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.chunks.iter().flat_map(|chunk| &chunk.events).flatten().count()
    }
}

fn within(index: Index) -> usize {
    usize::try_from(index.0 % CHUNK).unwrap_or(0)
}
