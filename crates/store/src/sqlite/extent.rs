//! How far damage reaches.

use engine::Index;
use rusqlite::Connection;

use super::rows::StoredRow;

/// How many events before a damaged one are tried one by one.
const ONE_BY_ONE: u64 = 4_096;

/// The first and the last event of the damage that was found at `at`: from the last readable batch before it to the first
/// readable one after it, or to the end.
pub(super) fn of(database: &Connection, floor: Index, tail: Index, at: Index) -> (Index, Index) {
    let first = first_lost(database, floor, at);
    // A damaged page hides all its batches. So this tries places at doubling distances, and then narrows down.
    let (mut bad, mut step) = (at, 1);
    let mut good = loop {
        let next = bad.plus(step);
        if next > tail {
            break None;
        }
        match sound_row(database, next) {
            Some(row) => break Some((next, row.batch.first)),
            None => (bad, step) = (next, step * 2),
        }
    };
    if good.is_none() {
        good = sound_row(database, tail).map(|row| (tail, row.batch.first));
    }
    let Some((mut good, mut resumes)) = good else { return (first, tail) };
    while good.events_since(bad) > 1 {
        let middle = Index(bad.0 + good.events_since(bad) / 2);
        match sound_row(database, middle) {
            Some(row) => (good, resumes) = (middle, row.batch.first),
            None => bad = middle,
        }
    }
    (first, Index(resumes.0 - 1).max(at))
}

/// The first event of the damage that was found at `at`. It tries places instead of asking for the row before, because a
/// damaged row may claim to be any other.
fn first_lost(database: &Connection, floor: Index, at: Index) -> Index {
    let is_sound = |index: u64| {
        index == floor.0
            || sound_row(database, Index(index))
                .is_some_and(|row| row.batch.first.0 <= index && index <= row.batch.end.index.0)
    };
    // One by one first, because a damaged page may have readable events; then at doubling distances.
    let (mut bad, mut step) = (at.0, 1);
    let mut good = loop {
        let next = bad.saturating_sub(step).max(floor.0);
        if is_sound(next) {
            break next;
        }
        bad = next;
        if at.0 - bad >= ONE_BY_ONE {
            step *= 2;
        }
    };
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if is_sound(middle) { good = middle } else { bad = middle }
    }
    Index(bad)
}

/// The batch that holds the event at `index`, or else the next one, if it can be read and is sound.
pub(super) fn sound_row(database: &Connection, index: Index) -> Option<StoredRow> {
    let text = format!("SELECT {} FROM batches WHERE last >= ?1 ORDER BY last LIMIT 1", StoredRow::COLUMNS);
    let mut statement = database.prepare_cached(&text).ok()?;
    let mut found = statement.query([index.0.cast_signed()]).ok()?;
    StoredRow::from_row(found.next().ok()??, index).ok()
}
