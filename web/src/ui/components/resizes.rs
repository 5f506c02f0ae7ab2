//! Notices when elements change their size.

use leptos::wasm_bindgen::JsCast;
use leptos::wasm_bindgen::closure::Closure;
use web_sys::{Element, ResizeObserver};

/// Calls a handler when an element changes its size, with the window or because its neighbours need room.
pub(super) struct Resizes {
    observer: Option<ResizeObserver>,
    /// Called by the browser for as long as the observer is connected.
    _handler: Closure<dyn Fn()>,
}

impl Resizes {
    pub(super) fn new(handle: impl Fn() + 'static) -> Self {
        let handler = Closure::<dyn Fn()>::new(handle);
        let observer = ResizeObserver::new(handler.as_ref().unchecked_ref()).ok();
        Self { observer, _handler: handler }
    }

    pub(super) fn watch(&self, element: &Element) {
        if let Some(observer) = &self.observer {
            observer.observe(element);
        }
    }
}

impl Drop for Resizes {
    fn drop(&mut self) {
        if let Some(observer) = &self.observer {
            observer.disconnect();
        }
    }
}
