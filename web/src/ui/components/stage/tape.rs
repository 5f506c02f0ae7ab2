//! A lane's window on the log: cells that slide to the left as the log grows.

use crate::format;
use crate::model::stage::{Cell, Strip};
use crate::ui::elements::Spot;
use crate::ui::frame::CELLS;

/// After how many cells the tape starts to count its places anew, before they lose precision.
const SLIDES: u64 = 1_000;

/// The elements of a tape. A cell keeps its element while the tape slides.
pub(super) struct Tape {
    sliding: Spot,
    cells: Vec<CellSpots>,
    strip: Strip,
    /// The number of the cell at the left end of the tape, before it slides.
    base: u64,
}

struct CellSpots {
    cell: Spot,
    index: Spot,
    text: Spot,
}

impl Tape {
    /// The tape in a lane.
    pub(super) fn new(lane: &Spot) -> Self {
        let sliding = lane.part(".sliding");
        let cells = sliding.part(".cell").repeated(CELLS).into_iter();
        let cells = cells.map(|cell| CellSpots { index: cell.part("small"), text: cell.part("span"), cell }).collect();
        Self { sliding, cells, strip: Strip::default(), base: 0 }
    }

    /// Shows a strip with these cells.
    pub(super) fn show(&mut self, strip: Strip, cell: impl Fn(u64) -> Cell) {
        let before = std::mem::replace(&mut self.strip, strip);
        let follows = (before.scale, before.cells) == (strip.scale, strip.cells)
            && strip.first >= before.first
            && strip.first - before.first <= 4
            && strip.first - self.base < SLIDES;
        if !follows {
            self.base = strip.first;
        }
        self.sliding.class(if follows { "sliding" } else { "sliding leap" });
        self.sliding.style("transform", &format!("translateX({})", format::percent(-self.percent(strip.first))));
        let width = format::percent(self.percent(self.base + 1));
        for number in strip.first..strip.first + strip.cells {
            let slot = usize::try_from(number % strip.cells).unwrap_or_default();
            let Some(spots) = self.cells.get(slot) else { continue };
            let cell = cell(number);
            spots.cell.hide(false);
            spots.cell.class(cell.state.class());
            spots.cell.style("left", &format::percent(self.percent(number)));
            spots.cell.style("width", &width);
            spots.index.text(&cell.index);
            spots.text.text(&cell.text);
        }
        for spare in self.cells.iter().skip(usize::try_from(strip.cells).unwrap_or(CELLS)) {
            spare.cell.hide(true);
        }
    }

    /// Where a cell lies from the base, in hundredths of a percent of the strip.
    fn percent(&self, cell: u64) -> i64 {
        let cells = i64::try_from(self.strip.cells.max(1)).unwrap_or(1);
        (cell.cast_signed() - self.base.cast_signed()) * 10_000 / cells
    }
}
