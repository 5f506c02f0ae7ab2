//! The browser's session storage, where a tab saves what must survive a reload. It lives as long as the tab.

use std::cell::RefCell;

use engine::Snapshot;
use leptos::prelude::window;
use web_sys::Storage;

use crate::model::tour::Stop;
use crate::saved::{self, Damaged, SavedOperation, TabIdentity};

// Open tabs hold texts under these keys, so they do not change.
const IDENTITY: &str = "calculator.who";
const STATE: &str = "calculator.state";
const OPERATION: &str = "calculator.put-in";
const TOUR: &str = "calculator.tour";
const TOKEN: &str = "calculator.token";
const INVITED: &str = "calculator.invited";

/// The tab's session storage. If the person forbade it, nothing is saved and nothing else changes.
pub(super) struct SessionStorage {
    storage: Option<Storage>,
    /// The state that was written last.
    written: RefCell<Option<Snapshot>>,
}

impl SessionStorage {
    pub(super) fn open() -> Self {
        Self { storage: window().session_storage().ok().flatten(), written: RefCell::new(None) }
    }

    /// The state from before the reload, if there is one.
    pub(super) fn state(&self) -> Result<Option<Snapshot>, Damaged> {
        self.read(STATE).map(|text| saved::read_state(&text)).transpose()
    }

    /// Writes the state if it is another one than was written last.
    pub(super) fn write_state(&self, state: Option<Snapshot>) {
        if self.written.replace(state) != state {
            // A state that was found wrong must not come back: `None` removes it.
            self.write(STATE, state.map(|state| saved::write_state(&state)));
        }
    }

    /// The tab's identity from before the reload.
    pub(super) fn identity(&self) -> Option<TabIdentity> {
        TabIdentity::read(&self.read(IDENTITY)?).ok()
    }

    pub(super) fn write_identity(&self, tab: &TabIdentity) {
        self.write(IDENTITY, Some(tab.write()));
    }

    /// The operation from before the reload whose outcome is not known.
    pub(super) fn operation(&self) -> Result<Option<SavedOperation>, Damaged> {
        self.read(OPERATION).map(|text| SavedOperation::read(&text)).transpose()
    }

    pub(super) fn write_operation(&self, operation: Option<&SavedOperation>) {
        self.write(OPERATION, operation.map(SavedOperation::write));
    }

    /// The token that a person gave this tab.
    pub(super) fn token(&self) -> Option<String> {
        self.read(TOKEN)
    }

    pub(super) fn write_token(&self, token: Option<&str>) {
        self.write(TOKEN, token.map(str::to_owned));
    }

    /// The step with which the tour goes on after the reload.
    pub(super) fn tour(&self) -> Option<Stop> {
        Stop::by_name(&self.read(TOUR)?)
    }

    pub(super) fn write_tour(&self, stop: Option<Stop>) {
        self.write(TOUR, stop.map(|stop| stop.name().to_owned()));
    }

    /// Whether this browser's person was invited to the tour before, in any tab.
    pub(super) fn is_invited(&self) -> bool {
        let storage = window().local_storage().ok().flatten();
        storage.is_none_or(|storage| storage.get_item(INVITED).ok().flatten().is_some())
    }

    pub(super) fn write_invited(&self) {
        if let Some(storage) = window().local_storage().ok().flatten() {
            let _ = storage.set_item(INVITED, "yes");
        }
    }

    fn read(&self, key: &str) -> Option<String> {
        self.storage.as_ref()?.get_item(key).ok().flatten()
    }

    /// Writes `text`, or removes what is there.
    fn write(&self, key: &str, text: Option<String>) {
        if let Some(storage) = &self.storage {
            // A full storage costs no more than a snapshot after the next reload.
            let _ = match text {
                Some(text) => storage.set_item(key, &text),
                None => storage.remove_item(key),
            };
        }
    }
}
