//! Time travel: a slider over the retained history, and play from there.

use std::rc::Rc;

use engine::Index;
use leptos::prelude::*;

use super::flag;

use super::term::word;
use super::text;
use crate::format;
use crate::glossary::Word;
use crate::model::past::Past;
use crate::ui::browser;
use crate::ui::session::Session;
use crate::ui::signals::Signals;

/// How fast history can be played, in events a second.
const SPEEDS: [u32; 5] = [1, 4, 20, 100, 1_000];

#[component]
pub(super) fn TravelCard(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let past = signals.past;
    let speed = RwSignal::new(SPEEDS[1]);
    let of = move |get: fn(&Past) -> String| text(move || past.with(get));
    let is_live = move || past.with(|past| past.state == "live");
    let travel = move |event| {
        if let Ok(index) = event_target_value(&event).parse() {
            session.with_value(|session| session.change(|model| model.travel_mut().go_to(Index(index))));
        }
    };
    let play = move |speed: u32| {
        session.with_value(|session| {
            session.change(|model| {
                let at = browser::now().at;
                if model.travel_mut().target().is_none() {
                    // From where history starts.
                    let (first, _) = model.travel_mut().range();
                    model.travel_mut().go_to(first);
                }
                model.travel_mut().play(speed.into(), at);
            });
        });
    };
    let toggle = move |_| {
        if past.with_untracked(|past| past.speed == 0) {
            play(speed.get_untracked());
        } else {
            session.with_value(|session| session.change(|model| model.travel_mut().pause(browser::now().at)));
        }
    };
    let choose = move |event| {
        speed.set(event_target_value(&event).parse().unwrap_or(SPEEDS[0]));
        if past.with_untracked(|past| past.speed != 0) {
            play(speed.get_untracked());
        }
    };
    let live = move |_| session.with_value(|session| session.change(|model| model.travel_mut().back_to_live()));
    view! {
        <section class="card travel" aria-labelledby="travel-title" data-testid="travel" data-value=of(|past| past.state.to_owned())>
            <h2 id="travel-title" class="for-screen-readers">"Travel through history"</h2>
            <span class="end-of-rail">{of(|past| format::index(Index(past.first)))} " " {word(Word::Floor, "floor")}</span>
            <input
                type="range"
                aria-label="Index in history"
                aria-valuetext=of(|past| format::index(Index(past.index)))
                data-testid="travel-slider"
                prop:min=of(|past| past.first.to_string())
                prop:max=of(|past| past.last.to_string())
                prop:value=of(|past| past.index.to_string())
                on:input=travel
            />
            <span class="end-of-rail">{of(|past| format::index(Index(past.last)))} " " {word(Word::Tail, "tail")}</span>
            <button type="button" data-testid="travel-play" aria-label=of(|past| if past.speed == 0 { "Play history" } else { "Pause history" }.to_owned()) on:click=toggle>
                {of(|past| if past.speed == 0 { "▶" } else { "❚❚" }.to_owned())}
            </button>
            <select aria-label="Speed" data-testid="travel-speed" on:change=choose>
                {SPEEDS
                    .map(|speed| {
                        let label = format!("{} a second", format::grouped_count(speed.into()));
                        view! { <option value=speed.to_string() selected=speed == SPEEDS[1]>{label}</option> }
                    })
                    .into_iter()
                    .collect_view()}
            </select>
            <button type="button" class="strong" data-testid="travel-live" disabled=is_live on:click=live>
                "Back to live"
            </button>
            <p class="there" class:wrong=flag(move || past.with(|past| past.is_wrong)) data-testid="there">
                <b data-testid="past-value">{of(|past| past.value.clone())}</b>
                " "
                {of(|past| past.text.clone())}
                " "
                <small data-testid="past-digest">{of(|past| past.digest.clone())}</small>
            </p>
        </section>
    }
}
