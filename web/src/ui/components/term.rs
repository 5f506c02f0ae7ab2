//! Words with an explanation, which stands at the foot of the window while it is asked for.

use std::cell::RefCell;
use std::rc::Rc;

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::HtmlElement;

use super::in_each_frame;
use crate::glossary::Word;
use crate::ui::elements::{Spot, target};
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

/// Where the explanations stand. Every button with the name of a [`Word`] in `data-word` asks for its explanation.
#[component]
pub(super) fn Meanings(session: Handle) -> impl IntoView {
    in_each_frame(session, || {
        let place = Spot::named("meaning");
        let [close, name, meaning] = ["button", "h3", "p"].map(|part| place.part(part));
        let (place, asked) = (Rc::new(place), Rc::new(RefCell::new(None::<HtmlElement>)));
        let (closed, asker) = (Rc::clone(&place), Rc::clone(&asked));
        close.on("click", move |_| {
            // The button is hidden with the rest, and the keyboard's focus must not be lost with it.
            let _ = asker.take().map(|asker| asker.focus());
            closed.hide(true);
        });
        window_event_listener_untyped("click", move |event| {
            let Some(button) = target(&event, "[data-word]") else { return };
            if let Some(word) = button.get_attribute("data-word").and_then(|word| Word::by_name(&word)) {
                // Shown first: screen readers tell what changes in what is shown.
                place.hide(false);
                name.text(word.name());
                meaning.text(word.meaning());
                asked.replace(Some(button.unchecked_into()));
            }
        });
        |_: &mut Frame| {}
    });
    view! {
        <div class="meaning" role="status" data-testid="meaning" hidden>
            <button type="button">"Close"</button>
            <h3></h3>
            <p></p>
        </div>
    }
}
