//! The strip of the log that all lanes share: which events it shows, and how many go into one cell.

use std::collections::VecDeque;
use std::time::Duration;

use engine::{Index, Moment};

/// How many cells may come in a second before each cell takes more events. Faster ones cannot be read.
const FAST: f64 = 8.0;

/// How few cells must come in a second before each takes fewer events again.
const SLOW: f64 = 0.5;

/// Over how long the log's rate is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// A window on the log: consecutive cells of equally many events. The last cell holds the event that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strip {
    /// The number of the first cell, from 0. Cell `n` holds the events after `n * scale`.
    pub first: u64,
    /// How many events a cell holds: a power of ten.
    pub scale: u64,
    /// How many cells there are.
    pub cells: u64,
}

impl Strip {
    /// The strip that ends with the cell after `tail`, or begins with the log.
    #[must_use]
    pub fn ending_at(tail: Index, scale: u64, cells: u64) -> Self {
        let scale = scale.max(1);
        let next = tail.0 / scale;
        Self { first: (next + 1).saturating_sub(cells), scale, cells }
    }

    /// The first and the last event of a cell.
    #[must_use]
    pub fn events(&self, cell: u64) -> (u64, u64) {
        (cell * self.scale + 1, (cell + 1) * self.scale)
    }

    /// Where on the strip the event ends, from 0 at its left to 1 at its right.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a strip has few cells")]
    pub fn place(&self, index: Index) -> f64 {
        let passed = index.0.saturating_sub(self.first * self.scale) as f64;
        (passed / (self.scale * self.cells).max(1) as f64).min(1.0)
    }

    /// Whether the event lies before the strip.
    #[must_use]
    pub fn is_before(&self, index: Index) -> bool {
        index.0 <= self.first * self.scale
    }
}

/// Chooses how many events a cell holds, so that cells come slowly enough to be read.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    scale: u64,
    /// The tail at moments of the last two seconds, oldest first.
    tails: VecDeque<(Moment, u64)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { scale: 1, tails: VecDeque::new() }
    }
}

impl Pace {
    /// How many events the log gets in a second, once that was measured.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    pub(crate) fn rate(&self) -> Option<f64> {
        let ((began, from), (ended, to)) = (self.tails.front()?, self.tails.back()?);
        let seconds = ended.since(*began).as_secs_f64();
        (seconds >= 0.2).then(|| to.saturating_sub(*from) as f64 / seconds)
    }

    /// How many events a cell held when it was last asked.
    pub(crate) fn current(&self) -> u64 {
        self.scale
    }

    /// The log may leap now; that is not its rate.
    pub(crate) fn restart(&mut self) {
        self.tails.clear();
    }

    /// How many events a cell holds now that the log ends at `tail`.
    pub(crate) fn scale(&mut self, tail: Index, now: Moment) -> u64 {
        // Another log, or the first that is known of it: no rate.
        if self.tails.back().is_some_and(|(_, last)| tail.0 < *last || *last == 0) {
            self.tails.clear();
        }
        // One measurement for each tenth of the time is enough.
        if self.tails.back().is_none_or(|(at, _)| now.since(*at) >= MEASURED / 10) {
            self.tails.push_back((now, tail.0));
        }
        while self.tails.len() > 2 && now.since(self.tails[0].0) > MEASURED {
            self.tails.pop_front();
        }
        let Some(rate) = self.rate() else { return self.scale };
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        while rate / self.scale as f64 > FAST {
            self.scale *= 10;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        while self.scale > 1 && rate / (self.scale as f64) < SLOW {
            self.scale /= 10;
        }
        self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cell_holds_the_next_event() {
        let strip = Strip::ending_at(Index(1_974), 1, 13);
        assert_eq!(strip.events(strip.first + 12), (1_975, 1_975));
        assert_eq!(strip.events(strip.first), (1_963, 1_963));
        let strip = Strip::ending_at(Index(1_974), 10, 13);
        assert_eq!(strip.events(strip.first + 12), (1_971, 1_980));
        // A short log begins at the left.
        assert_eq!(Strip::ending_at(Index(3), 1, 13).first, 0);
        assert_eq!(Strip::ending_at(Index::ZERO, 1, 13).events(0), (1, 1));
    }

    #[test]
    fn places_grow_from_left_to_right() {
        let strip = Strip::ending_at(Index(100), 1, 10);
        let places: Vec<f64> = [91, 92, 95, 100].map(|index| strip.place(Index(index))).into();
        assert_eq!(places, [0.0, 0.1, 0.4, 0.9]);
        assert!(strip.is_before(Index(91)) && !strip.is_before(Index(92)));
        assert_eq!((strip.place(Index(5)), strip.place(Index(500))), (0.0, 1.0));
    }

    #[test]
    fn a_fast_log_gets_cells_of_many_events_and_a_slow_one_of_one() {
        let mut pace = Pace::default();
        let mut scale_at = |rate: u64, from: u64, seconds: u64| {
            let mut scale = 0;
            for tenth in 0..seconds * 10 {
                let now = Moment(Duration::from_millis((from + tenth) * 100));
                scale = pace.scale(Index(from * rate.max(1) + tenth * rate / 10), now);
            }
            scale
        };
        assert_eq!(scale_at(4, 0, 5), 1);
        let mut pace = Pace::default();
        let mut tail = 0;
        let mut run = |rate: u64, tenths: std::ops::Range<u64>| {
            let mut scale = 0;
            for tenth in tenths {
                tail += rate / 10;
                scale = pace.scale(Index(tail), Moment(Duration::from_millis(tenth * 100)));
            }
            scale
        };
        assert_eq!(run(10_000, 0..50), 10_000);
        assert_eq!(run(1_000, 50..100), 1_000);
        assert_eq!(run(10, 100..150), 10, "ten a second are too many to read");
        assert_eq!(run(0, 150..200), 1);
    }
}
