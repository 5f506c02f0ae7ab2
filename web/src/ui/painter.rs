//! Shows what the model says, at most once per animation frame.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use follower::SharedInjector;
use leptos::leptos_dom::helpers::AnimationFrameRequestHandle;
use leptos::prelude::*;

use super::browser;
use super::frame::{Frame, ROWS, Show};
use super::leader::Leader;
use super::reader::Reader;
use crate::model::Model;
use crate::model::scroll::Scroll;

/// Over how many view updates the average time is taken.
const MEASURED: usize = 60;

/// How many rows exist beyond the visible ones on each side, so that a quick scroll shows no empty rows.
const OVERSCAN: u64 = 36;

/// The same while the newest rows are in view, which all change with each event.
const OVERSCAN_AT_TOP: u64 = 6;

type SetTop = Box<dyn Fn(u64)>;

/// Begins to show a component, once it is mounted.
type Begin = Box<dyn FnOnce() -> Show>;

/// Requests an animation frame when something changed, and shows the components in it.
///
/// Browsers give hidden tabs no frames. So a hidden tab costs nothing here, and when it is shown again it gets the frame that
/// it requested and shows the newest state.
pub(super) struct Painter {
    model: Rc<RefCell<Model>>,
    begins: RefCell<Vec<Begin>>,
    shows: RefCell<Vec<Show>>,
    /// Which part of the event log is in view.
    scroll: RefCell<Scroll>,
    /// Sets the `scrollTop` of the event log.
    set_top: RefCell<Option<SetTop>>,
    reader: Reader,
    /// The height of the event log's rows and of its list, in pixels.
    row: Cell<u32>,
    viewport: Cell<u32>,
    /// Where to scroll to once the list is high enough.
    jump: Cell<Option<u64>>,
    /// How many cells of the strip there is room for.
    cells: Cell<u64>,
    injector: SharedInjector,
    asked: RefCell<Option<AnimationFrameRequestHandle>>,
    /// How long the newest view updates took, in milliseconds.
    times: RefCell<VecDeque<f64>>,
    updates: Cell<usize>,
}

impl Painter {
    pub(super) fn new(model: Rc<RefCell<Model>>, leader: &Leader, injector: SharedInjector) -> Self {
        let reader = Reader::new(Rc::clone(&model), leader);
        Self {
            model,
            begins: RefCell::default(),
            shows: RefCell::default(),
            scroll: RefCell::new(Scroll::new(28)),
            set_top: RefCell::default(),
            reader,
            row: Cell::default(),
            viewport: Cell::default(),
            jump: Cell::default(),
            cells: Cell::new(12),
            injector,
            asked: RefCell::default(),
            times: RefCell::default(),
            updates: Cell::default(),
        }
    }

    /// Shows one more component from the next frame on.
    pub(super) fn add(&self, begin: Begin) {
        self.begins.borrow_mut().push(begin);
    }

    /// The event log has rows of `row` pixels in a list of `height` pixels; `set_top` scrolls it.
    pub(super) fn show_log(self: &Rc<Self>, row: u32, height: u32, set_top: impl Fn(u64) + 'static) {
        if self.row.replace(row) != row {
            // The same line stays at the top.
            let mut scroll = self.scroll.borrow_mut();
            let first = scroll.visible().start;
            *scroll = Scroll::new(row);
            let resized = scroll.resize(self.model.borrow().history().len(), height);
            self.jump.set(scroll.go_to(first).or(resized).or(self.jump.take()));
        }
        self.viewport.set(height);
        self.set_top.replace(Some(Box::new(set_top)));
        self.request();
    }

    /// A person scrolled the event log.
    pub(super) fn scroll_log(self: &Rc<Self>, top: u64) {
        let moved = self.scroll.borrow_mut().handle_scroll(top);
        self.move_log(moved);
        self.request();
    }

    /// Shows the line at `place` at the top of the event log.
    pub(super) fn go_to_line(self: &Rc<Self>, place: u64) {
        let rows = self.model.borrow().history().len();
        let mut scroll = self.scroll.borrow_mut();
        let resized = scroll.resize(rows, self.viewport.get());
        // What an earlier call wanted still has to be done if this one finds that it is there already.
        self.jump.set(scroll.go_to(place).or(resized).or(self.jump.take()));
        drop(scroll);
        self.request();
    }

    /// Whether the newest line of the event log is in view.
    pub(super) fn is_at_the_newest(&self) -> bool {
        self.scroll.borrow().is_at_top()
    }

    fn move_log(&self, top: Option<u64>) {
        if let (Some(top), Some(set_top)) = (top, &*self.set_top.borrow()) {
            set_top(top);
        }
    }

    /// There is room for another number of cells.
    pub(super) fn show_cells(self: &Rc<Self>, cells: u64) {
        if self.cells.replace(cells) != cells {
            self.request();
        }
    }

    /// Something may have changed.
    pub(super) fn request(self: &Rc<Self>) {
        let mut asked = self.asked.borrow_mut();
        if asked.is_none() {
            let painter = Rc::clone(self);
            *asked = request_animation_frame_with_handle(move || painter.paint()).ok();
        }
    }

    /// Stops painting.
    pub(super) fn stop(&self) {
        if let Some(asked) = self.asked.take() {
            asked.cancel();
        }
    }

    /// Tells the model what the injector did since it was last asked.
    pub(super) fn hear_injector(&self) {
        let now = browser::now();
        if self.injector.lock().is_idle() {
            self.model.borrow_mut().handle_armed(None);
        }
        while let Some(struck) = self.injector.lock().poll_struck() {
            self.model.borrow_mut().handle_struck(&struck, now);
        }
    }

    fn paint(self: Rc<Self>) {
        self.asked.take();
        let began = browser::millis();
        self.hear_injector();
        let (places, visible) = {
            let mut scroll = self.scroll.borrow_mut();
            let moved = scroll.resize(self.model.borrow().history().len(), self.viewport.get());
            self.jump.set(moved.or(self.jump.take()));
            let visible = scroll.visible();
            let beyond = if scroll.is_at_top() { OVERSCAN_AT_TOP } else { OVERSCAN };
            let places = visible.start.saturating_sub(beyond)..visible.end + beyond;
            (places.start..places.end.min(places.start + ROWS as u64), visible)
        };
        self.show(places);
        self.reader.read(visible, &self);
        if self.model.borrow().plays() {
            self.request();
        }
        self.move_log(self.jump.take());
        self.measured(browser::millis() - began);
    }

    fn show(&self, places: Range<u64>) {
        let begins = self.begins.take();
        self.shows.borrow_mut().extend(begins.into_iter().map(|begin| begin()));
        let model = &mut *self.model.borrow_mut();
        let now = browser::now();
        let telling = model.telling(now);
        let strip = model.strip(telling.as_ref(), self.cells.get(), now);
        let (past, status) = (model.past(now, browser::utc_offset()), model.status(now));
        let scale = model.scale();
        let mut frame =
            Frame { scale, model, now, status, past, telling, strip, scroll: &self.scroll.borrow(), places };
        for show in &mut *self.shows.borrow_mut() {
            show(&mut frame);
        }
    }

    fn measured(&self, took: f64) {
        let mut times = self.times.borrow_mut();
        if times.len() == MEASURED {
            times.pop_front();
        }
        times.push_back(took);
        self.updates.set(self.updates.get() + 1);
        // Writing the average costs time too, so it is not written each time.
        if self.updates.get().is_multiple_of(MEASURED / 4)
            && let Some(root) = document().document_element()
        {
            // In microseconds: writing a fraction would take much more code.
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "there are few, and each is short"
            )]
            let average = (times.iter().sum::<f64>() * 1_000.0 / times.len() as f64) as i32;
            let _ = root.set_attribute("data-frame-us", &average.to_string());
        }
    }
}
