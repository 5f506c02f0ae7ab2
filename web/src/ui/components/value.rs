//! The live value, and whether it is in step.

use engine::Index;
use leptos::prelude::*;

use super::{flag, text};

use crate::format::{self, NOTHING};
use crate::known::Known;
use crate::ui::signals::Signals;

#[component]
pub(super) fn ValueCard(signals: Signals) -> impl IntoView {
    let Signals { status, numbers, past, .. } = signals;
    // Somewhere in the past, whose value is shown instead of the live one.
    let is_past = Memo::new(move |_| past.with(|past| past.state == "there"));
    let value = move || numbers.with(|numbers| numbers.held.map(|held| held.value()));
    let position = move || {
        let held = numbers.with(|numbers| numbers.held);
        held.map_or_else(String::new, |held| format!("{}:{}", held.position(), held.value()))
    };
    view! {
        <section class="card value-card" aria-labelledby="value-title">
            <h2 id="value-title" class="for-screen-readers">"Value"</h2>
            // Not an `output`: screen readers would read every change of it aloud.
            <p
                class="value"
                class:none=flag(move || value().is_none())
                class:past=flag(move || is_past.get())
                class:old=flag(move || numbers.with(|numbers| numbers.tail == Known::Not))
                data-testid="value"
                data-value=text(move || value().map_or_else(String::new, |value| value.to_string()))
            >
                {text(move || match is_past.get() {
                    true => past.with(|past| past.value.clone()),
                    false => value().map_or_else(|| NOTHING.to_owned(), format::grouped),
                })}
            </p>
            <span hidden data-testid="position" data-value=position></span>
            <p
                class=text(move || status.with(|status| format!("mark {}", status.mark.tone.class())))
                data-testid="in-step"
                data-value=text(move || status.with(|status| if status.mark.in_step { "yes" } else { "no" }))
            >
                <span class="sign" aria-hidden="true">{text(move || status.with(|status| status.mark.sign))}</span>
                <span>
                    <b>{text(move || status.with(|status| status.mark.title))}</b>
                    " "
                    <small>{text(move || status.with(|status| status.mark.detail.clone()))}</small>
                </span>
            </p>
            <p class="past-note" hidden=flag(move || !is_past.get()) data-testid="past-note">
                {text(move || past.with(|past| format!("The value at {} in the past. The page itself goes on, live.", format::index(Index(past.index)))))}
            </p>
        </section>
    }
}
