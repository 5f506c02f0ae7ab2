//! What the components are shown: signals that change at most once per animation frame.

use engine::Event;
use leptos::prelude::*;

use crate::model::last_operation::OperationStatus;
use crate::model::news::Item;
use crate::model::resync::ResyncLine;
use crate::model::status::Status;
use crate::model::{Model, Now, Numbers};

/// How many rows of the event log exist at once: those that the largest screen shows, and on each side as many as a quick
/// scroll passes in one frame.
pub(super) const ROWS: usize = 104;

/// A row of the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its place in the list; 0 is the top.
    pub(super) place: usize,
    pub(super) event: Event,
}

/// What the components are shown.
#[derive(Clone, Copy)]
pub(super) struct Signals {
    pub(super) status: RwSignal<Status>,
    pub(super) numbers: RwSignal<Numbers>,
    pub(super) first_resync: RwSignal<Option<ResyncLine>>,
    pub(super) reconnect: RwSignal<Option<ResyncLine>>,
    /// What screen readers announce.
    pub(super) announcement: RwSignal<&'static str>,
    /// The last operation that was submitted.
    pub(super) operation: RwSignal<Option<OperationStatus>>,
    pub(super) news: RwSignal<Vec<Item>>,
    /// A row keeps its element: scrolling moves elements, new events replace their text.
    pub(super) rows: [RwSignal<Option<Row>>; ROWS],
    /// How many events the log shows, of which only some have a row.
    pub(super) log_length: RwSignal<usize>,
    /// How many events came since the log was paused; `None` while it moves.
    pub(super) log_missed: RwSignal<Option<u64>>,
    news_version: StoredValue<u64>,
}

impl Signals {
    pub(super) fn new(model: &Model, now: Now) -> Self {
        Self {
            status: RwSignal::new(model.status(now)),
            numbers: RwSignal::new(model.numbers()),
            first_resync: RwSignal::new(None),
            reconnect: RwSignal::new(None),
            announcement: RwSignal::new(""),
            operation: RwSignal::new(model.operation_status(now)),
            news: RwSignal::new(Vec::new()),
            rows: std::array::from_fn(|_| RwSignal::new(None)),
            log_length: RwSignal::new(0),
            log_missed: RwSignal::new(None),
            news_version: StoredValue::new(0),
        }
    }

    /// Updates every signal whose value has changed. The log shows `rows` rows from `first_row` on.
    pub(super) fn update(&self, model: &mut Model, now: Now, first_row: usize, rows: usize) {
        replace(self.status, model.status(now));
        replace(self.numbers, model.numbers());
        replace(self.announcement, model.announce(now));
        replace(self.operation, model.operation_status(now));
        if self.first_resync.with_untracked(|line| line.as_ref() != model.first_resync()) {
            self.first_resync.set(model.first_resync().cloned());
        }
        if self.reconnect.with_untracked(|line| line.as_ref() != model.reconnect()) {
            self.reconnect.set(model.reconnect().cloned());
        }
        if self.news_version.get_value() != model.news_version() {
            self.news_version.set_value(model.news_version());
            self.news.set(model.news().cloned().collect());
        }
        let log = model.log();
        replace(self.log_length, log.len());
        replace(self.log_missed, log.missed());
        let last = (first_row + rows.min(ROWS)).min(log.len());
        for (slot, row) in self.rows.iter().enumerate() {
            // The one place in the window that this element shows.
            let place = first_row + (slot + ROWS - first_row % ROWS) % ROWS;
            let event = if place < last { log.get(place) } else { None };
            replace(*row, event.map(|event| Row { place, event }));
        }
    }
}

/// Sets a signal only to a new value, because setting it updates everything that shows it.
fn replace<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|present| *present != value) {
        signal.set(value);
    }
}
