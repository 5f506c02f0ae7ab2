//! Scrolling through lists that are higher than a browser's elements can be.
//!
//! A million rows of 30 px are 30 million px, and browsers stop somewhere above ten million. So the scrolled element is at
//! most [`MAX_HEIGHT`] high, and [`Scroll`] knows which pixel of the list is shown. A wheel, a key or a finger moves the
//! list by as many pixels as the element; a jump, by dragging the scroll bar, moves it in proportion. Both ends of the list are
//! shown pixel for pixel.

use std::ops::Range;

/// The largest height of the scrolled element, in pixels.
pub const MAX_HEIGHT: u64 = 8_000_000;

/// So many pixels at each end of a higher list are shown pixel for pixel.
const ENDS: u64 = 1_000_000;

/// How far the element may be from the place in proportion before it is moved there.
const DRIFT: u64 = ENDS / 2;

/// Which part of a list is shown, in a viewport over an element that scrolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scroll {
    rows: u64,
    row_height: u64,
    viewport: u64,
    /// The pixel of the list at the upper edge of the viewport.
    offset: u64,
    /// The element's `scrollTop`, as far as is known.
    top: u64,
}

impl Scroll {
    /// An empty list with rows of `row_height` pixels, at least 1.
    #[must_use]
    pub fn new(row_height: u32) -> Self {
        Self { rows: 0, row_height: row_height.max(1).into(), viewport: 0, offset: 0, top: 0 }
    }

    /// The list has `rows` rows now, in a viewport of `viewport` pixels. The same rows stay in view. Returns the
    /// `scrollTop` to set, if it changes.
    pub fn resize(&mut self, rows: u64, viewport: u32) -> Option<u64> {
        (self.rows, self.viewport) = (rows, viewport.into());
        self.move_to(self.offset)
    }

    /// The list has `rows` rows now, and those that it gained are before the others. The same rows stay in view, unless the
    /// first row was: then the new ones come into view. Returns the `scrollTop` to set, if it changes.
    pub fn grow_at_the_top(&mut self, rows: u64) -> Option<u64> {
        let gained = rows.saturating_sub(self.rows) * self.row_height;
        self.rows = rows;
        self.move_to(if self.offset == 0 { 0 } else { self.offset + gained })
    }

    /// The browser has scrolled to `top`. Returns another `scrollTop` to set, if it has to change; what is in view stays.
    pub fn handle_scroll(&mut self, top: u64) -> Option<u64> {
        let moved = top.abs_diff(self.top);
        if moved > 2 * self.viewport && self.is_scaled() {
            self.top = top;
            self.offset = self.list_offset(top);
            return None;
        }
        let offset = if top >= self.top { self.offset + moved } else { self.offset.saturating_sub(moved) }
            .min(self.last_offset());
        (self.top, self.offset) = (top, offset);
        let place = self.element_top(offset);
        let is_at_an_end = offset < ENDS || offset + ENDS > self.last_offset();
        let allowed = if is_at_an_end { 0 } else { DRIFT };
        (place.abs_diff(top) > allowed).then(|| {
            self.top = place;
            place
        })
    }

    /// Shows `row` at the upper edge, or the end of the list if that comes first. Returns the `scrollTop` to set, if it
    /// changes.
    pub fn go_to(&mut self, row: u64) -> Option<u64> {
        self.move_to(row.min(self.rows).saturating_mul(self.row_height))
    }

    /// The height of the scrolled element.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.list_height().min(MAX_HEIGHT)
    }

    /// The rows that are at least partly in view.
    #[must_use]
    pub fn visible(&self) -> Range<u64> {
        let last = (self.offset + self.viewport).div_ceil(self.row_height).min(self.rows);
        (self.offset / self.row_height).min(last)..last
    }

    /// Whether the first row is in view from its first pixel on.
    #[must_use]
    pub fn is_at_top(&self) -> bool {
        self.offset == 0
    }

    /// Where a row near the viewport is in the element, in pixels from its upper edge.
    #[must_use]
    pub fn y(&self, row: u64) -> i64 {
        let in_list = (row * self.row_height).cast_signed();
        in_list - self.offset.cast_signed() + self.top.cast_signed()
    }

    fn move_to(&mut self, offset: u64) -> Option<u64> {
        self.offset = offset.min(self.last_offset());
        let top = self.element_top(self.offset);
        let moves = top != self.top;
        self.top = top;
        moves.then_some(top)
    }

    fn list_height(&self) -> u64 {
        self.rows * self.row_height
    }

    fn is_scaled(&self) -> bool {
        self.list_height() > MAX_HEIGHT
    }

    /// The largest offset: the end of the list is at the lower edge of the viewport.
    fn last_offset(&self) -> u64 {
        self.list_height().saturating_sub(self.viewport)
    }

    fn last_top(&self) -> u64 {
        self.height().saturating_sub(self.viewport)
    }

    /// The `scrollTop` that belongs to an offset.
    fn element_top(&self, offset: u64) -> u64 {
        convert(offset, self.last_offset(), self.last_top())
    }

    /// The offset that belongs to a `scrollTop`.
    fn list_offset(&self, top: u64) -> u64 {
        convert(top.min(self.last_top()), self.last_top(), self.last_offset())
    }
}

/// A place in `0..=from` as one in `0..=to`: the same at both ends, in proportion between them.
fn convert(place: u64, from: u64, to: u64) -> u64 {
    if from == to || place <= ENDS {
        return place.min(to);
    }
    let to_the_end = from - place;
    if to_the_end <= ENDS {
        return to.saturating_sub(to_the_end);
    }
    let (middle, others) = (u128::from(from - 2 * ENDS), u128::from(to - 2 * ENDS));
    let scaled = u128::from(place - ENDS) * others / middle;
    ENDS + u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: u32 = 30;
    const VIEW: u32 = 400;

    fn list(rows: u64) -> Scroll {
        let mut scroll = Scroll::new(ROW);
        assert_eq!(scroll.resize(rows, VIEW), None);
        scroll
    }

    /// The browser scrolls by `pixels`, and does what it is told.
    fn wheel(scroll: &mut Scroll, pixels: i64) {
        let top = (scroll.top.cast_signed() + pixels).clamp(0, scroll.last_top().cast_signed()).cast_unsigned();
        if let Some(set) = scroll.handle_scroll(top) {
            assert_eq!(scroll.handle_scroll(set), None, "what was set comes back as an event and changes nothing");
        }
    }

    #[test]
    fn a_short_list_scrolls_as_it_is() {
        let mut scroll = list(1_000);
        assert_eq!((scroll.height(), scroll.visible()), (30_000, 0..14));
        assert_eq!(scroll.handle_scroll(45), None);
        assert_eq!((scroll.visible(), scroll.y(1)), (1..15, 30));
        assert_eq!(scroll.handle_scroll(29_600), None);
        assert_eq!(scroll.visible(), 986..1_000);
        assert_eq!(list(3).visible(), 0..3);
        assert_eq!(list(0).visible(), 0..0);
    }

    #[test]
    fn every_row_of_a_million_is_reached() {
        let mut scroll = list(1_000_000);
        assert_eq!(scroll.height(), MAX_HEIGHT);
        for row in (0..999_986).step_by(997).chain([1, 999_986]) {
            scroll.go_to(row);
            assert_eq!(scroll.visible().start, row);
            assert_eq!(scroll.y(row), scroll.top.cast_signed(), "it is at the upper edge");
        }
        scroll.go_to(999_999);
        assert_eq!(scroll.visible(), 999_986..1_000_000, "the end of the list is at the lower edge");
        assert_eq!(scroll.top, scroll.last_top());
    }

    #[test]
    fn small_scrolls_move_pixel_by_pixel_wherever_they_begin() {
        for start in [0, 20_000, 33_320, 33_340, 500_000, 966_640, 966_700, 999_000] {
            let mut scroll = list(1_000_000);
            scroll.go_to(start);
            for (pixels, times) in [(1, 40), (100, 9_000), (-7, 100), (VIEW.into(), 4_000), (-301, 12_000)] {
                for _ in 0..times {
                    let before = scroll.offset.cast_signed();
                    wheel(&mut scroll, pixels);
                    let expected = (before + pixels).clamp(0, scroll.last_offset().cast_signed());
                    assert_eq!(scroll.offset.cast_signed(), expected, "from row {start} by {pixels}");
                }
            }
        }
    }

    #[test]
    fn scrolling_alone_reaches_both_ends_exactly() {
        let mut scroll = list(300_000);
        while scroll.offset < scroll.last_offset() {
            let before = scroll.offset;
            wheel(&mut scroll, 399);
            assert!(scroll.offset > before, "it is stuck at {before}");
        }
        assert_eq!((scroll.top, scroll.visible().end), (scroll.last_top(), 300_000));
        while !scroll.is_at_top() {
            let before = scroll.offset;
            wheel(&mut scroll, -399);
            assert!(scroll.offset < before, "it is stuck at {before}");
        }
        assert_eq!(scroll.top, 0);
    }

    #[test]
    fn dragging_moves_in_proportion() {
        let mut scroll = list(1_000_000);
        for (part, row) in [(2, 500_000), (4, 190_000), (1_000_000, 0)] {
            assert_eq!(scroll.handle_scroll(scroll.last_top() / part), None);
            assert!(scroll.visible().start.abs_diff(row) < 10_000, "1/{part}: {}", scroll.visible().start);
        }
        assert_eq!(scroll.handle_scroll(scroll.last_top()), None);
        assert_eq!(scroll.visible().end, 1_000_000);
        assert_eq!(scroll.handle_scroll(0), None);
        assert!(scroll.is_at_top());
    }

    #[test]
    fn rows_that_come_first_do_not_move_what_is_read() {
        let mut scroll = list(500_000);
        assert_eq!(scroll.grow_at_the_top(500_010), None, "at the top the new ones come into view");
        assert!(scroll.is_at_top());
        for row in [5, 250_000] {
            scroll.go_to(row);
            scroll.grow_at_the_top(scroll.rows + 7);
            assert_eq!(scroll.visible().start, row + 7);
        }
        // The oldest rows go, and with them what was in view.
        scroll.go_to(500_000);
        scroll.resize(100, VIEW);
        assert_eq!(scroll.visible().end, 100);
    }
}
