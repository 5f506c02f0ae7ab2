//! The event log: the newest events, which a person who reads can pause.

use std::collections::VecDeque;

use engine::{Batch, Event, Index};

/// How many events the log holds: enough to look back, few enough to copy when it is paused.
pub const CAPACITY: usize = 300;

/// The newest [`CAPACITY`] events, newest first.
///
/// At a thousand events a second nobody can read a list that moves. A paused list shows the same events until it goes on,
/// and counts those that came meanwhile.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    /// Oldest first.
    newest: VecDeque<Event>,
    paused: Option<Paused>,
}

#[derive(Clone, Debug)]
struct Paused {
    /// Oldest first.
    events: VecDeque<Event>,
    /// How many events came since the pause.
    missed: u64,
}

impl EventLog {
    /// Appends the events of `batch`. `value_before` is the value before its first event.
    pub fn append(&mut self, batch: &Batch, value_before: i64) {
        let events = batch.operations().len();
        let room = CAPACITY.saturating_sub(events);
        let surplus = self.newest.len().saturating_sub(room);
        self.newest.drain(..surplus);
        self.newest.extend(batch.events(value_before).skip(events.saturating_sub(CAPACITY)));
        if let Some(paused) = &mut self.paused {
            paused.missed += events as u64;
        }
    }

    /// Drops the events: those that follow do not continue them. A paused list stays as it is.
    pub fn clear(&mut self) {
        self.newest.clear();
    }

    /// Pauses the list, or lets it go on.
    pub fn set_paused(&mut self, pause: bool) {
        if !pause {
            self.paused = None;
        } else if self.paused.is_none() {
            self.paused = Some(Paused { events: self.newest.clone(), missed: 0 });
        }
    }

    /// How many events came since the list was paused; `None` while it moves.
    #[must_use]
    pub fn missed(&self) -> Option<u64> {
        self.paused.as_ref().map(|paused| paused.missed)
    }

    /// How many events are shown.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shown().len()
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The event at this place in the list; 0 is the newest.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Event> {
        let shown = self.shown();
        shown.len().checked_sub(place + 1).and_then(|at| shown.get(at)).copied()
    }

    /// The event at `index`, if it is among the newest.
    #[must_use]
    pub fn newest_at(&self, index: Index) -> Option<Event> {
        let last = self.newest.back()?.index;
        let behind = usize::try_from(last.0.checked_sub(index.0)?).ok()?;
        self.newest.get(self.newest.len().checked_sub(1 + behind)?).copied()
    }

    fn shown(&self) -> &VecDeque<Event> {
        self.paused.as_ref().map_or(&self.newest, |paused| &paused.events)
    }
}

#[cfg(test)]
mod tests {
    use engine::{Digest, Index, Operation, Term, Timestamp};

    use super::*;

    /// `events` additions of one, the first at index `first`, so that each value is the event's index.
    fn append(log: &mut EventLog, first: u64, events: usize) {
        let operations = vec![Operation::Add(1); events];
        let batch = Batch::new(Term(1), Index(first), operations, Digest(0), Timestamp(0)).unwrap();
        log.append(&batch, i64::try_from(first).unwrap() - 1);
    }

    fn indexes(log: &EventLog) -> Vec<u64> {
        (0..log.len()).map(|place| log.get(place).unwrap().index.0).collect()
    }

    #[test]
    fn the_newest_event_comes_first_with_its_value() {
        let mut log = EventLog::default();
        append(&mut log, 1, 3);
        append(&mut log, 4, 1);
        assert_eq!(indexes(&log), [4, 3, 2, 1]);
        assert_eq!(log.get(0).unwrap().value, 4);
        assert_eq!(log.get(4), None);
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let mut log = EventLog::default();
        append(&mut log, 1, 200);
        append(&mut log, 201, 150);
        assert_eq!((log.len(), log.get(0).unwrap().index.0), (CAPACITY, 350));
        append(&mut log, 351, 1_000);
        assert_eq!((log.len(), log.get(0).unwrap().index.0), (CAPACITY, 1_350));
        assert_eq!(log.get(CAPACITY - 1).unwrap().index.0, 1_051);
        assert_eq!(log.get(CAPACITY - 1).unwrap().value, 1_051);
    }

    #[test]
    fn a_paused_log_shows_the_same_events_and_counts_what_came() {
        let mut log = EventLog::default();
        append(&mut log, 1, 3);
        log.set_paused(true);
        append(&mut log, 4, 500);
        log.clear();
        log.set_paused(true);
        assert_eq!((indexes(&log), log.missed()), (vec![3, 2, 1], Some(500)));
        append(&mut log, 700, 1);
        log.set_paused(false);
        assert_eq!((indexes(&log), log.missed()), (vec![700], None));
    }
}
