//! Copies what the model shows into the signals, at most once per animation frame.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use follower::SharedInjector;
use leptos::leptos_dom::helpers::AnimationFrameRequestHandle;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::browser;
use super::signals::{ROWS, Signals};
use crate::model::Model;

/// Over how many view updates the average time is taken.
const MEASURED: usize = 60;

/// How many rows exist beyond the visible ones on each side, so that a quick scroll shows no empty rows.
const OVERSCAN: usize = 36;

/// Which part of the event log is visible, in CSS pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Viewport {
    pub(super) top: f64,
    pub(super) height: f64,
    /// The height of a row.
    pub(super) row: f64,
}

/// Requests an animation frame when something changed, and updates the signals in it.
///
/// Browsers give hidden tabs no frames. So a hidden tab costs nothing here, and when it is shown again it gets the frame that
/// it requested and shows the newest state.
pub(super) struct Painter {
    model: Rc<RefCell<Model>>,
    signals: Signals,
    viewport: Cell<Viewport>,
    /// How many cells of the strip there is room for.
    cells: Cell<u64>,
    injector: SharedInjector,
    asked: RefCell<Option<AnimationFrameRequestHandle>>,
    /// How long the newest view updates took, in milliseconds.
    times: RefCell<VecDeque<f64>>,
    updates: Cell<usize>,
}

impl Painter {
    pub(super) fn new(model: Rc<RefCell<Model>>, injector: SharedInjector) -> Self {
        let signals = Signals::new(&model.borrow(), browser::now());
        Self {
            model,
            signals,
            viewport: Cell::default(),
            cells: Cell::new(12),
            injector,
            asked: RefCell::default(),
            times: RefCell::default(),
            updates: Cell::default(),
        }
    }

    pub(super) fn signals(&self) -> Signals {
        self.signals
    }

    /// Another part of the event log is visible.
    pub(super) fn look_at(self: &Rc<Self>, viewport: Viewport) {
        if self.viewport.replace(viewport) != viewport {
            self.request();
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
        let Viewport { top, height, row } = self.viewport.get();
        let first = rows(top, row).saturating_sub(OVERSCAN);
        let visible = rows(height, row) + 2;
        let last = rows(top, row) + visible + OVERSCAN;
        self.signals.update(
            &mut self.model.borrow_mut(),
            browser::now(),
            first,
            (last - first).min(ROWS),
            self.cells.get(),
        );
        // The effects of the signals are queued as tasks by now; this task runs after them.
        spawn_local(async move { self.measured(browser::millis() - began) });
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a list is a few thousand pixels high")]
fn rows(pixels: f64, row: f64) -> usize {
    // A row is at least one pixel high; before the first one is measured, its height is 0.
    (pixels / row.max(1.0)).max(0.0) as usize
}
