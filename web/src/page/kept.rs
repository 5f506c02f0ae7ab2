//! What the tab keeps over a reload, in the browser's session storage: it lives as long as the tab.

use std::cell::RefCell;

use engine::Snapshot;
use leptos::prelude::window;
use web_sys::Storage;

use crate::saved::{self, Damaged, PutIn, Who};

const WHO: &str = "calculator.who";
const STATE: &str = "calculator.state";
const PUT_IN: &str = "calculator.put-in";

/// The tab's session storage. Without one, as when the person forbade it, nothing is kept and nothing else changes.
pub(super) struct Kept {
    storage: Option<Storage>,
    written: RefCell<Option<Snapshot>>,
}

impl Kept {
    pub(super) fn open() -> Self {
        Self { storage: window().session_storage().ok().flatten(), written: RefCell::new(None) }
    }

    /// The state from before the reload, if there is one.
    pub(super) fn state(&self) -> Result<Option<Snapshot>, Damaged> {
        self.read(STATE).map(|text| saved::read_state(&text)).transpose()
    }

    /// Who the tab was before the reload.
    pub(super) fn who(&self) -> Option<Who> {
        Who::read(&self.read(WHO)?).ok()
    }

    pub(super) fn write_who(&self, who: &Who) {
        self.write(WHO, &who.write());
    }

    /// Writes the state if it is another one than was written last.
    pub(super) fn write_state(&self, state: Option<Snapshot>) {
        if self.written.replace(state) == state {
            return;
        }
        match (state, &self.storage) {
            (Some(state), _) => self.write(STATE, &saved::write_state(&state)),
            // A state that was found wrong must not come back.
            (None, Some(storage)) => drop(storage.remove_item(STATE)),
            (None, None) => {}
        }
    }

    /// The operation from before the reload whose outcome is not known.
    pub(super) fn put_in(&self) -> Result<Option<PutIn>, Damaged> {
        self.read(PUT_IN).map(|text| PutIn::read(&text)).transpose()
    }

    pub(super) fn write_put_in(&self, put_in: Option<&PutIn>) {
        match (put_in, &self.storage) {
            (Some(put_in), _) => self.write(PUT_IN, &put_in.write()),
            (None, Some(storage)) => drop(storage.remove_item(PUT_IN)),
            (None, None) => {}
        }
    }

    fn read(&self, key: &str) -> Option<String> {
        self.storage.as_ref()?.get_item(key).ok().flatten()
    }

    fn write(&self, key: &str, text: &str) {
        if let Some(storage) = &self.storage {
            // A full storage costs a snapshot after the next reload, no more.
            let _ = storage.set_item(key, text);
        }
    }
}
