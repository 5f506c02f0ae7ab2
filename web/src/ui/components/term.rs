//! Words with an explanation, which stands at the foot of the window while it is asked for.

use leptos::prelude::*;

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
        let shown = place.element().clone();
        close.on("click", move |_| shown.set_hidden(true));
        window_event_listener_untyped("click", move |event| {
            let word = target(&event, "[data-word]").and_then(|word| word.get_attribute("data-word"));
            if let Some(word) = word.and_then(|word| Word::by_name(&word)) {
                name.text(word.name());
                meaning.text(word.meaning());
                place.element().set_hidden(false);
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
