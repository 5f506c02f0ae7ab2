//! Damage in history that the value does not rest on: below the newest snapshot. It is remembered, told once, and left out
//! of what is read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Index;
use tracing::error;

use super::reader::SqliteReader;
use crate::{Corrupt, Damage, ReadError};

/// How many places are remembered one by one. With more of them the rest of the history counts as one.
const PLACES: usize = 1_000;

/// The places that are known.
#[derive(Debug)]
pub(super) struct Known {
    /// In order, without an overlap.
    places: Mutex<Vec<Damage>>,
    /// The newest snapshot: what the next start needs comes after it.
    snapshot: AtomicU64,
}

impl Known {
    pub(super) fn new(snapshot: Index) -> Self {
        Self { places: Mutex::default(), snapshot: AtomicU64::new(snapshot.0) }
    }

    pub(super) fn set_snapshot(&self, snapshot: Index) {
        self.snapshot.store(snapshot.0, Ordering::Release);
    }

    /// Whether a leader can go on with damage that begins at `index`. At 0 is what sums the log up.
    pub(super) fn is_old(&self, index: Index) -> bool {
        index > Index::ZERO && index.0 <= self.snapshot.load(Ordering::Acquire)
    }

    /// What is known above `floor`.
    pub(super) fn above(&self, floor: Index) -> Vec<Damage> {
        self.places().iter().filter(|place| place.last > floor).cloned().collect()
    }

    /// Refuses to read again what is known to be damaged.
    pub(super) fn check(&self, from: Index) -> Result<(), ReadError> {
        let places = self.places();
        let place = places.iter().find(|place| place.first <= from && from <= place.last);
        place.map_or(Ok(()), |place| Err(place.met_at(from).into()))
    }

    /// Passes `read` on. If it met damage in old history, finds out how far that reaches, remembers it and says so.
    pub(super) fn note<T>(&self, reader: &mut SqliteReader, read: Result<T, ReadError>) -> Result<T, ReadError> {
        let damage = match read {
            Err(ReadError::Corrupt(damage)) if self.is_old(damage.index) => damage,
            read => return read,
        };
        let (first, last) = reader.extent(damage.index)?;
        let place = Damage { first, last, what: damage.what };
        let met = place.met_at(damage.index);
        self.remember(place);
        Err(met.into())
    }

    fn remember(&self, place: Damage) {
        let mut places = self.places();
        if places.iter().any(|known| known.first <= place.first && place.last <= known.last) {
            return;
        }
        error!(
            first = %place.first, last = %place.last, what = place.what,
            "stored history is damaged there; operations and replicas go on without it"
        );
        let (mut first, mut last) = (place.first, place.last);
        places.retain(|known| {
            let apart = known.last < first || last < known.first;
            if !apart {
                (first, last) = (first.min(known.first), last.max(known.last));
            }
            apart
        });
        if places.len() >= PLACES
            && let Some(newest) = places.last_mut()
        {
            (newest.first, newest.last) = (newest.first.min(first), newest.last.max(last));
            return;
        }
        let at = places.partition_point(|known| known.first < first);
        places.insert(at, Damage { first, last, what: place.what });
    }

    fn places(&self) -> MutexGuard<'_, Vec<Damage>> {
        // No change under the lock can panic half-way.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Damage {
    /// What somebody is told who reads at `index`.
    fn met_at(&self, index: Index) -> Corrupt {
        Corrupt { index, what: format!("{}; events {} to {} are lost here", self.what, self.first, self.last) }
    }
}
