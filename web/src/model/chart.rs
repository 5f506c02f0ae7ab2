//! The value over the index: what the chart draws.

use std::collections::VecDeque;

use engine::{Batch, Event, Index, Operation, Snapshot};

use super::Model;
use super::status::Tone;

/// How many values the chart knows at most.
const CAPACITY: usize = 60_000;

/// How many events the chart shows for each event of a cell on the stage, so that both move at one pace.
const EVENTS_PER_CELL: u64 = 120;

/// The values of consecutive events, the newest last.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The index of the first value.
    first: u64,
    values: VecDeque<i64>,
    /// Where each value lies on the logarithmic scale: computed once, and drawn in every frame.
    decades: VecDeque<f32>,
    /// The operations that led to them; `None` where a snapshot did.
    operations: VecDeque<Option<Operation>>,
}

/// The values that fall into one column of pixels. Heights are from 0 at the bottom to 1 at the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    /// The column's number from the left.
    pub at: u32,
    /// The lowest value.
    pub low: f64,
    /// The highest value.
    pub high: f64,
    /// The last value.
    pub last: f64,
}

/// What the chart shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plot {
    /// The columns that have values, from the left.
    pub columns: Vec<Column>,
    /// The last index of the window, at its right end.
    pub to: u64,
    /// How many events the window is wide. It may begin before the log.
    pub span: u64,
    /// The height of the value 0, if it is in the window.
    pub zero: Option<f64>,
    /// What the lowest and the highest place mean: `0`, `10⁶`, `−10³`. `None` without a value.
    pub ends: Option<[String; 2]>,
}

/// Something to see on the chart beside the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Where it is.
    pub index: Index,
    /// How good it is.
    pub tone: Tone,
    /// A word for it; empty if the event log says it.
    pub label: String,
}

impl Model {
    /// The incidents and the changes of leader that the chart marks.
    #[must_use]
    pub fn sights(&self) -> Vec<Sight> {
        let incidents = self.placed_incidents().map(|(index, incident)| Sight {
            index,
            tone: incident.tone(),
            label: String::new(),
        });
        let terms = self.terms.iter().skip(1).map(|(index, term)| Sight {
            index: *index,
            tone: Tone::Busy,
            label: format!("term {term}"),
        });
        incidents.chain(terms).collect()
    }
}

impl Series {
    /// A snapshot replaced whatever came before.
    pub fn restart(&mut self, snapshot: &Snapshot) {
        self.begin(snapshot.position().index.0, snapshot.value());
    }

    /// The events of `batch` were applied to `value_before`.
    pub fn append(&mut self, batch: &Batch, value_before: i64) {
        let continues = self.first + self.values.len() as u64 == batch.first().0;
        if !continues || self.values.is_empty() {
            self.begin(batch.first().0 - 1, value_before);
        }
        for event in batch.events(value_before) {
            self.push(Some(event.operation), event.value);
        }
    }

    /// Events before the first one, as far back as `event` knows them without a hole.
    pub fn extend_back(&mut self, event: impl Fn(Index) -> Option<Event>) {
        while self.values.len() < CAPACITY
            && let Some(first) = event(Index(self.first)).filter(|first| self.values.front() == Some(&first.value))
        {
            // The value before it is that of the event before it; before all events it is 0.
            let before = self.first - 1;
            let value = if before == 0 { Some(0) } else { event(Index(before)).map(|event| event.value) };
            let (Some(value), Some(operation)) = (value, self.operations.front_mut()) else { return };
            *operation = Some(first.operation);
            self.values.push_front(value);
            self.decades.push_front(decades(value));
            self.operations.push_front(None);
            self.first = before;
        }
    }

    fn begin(&mut self, index: u64, value: i64) {
        self.values.clear();
        self.decades.clear();
        self.operations.clear();
        self.first = index;
        self.push(None, value);
    }

    fn push(&mut self, operation: Option<Operation>, value: i64) {
        if self.values.len() == CAPACITY {
            self.values.pop_front();
            self.decades.pop_front();
            self.operations.pop_front();
            self.first += 1;
        }
        self.values.push_back(value);
        self.decades.push_back(decades(value));
        self.operations.push_back(operation);
    }

    /// The first index that has a value.
    #[must_use]
    pub fn first(&self) -> Index {
        Index(self.first)
    }

    /// The newest index, if there is a value.
    fn last(&self) -> Option<u64> {
        (self.first + self.values.len() as u64).checked_sub(1).filter(|_| !self.values.is_empty())
    }

    /// The event at `index`; only its value if a snapshot gave it.
    #[must_use]
    pub fn at(&self, index: Index) -> Option<(Index, Option<Event>, i64)> {
        let place = usize::try_from(index.0.checked_sub(self.first)?).ok()?;
        let value = *self.values.get(place)?;
        let operation = *self.operations.get(place)?;
        Some((index, operation.map(|operation| Event { index, operation, value }), value))
    }

    /// The newest events in `width` columns of pixels, for cells of `scale` events.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "columns are few and positive"
    )]
    pub fn plot(&self, width: u32, scale: u64) -> Plot {
        let Some(to) = self.last() else { return Plot::default() };
        let span = (EVENTS_PER_CELL * scale).min(CAPACITY as u64);
        let from = (to + 1).saturating_sub(span).max(self.first);
        let known = self.decades.range(usize::try_from(from - self.first).unwrap_or(0)..);
        let (low, high) = known.clone().fold((f32::MAX, f32::MIN), |(low, high), &at| (low.min(at), high.max(at)));
        let (bottom, top) = (low.floor(), high.ceil().max(low.floor() + 1.0));
        let height = |at: f32| f64::from((at - bottom) / (top - bottom));
        let right = width.saturating_sub(1);
        let per_event = f64::from(right) / (span - 1).max(1) as f64;
        let mut columns: Vec<Column> = Vec::new();
        for (index, &at_decade) in (from..).zip(known) {
            let at = right - ((to - index) as f64 * per_event) as u32;
            let last = height(at_decade);
            match columns.last_mut() {
                Some(column) if column.at == at => {
                    (column.low, column.high, column.last) = (column.low.min(last), column.high.max(last), last);
                }
                _ => columns.push(Column { at, low: last, high: last, last }),
            }
        }
        let zero = (low <= 0.0 && high >= 0.0).then(|| height(0.0));
        let ends = Some([power(bottom as i32), power(top as i32)]);
        Plot { columns, to, span, zero, ends }
    }
}

impl Plot {
    /// The index at a place from 0 at the left to 1 at the right.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a window has few events"
    )]
    pub fn index_at(&self, place: f64) -> Index {
        let behind = (self.span.saturating_sub(1) as f64 * (1.0 - place.clamp(0.0, 1.0))).round() as u64;
        Index(self.to.saturating_sub(behind))
    }

    /// The place of an index from 0 at the left to 1 at the right, if the window has it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a window has few events")]
    pub fn place_of(&self, index: Index) -> Option<f64> {
        let behind = self.to.checked_sub(index.0).filter(|behind| *behind < self.span)?;
        Some(1.0 - behind as f64 / self.span.saturating_sub(1).max(1) as f64)
    }
}

/// A value on a symmetric logarithmic scale, on which values of every size can be told apart: the decimal logarithm of its
/// size and one, with its sign. The chart ends at whole numbers of it, so that its scale seldom changes.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a pixel needs no more digits")]
fn decades(value: i64) -> f32 {
    ((value.unsigned_abs() as f64 + 1.0).log10() * value.signum() as f64) as f32
}

/// The value at a whole number of decades.
fn power(decades: i32) -> String {
    let digits = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];
    let sign = if decades < 0 { "−" } else { "" };
    let exponent: String =
        decades.unsigned_abs().to_string().bytes().map(|digit| digits[usize::from(digit - b'0')]).collect();
    if decades == 0 { "0".to_owned() } else { format!("{sign}10{exponent}") }
}

#[cfg(test)]
mod tests {
    use engine::{Digest, LogId, Position, Term, Timestamp};

    use super::*;

    fn batch(first: u64, operations: Vec<Operation>) -> Batch {
        Batch::new(Term(1), Index(first), operations, Digest(0), Timestamp(0)).unwrap()
    }

    #[test]
    fn each_event_has_a_point_that_can_be_read() {
        let mut series = Series::default();
        series.append(&batch(11, vec![Operation::Add(9), Operation::PowerOfTwo]), 0);
        series.append(&batch(13, vec![Operation::Subtract(100)]), 81);
        let plot = series.plot(120, 1);
        assert_eq!((plot.to, plot.columns.len()), (13, 4));
        assert_eq!(plot.columns.last().unwrap().at, 119);
        let read =
            |place| series.at(plot.index_at(place)).map(|(index, event, value)| (index.0, event.is_some(), value));
        assert_eq!(read(1.0), Some((13, true, -19)));
        assert_eq!(series.at(Index(10)).map(|(_, event, value)| (event, value)), Some((None, 0)));
        assert_eq!(series.at(Index(14)), None);
    }

    #[test]
    fn the_scale_is_named_at_both_ends() {
        let mut series = Series::default();
        series.append(&batch(1, vec![Operation::Subtract(100), Operation::Add(i64::MAX)]), 0);
        assert_eq!(series.plot(120, 1).ends.unwrap(), ["−10³", "10¹⁹"]);
        assert_eq!([power(0), power(1), power(-1)], ["0", "10¹", "−10¹"]);
    }

    #[test]
    fn older_events_go_before_the_others_until_there_is_a_hole() {
        let event = |index: u64, value| Event { index: Index(index), operation: Operation::Add(1), value };
        let mut series = Series::default();
        series.append(&batch(13, vec![Operation::Add(1)]), 12);
        let known = |from: u64| {
            move |index: Index| (index.0 >= from && index.0 <= 13).then(|| event(index.0, index.0.cast_signed()))
        };
        series.extend_back(|index| known(13)(index).filter(|_| false));
        assert_eq!(series.at(Index(11)), None);
        series.extend_back(known(9));
        assert_eq!(series.at(Index(10)), Some((Index(10), Some(event(10, 10)), 10)));
        assert_eq!(series.at(Index(9)), Some((Index(9), None, 9)));
        assert_eq!(series.at(Index(8)), None);
        series.extend_back(known(1));
        assert_eq!(series.at(Index(0)), Some((Index(0), None, 0)));
        // What contradicts the value that is held is left out.
        let mut other = Series::default();
        other.append(&batch(13, vec![Operation::Add(1)]), 50);
        other.extend_back(known(1));
        assert_eq!(other.at(Index(11)), None);
    }

    #[test]
    fn values_of_every_size_have_their_own_height_and_zero_is_between() {
        let mut series = Series::default();
        let operations = vec![
            Operation::Add(9),
            Operation::Add(i64::MAX - 9),
            Operation::Subtract(i64::MAX),
            Operation::Subtract(99),
        ];
        series.append(&batch(1, operations), 0);
        let plot = series.plot(120, 1);
        let heights: Vec<f64> = plot.columns.iter().map(|column| column.last).collect();
        assert!(heights.iter().all(|height| (0.0..=1.0).contains(height)), "{heights:?}");
        let [start, nine, most, zero, negative] = heights[..] else { panic!("{heights:?}") };
        assert!(negative < zero && zero < nine && nine < most);
        assert!((start - zero).abs() < 1e-6 && plot.zero == Some(zero));
    }

    #[test]
    fn many_events_share_a_column_that_shows_how_far_they_reach() {
        let mut series = Series::default();
        for first in (1..=60_001_u64).step_by(1_000) {
            let operations = (0..500).flat_map(|_| [Operation::Add(999), Operation::Subtract(999)]).collect();
            series.append(&batch(first, operations), 0);
        }
        let plot = series.plot(400, 1_000);
        assert_eq!((plot.columns.len(), plot.span), (400, 60_000));
        let column = plot.columns[200];
        assert!((column.high - column.low - 1.0).abs() < 1e-6, "{column:?}");
    }

    #[test]
    fn a_snapshot_and_a_gap_start_a_new_line() {
        let mut series = Series::default();
        series.append(&batch(1, vec![Operation::Add(1)]), 0);
        let position = Position { index: Index(50), digest: Digest(5) };
        series.restart(&Snapshot::take(LogId(1), position, 7));
        assert_eq!((series.at(Index(1)), series.plot(240, 1).columns.len()), (None, 1));
        series.append(&batch(51, vec![Operation::Add(1)]), 7);
        series.append(&batch(60, vec![Operation::Add(1)]), 8);
        assert_eq!(series.plot(240, 1).columns.len(), 2);
    }
}
