//! The half of the page that needs a browser.

mod browser;
mod channel;
mod components;
mod elements;
mod frame;
mod leader;
mod painter;
mod reader;
mod sender;
mod session;
mod session_storage;
mod watch;

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::HtmlElement;

use components::App;

/// The id of the element of `index.html` that holds the page.
const PLACE: &str = "page";

/// Mounts the page in place of what `index.html` shows while it loads.
pub fn mount() {
    console_error_panic_hook::set_once();
    let place = document().get_element_by_id(PLACE).and_then(|place| place.dyn_into::<HtmlElement>().ok());
    if let Some(place) = place {
        place.set_inner_html("");
        mount_to(place, App).forget();
    } else {
        mount_to_body(App);
    }
}
