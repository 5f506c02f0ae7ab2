//! Time travel: a slider over the retained history, and play from there.

use engine::Index;
use leptos::prelude::*;

use super::in_each_frame;
use crate::format;
use crate::ui::browser;
use crate::ui::elements::Spot;
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

#[component]
pub(super) fn TravelCard(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let [card, slider, play, speed, live, there, value, digest] = [
            "travel",
            "travel-slider",
            "travel-play",
            "travel-speed",
            "travel-live",
            "there",
            "past-value",
            "past-digest",
        ]
        .map(Spot::named);
        let [floor, tail] = ["travel-floor", "travel-tail"].map(Spot::named);
        let text = there.part("span");
        listen(session, [&slider, &play, &speed, &live]);
        move |frame: &mut Frame| {
            let past = &frame.past;
            card.value(past.state);
            floor.text(&format::index(Index(past.first)));
            tail.text(&format::index(Index(past.last)));
            slider.attribute("aria-valuetext", &format::index(Index(past.index)));
            slider.property("min", &past.first.to_string());
            slider.property("max", &past.last.to_string());
            slider.property("value", &past.index.to_string());
            let (label, sign) = if past.speed == 0 { ("Play history", "▶") } else { ("Pause history", "❚❚") };
            play.attribute("aria-label", label);
            play.text(sign);
            live.flag("aria-disabled", past.state == "live");
            there.class(if past.is_wrong { "there wrong" } else { "there" });
            value.text(&past.value);
            text.text(&past.text);
            digest.text(&past.digest);
        }
    });
    view! {
        <section class="card travel" aria-labelledby="travel-title" data-testid="travel">
            <h2 id="travel-title" class="for-screen-readers">"Travel through history"</h2>
            <span class="end-of-rail">
                <span data-testid="travel-floor"></span>
                " "
                <button type="button" class="term" data-word="floor">"floor"</button>
            </span>
            <input type="range" aria-label="Index in history" data-testid="travel-slider" />
            <span class="end-of-rail">
                <span data-testid="travel-tail"></span>
                " "
                <button type="button" class="term" data-word="tail">"tail"</button>
            </span>
            <button type="button" data-testid="travel-play" aria-label="Play history">"▶"</button>
            // Events a second.
            <select aria-label="Speed" data-testid="travel-speed">
                <option value="1">"1 a second"</option>
                <option value="4" selected>"4 a second"</option>
                <option value="20">"20 a second"</option>
                <option value="100">"100 a second"</option>
                <option value="1000">"1,000 a second"</option>
            </select>
            <button type="button" class="strong" data-testid="travel-live" aria-disabled="true">"Back to live"</button>
            <p class="there" data-testid="there">
                <b data-testid="past-value"></b>
                " "
                <span></span>
                " "
                <small data-testid="past-digest"></small>
            </p>
        </section>
    }
}

fn listen(session: Handle, [slider, play, speed, live]: [&Spot; 4]) {
    let place = slider.input().clone();
    slider.on("input", move |_| {
        if let Ok(index) = place.value().parse() {
            session.with_value(|session| session.change(|model| model.travel_mut().go_to(Index(index))));
        }
    });
    let chosen = speed.input().clone();
    let play_on = move || {
        let speed: u32 = chosen.value().parse().unwrap_or(1);
        session.with_value(|session| {
            session.change(|model| {
                if model.travel_mut().target().is_none() {
                    // From where history starts.
                    let (first, _) = model.travel_mut().range();
                    model.travel_mut().go_to(first);
                }
                model.travel_mut().play(speed.into(), browser::now().at);
            });
        });
    };
    let plays = move || session.with_value(|session| session.with_model(|model| model.plays()));
    play.on("click", {
        let play_on = play_on.clone();
        move |_| {
            if plays() {
                session.with_value(|session| session.change(|model| model.travel_mut().pause(browser::now().at)));
            } else {
                play_on();
            }
        }
    });
    speed.on("change", move |_| {
        if plays() {
            play_on();
        }
    });
    live.on("click", move |_| {
        session.with_value(|session| session.change(|model| model.travel_mut().back_to_live()));
    });
}
