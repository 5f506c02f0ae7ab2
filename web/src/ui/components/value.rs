//! The live value, and whether it is in step.

use engine::Index;
use leptos::prelude::*;

use super::in_each_frame;
use crate::format::{self, NOTHING};
use crate::known::Known;
use crate::ui::elements::Spot;
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

#[component]
pub(super) fn ValueCard(session: Handle) -> impl IntoView {
    in_each_frame(session, || {
        let [value, position, mark, note] = ["value", "position", "in-step", "past-note"].map(Spot::named);
        let [sign, title, detail] = [".sign", "b", "small"].map(|part| mark.part(part));
        move |frame: &mut Frame| {
            let Frame { model, status, past, .. } = frame;
            let numbers = model.numbers();
            // Somewhere in the past, whose value is shown instead of the live one.
            let is_past = past.state == "there";
            let mut class = "value".to_owned();
            for (applies, name) in
                [(numbers.held.is_none(), " none"), (is_past, " past"), (numbers.tail == Known::Not, " old")]
            {
                class.push_str(if applies { name } else { "" });
            }
            value.class(&class);
            value.value(&numbers.held.map_or_else(String::new, |held| held.value().to_string()));
            match numbers.held {
                _ if is_past => value.text(&past.value),
                Some(held) => value.text(&format::grouped(held.value())),
                None => value.text(NOTHING),
            }
            position
                .value(&numbers.held.map_or_else(String::new, |held| format!("{}:{}", held.position(), held.value())));
            let shown = &status.mark;
            mark.class(&format!("mark {}", shown.tone.class()));
            mark.value(if shown.in_step { "yes" } else { "no" });
            sign.text(shown.sign);
            title.text(shown.title);
            detail.text(&shown.detail);
            note.hide(!is_past);
            if is_past {
                let index = format::index(Index(past.index));
                note.text(&format!("{index}, in the past. The page goes on."));
            }
        }
    });
    view! {
        <section class="card value-card" aria-labelledby="value-title">
            <h2 id="value-title" class="for-screen-readers">"Value"</h2>
            // Not an `output`: screen readers would read every change of it aloud.
            <p class="value none" data-testid="value"></p>
            <span hidden data-testid="position"></span>
            <p class="mark" data-testid="in-step">
                <span class="sign" aria-hidden="true"></span>
                <span><b></b>" "<small></small></span>
            </p>
            <p class="past-note" hidden data-testid="past-note"></p>
        </section>
    }
}
