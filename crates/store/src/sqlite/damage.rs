//! Damage in history below the newest snapshot, which the value does not depend on. It is remembered, reported once, and
//! not read again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Index;
use tracing::error;

use super::reader::SqliteReader;
use crate::{Corrupt, Damage, ReadError};

/// How many places are remembered one by one. Further ones are merged with the newest.
const PLACES: usize = 1_000;

/// The damaged places that are known.
#[derive(Debug)]
pub(super) struct Known {
    /// In order, without overlap.
    places: Mutex<Vec<Damage>>,
    /// The newest snapshot. The next start needs only what comes after it.
    snapshot: AtomicU64,
}

impl Known {
    pub(super) fn new(snapshot: Index) -> Self {
        Self { places: Mutex::default(), snapshot: AtomicU64::new(snapshot.0) }
    }

    pub(super) fn set_snapshot(&self, snapshot: Index) {
        self.snapshot.store(snapshot.0, Ordering::Release);
    }

    /// Whether a leader can go on with damage that begins at `index`. Index 0 stands for the end of the log and the
    /// producers, without which it cannot.
    pub(super) fn is_old(&self, index: Index) -> bool {
        index > Index::ZERO && index.0 <= self.snapshot.load(Ordering::Acquire)
    }

    /// The known places above `floor`.
    pub(super) fn above(&self, floor: Index) -> Vec<Damage> {
        self.places().iter().filter(|place| place.last > floor).cloned().collect()
    }

    /// Fails if the event at `from` is known to be damaged.
    pub(super) fn check(&self, from: Index) -> Result<(), ReadError> {
        let places = self.places();
        let place = places.iter().find(|place| place.first <= from && from <= place.last);
        place.map_or(Ok(()), |place| Err(place.found_at(from).into()))
    }

    /// Passes the result of a read on. If it found damage in old history, finds out how far that reaches, and remembers
    /// and reports it.
    pub(super) fn note<T>(&self, reader: &mut SqliteReader, read: Result<T, ReadError>) -> Result<T, ReadError> {
        let damage = match read {
            Err(ReadError::Corrupt(damage)) if self.is_old(damage.index) => damage,
            read => return read,
        };
        let (first, last) = reader.extent(damage.index)?;
        let place = Damage { first, last, what: damage.what };
        let found = place.found_at(damage.index);
        self.remember(place);
        Err(found.into())
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
        // The list is whole even if a thread panicked while it held the lock.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Damage {
    /// The error of a read at `index`.
    fn found_at(&self, index: Index) -> Corrupt {
        Corrupt { index, what: format!("{}; events {} to {} are lost here", self.what, self.first, self.last) }
    }
}
