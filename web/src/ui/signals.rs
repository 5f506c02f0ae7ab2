//! What the components are shown: signals that change at most once per animation frame.

use std::ops::Range;
use std::time::Duration;

use engine::Moment;
use leptos::prelude::*;
use wire::GeneratorStatus;

use super::browser;
use crate::format;
use crate::model::chain::Chain;
use crate::model::last_operation::OperationStatus;
use crate::model::log::LogLine;
use crate::model::news::Item;
use crate::model::past::Past;
use crate::model::resync::ResyncLine;
use crate::model::scroll::Scroll;
use crate::model::stage::{Cell, LANES, Lane, Strip};
use crate::model::status::Status;
use crate::model::telling::Telling;
use crate::model::tour::Guide;
use crate::model::{Model, Now, Numbers};

/// How many rows of the event log exist at once: those that the largest screen shows, and on each side as many as a quick
/// scroll passes in one frame.
pub(super) const ROWS: usize = 104;

/// How long text stands that changes all the time.
const READABLE: Duration = Duration::from_millis(300);

/// How many cells the widest strip has.
pub(super) const CELLS: usize = 24;

/// After how many cells the strip starts to count its places anew, before they lose precision.
const SLIDES: u64 = 1_000;

/// The strip, and where on the tape it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sliding {
    pub(super) strip: Strip,
    /// The number of the cell at the left end of the tape, before it slides.
    pub(super) base: u64,
    /// Whether the strip is somewhere else at once, without sliding there.
    pub(super) leaps: bool,
}

impl Sliding {
    fn to(self, strip: Strip) -> Self {
        let follows = (self.strip.scale, self.strip.cells) == (strip.scale, strip.cells)
            && strip.first >= self.strip.first
            && strip.first - self.strip.first <= 4
            && strip.first - self.base < SLIDES;
        if follows {
            Self { strip, base: self.base, leaps: false }
        } else {
            Self { strip, base: strip.first, leaps: true }
        }
    }

    /// Where the cell lies from the base, in hundredths of a percent of the strip.
    pub(super) fn percent(&self, cell: u64) -> i64 {
        let cells = i64::try_from(self.strip.cells.max(1)).unwrap_or(1);
        (cell.cast_signed() - self.base.cast_signed()) * 10_000 / cells
    }
}

/// A row of the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it is in the list, in pixels from its top.
    pub(super) top: i64,
    pub(super) line: LogLine,
}

/// The event log as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogState {
    /// The height of the scrolled element in pixels.
    pub(super) height: u64,
    pub(super) is_empty: bool,
    /// How many events came since it was paused; `None` while it moves.
    pub(super) missed: Option<u64>,
    /// What a filter has searched, or what is wrong.
    pub(super) note: String,
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
    /// The strip of the log on the stage.
    pub(super) sliding: RwSignal<Sliding>,
    /// A cell keeps its element while the strip slides.
    pub(super) leader_cells: [RwSignal<Cell>; CELLS],
    pub(super) own_cells: [RwSignal<Cell>; CELLS],
    pub(super) leader_lane: RwSignal<Lane>,
    pub(super) own_lane: RwSignal<Lane>,
    pub(super) lanes: [RwSignal<Option<Lane>>; LANES],
    /// The incident that is told.
    pub(super) telling: RwSignal<Option<Telling>>,
    /// What the stage says while nothing is told.
    pub(super) calm: RwSignal<String>,
    /// Whether there is an incident to tell again.
    pub(super) has_incidents: RwSignal<bool>,
    /// The step of the tour.
    pub(super) guide: RwSignal<Option<Guide>>,
    /// What draws the leader's random operations.
    pub(super) generator: RwSignal<Option<GeneratorStatus>>,
    /// How many replicas there are.
    pub(super) audience: RwSignal<String>,
    /// Changes a few times a second, so that it can be read.
    pub(super) chain: RwSignal<Chain>,
    chain_at: StoredValue<Moment>,
    /// A row keeps its element: scrolling moves elements, new events replace their text.
    pub(super) rows: [RwSignal<Option<Row>>; ROWS],
    pub(super) log: RwSignal<LogState>,
    /// The journey through history.
    pub(super) past: RwSignal<Past>,
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
            sliding: RwSignal::default(),
            leader_cells: std::array::from_fn(|_| RwSignal::default()),
            own_cells: std::array::from_fn(|_| RwSignal::default()),
            leader_lane: RwSignal::default(),
            own_lane: RwSignal::default(),
            lanes: std::array::from_fn(|_| RwSignal::new(None)),
            telling: RwSignal::new(None),
            calm: RwSignal::default(),
            has_incidents: RwSignal::new(false),
            guide: RwSignal::new(None),
            generator: RwSignal::new(None),
            audience: RwSignal::default(),
            chain: RwSignal::default(),
            chain_at: StoredValue::default(),
            rows: std::array::from_fn(|_| RwSignal::new(None)),
            log: RwSignal::default(),
            past: RwSignal::default(),
            news_version: StoredValue::new(0),
        }
    }

    /// Updates every signal whose value has changed. The event log shows the lines of `places`. The strip has `cells`.
    pub(super) fn update(&self, model: &mut Model, now: Now, scroll: &Scroll, places: Range<u64>, cells: u64) {
        self.update_stage(model, now, cells);
        self.update_log(model, scroll, places);
        replace(self.past, model.past(now, browser::utc_offset()));
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
    }

    fn update_log(&self, model: &Model, scroll: &Scroll, places: Range<u64>) {
        let history = model.history();
        let note = match (history.wrong(), history.searched_back_to()) {
            (Some(wrong), _) => format!("The leader’s history contradicts itself: {}", format::with_minus(wrong)),
            (None, Some(_)) if history.has_searched_all() => format!("{} found in all of history", history.len()),
            (None, Some(index)) => format!("{} found, searched back to {}", history.len(), format::index(index)),
            (None, None) => String::new(),
        };
        let state = LogState {
            height: scroll.height(),
            is_empty: history.is_empty(),
            missed: history.is_paused().then(|| history.missed()),
            note,
        };
        replace(self.log, state);
        let offset = browser::utc_offset();
        for (slot, row) in (0..).zip(&self.rows) {
            // The one place in the window that this element shows.
            let rows = ROWS as u64;
            let place = places.start + (slot + rows - places.start % rows) % rows;
            let line = if place < places.end { model.log_line(place, offset) } else { None };
            replace(*row, line.map(|line| Row { top: scroll.y(place), line }));
        }
    }
}

impl Signals {
    fn update_stage(&self, model: &mut Model, now: Now, cells: u64) {
        let telling = model.telling(now);
        let strip = model.strip(telling.as_ref(), cells.min(CELLS as u64), now);
        replace(self.sliding, self.sliding.get_untracked().to(strip));
        for number in strip.first..strip.first + strip.cells {
            let slot = usize::try_from(number % strip.cells).unwrap_or_default();
            replace(self.leader_cells[slot], model.cell(&strip, number, true));
            let own = match &telling {
                Some(telling) => model.told_cell(telling.now(), number),
                None => model.cell(&strip, number, false),
            };
            replace(self.own_cells[slot], own);
        }
        replace(self.leader_lane, model.leader_lane(now));
        replace(self.own_lane, model.own_lane(&strip, now));
        let mut others = model.other_lanes(&strip, now).into_iter();
        for lane in self.lanes {
            replace(lane, others.next());
        }
        replace(self.guide, model.guide(now));
        replace(self.generator, model.generator());
        replace(self.audience, model.audience(telling.as_ref(), now));
        replace(self.telling, telling);
        replace(self.calm, model.calm());
        replace(self.has_incidents, model.incidents().next().is_some());
        if now.at.since(self.chain_at.get_value()) >= READABLE {
            self.chain_at.set_value(now.at);
            replace(self.chain, model.chain().clone());
        }
    }
}

/// Sets a signal only to a new value, because setting it updates everything that shows it.
fn replace<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|present| *present != value) {
        signal.set(value);
    }
}
