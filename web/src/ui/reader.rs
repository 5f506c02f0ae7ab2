//! Reads history from the leader: for the event log, and for travelling. One call at a time for each.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use follower::Calls;
use leptos::task::spawn_local;

use super::browser;
use super::leader::Leader;
use super::painter::Painter;
use crate::model::{Model, history, travel};

/// Makes the calls that the model wants.
pub(super) struct Reader {
    model: Rc<RefCell<Model>>,
    calls: Calls,
}

impl Reader {
    pub(super) fn new(model: Rc<RefCell<Model>>, leader: &Leader) -> Self {
        Self { model, calls: leader.calls() }
    }

    /// Makes the next calls, if there are any. `visible` are the places of the event log that are in view. `painter` shows
    /// what comes.
    pub(super) fn read(&self, visible: Range<u64>, painter: &Rc<Painter>) {
        let calls = &self.calls;
        let now = browser::now().at;
        let (page, step) = {
            let mut model = self.model.borrow_mut();
            (model.history_mut().request(visible, now), model.travel_mut().request(now))
        };
        if let Some(history::Request { first, count }) = page {
            let (calls, model, painter) = (calls.clone(), Rc::clone(&self.model), Rc::clone(painter));
            spawn_local(async move {
                let page = calls.read_events(first, count).await;
                model.borrow_mut().handle_page(page, browser::now());
                painter.request();
            });
        }
        if let Some(step) = step {
            let (calls, model, painter) = (calls.clone(), Rc::clone(&self.model), Rc::clone(painter));
            spawn_local(async move {
                match step {
                    travel::Request::Snapshot(at) => {
                        let state = calls.read_snapshot(at).await;
                        model.borrow_mut().travel_mut().handle_snapshot(state, browser::now().at);
                    }
                    travel::Request::Events { first, count } => {
                        let page = calls.read_events(first, count).await;
                        model.borrow_mut().travel_mut().handle_events(page, browser::now().at);
                    }
                }
                painter.request();
            });
        }
    }
}
