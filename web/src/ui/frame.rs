//! What the components show in one animation frame.

use std::ops::Range;

use crate::model::past::Past;
use crate::model::scroll::Scroll;
use crate::model::stage::Strip;
use crate::model::status::Status;
use crate::model::telling::Telling;
use crate::model::{Model, Now};

/// How many rows of the event log exist at once: those that the largest screen shows, and on each side as many as a quick
/// scroll passes in one frame.
pub(super) const ROWS: usize = 104;

/// How many cells the widest strip has.
pub(super) const CELLS: usize = 24;

/// Writes what a component shows. Called once in each frame in which something may have changed.
pub(super) type Show = Box<dyn FnMut(&mut Frame)>;

/// The model, and what more than one component shows of it.
pub(super) struct Frame<'a> {
    pub(super) model: &'a mut Model,
    pub(super) now: Now,
    pub(super) status: Status,
    pub(super) past: Past,
    pub(super) telling: Option<Telling>,
    pub(super) strip: Strip,
    /// How many events a cell holds while nothing is told.
    pub(super) scale: u64,
    pub(super) scroll: &'a Scroll,
    /// The lines of the event log that have a row.
    pub(super) places: Range<u64>,
}

impl Frame<'_> {
    /// Whether more than 80 events come in a second, so that nobody can follow each.
    pub(super) fn is_fast(&self) -> bool {
        self.scale >= 100
    }
}
