//! The top of the page: its title, the state, and what is wrong.

use leptos::prelude::*;

use super::in_each_frame;
use crate::generator;
use crate::ui::elements::Spot;
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

#[component]
pub(super) fn Top(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let [state, banner, announcement] = ["state", "banner", "announcement"].map(Spot::named);
        let words = state.part("span + span");
        let [sign, problem] = [".sign", "span + span"].map(|part| banner.part(part));
        let generator = generator_control(session);
        let (token, give) = (Spot::named("token-key"), Spot::named("token-give"));
        for key in [&token, &give] {
            key.on("click", move |_| session.with_value(|session| session.ask_for_token(true)));
        }
        move |frame: &mut Frame| {
            let status = &frame.status;
            state.class(&format!("pill state {}", status.tone.class()));
            state.value(status.state);
            words.text(status.words);
            banner.hide(status.banner.is_none());
            banner.value(status.banner.as_ref().map_or("", |banner| banner.kind));
            sign.text(if status.banner.is_some() { "!" } else { "" });
            problem.text(status.banner.as_ref().map_or("", |banner| &banner.text));
            announcement.text(frame.model.announce(frame.now));
            generator(frame);
            let is_fine = frame.model.has_right_token();
            token.hide(is_fine.is_none());
            let (class, text) =
                if is_fine == Some(true) { ("pill key", "Token ✓") } else { ("pill key warn", "Token !") };
            token.class(class);
            token.text(text);
            let is_wanted = frame.status.banner.as_ref().is_some_and(|banner| banner.kind == "token");
            give.hide_from_focus(!is_wanted, &token);
            give.text(if is_wanted { "Enter a token" } else { "" });
        }
    });
    view! {
        <header>
            <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
                <rect width="32" height="32" rx="9"></rect>
                <path d="M9 12h8M13 8v8M19.5 21.5h5M19.5 25h5M8.5 20.5l5 5M13.5 20.5l-5 5M19 12h6"></path>
            </svg>
            <div class="title">
                <h1>"Distributed calculator"</h1>
                <p>
                    "Your browser does every operation of the leader itself. Equal "
                    <button type="button" class="term" data-word="digest">"digests"</button>
                    " prove the same history."
                </p>
            </div>
            <div class="pill generator" role="group" aria-label="Generator" hidden data-testid="generator-control">
                <span>
                    <button type="button" class="term" data-word="generator">"Generator"</button>
                    ": "
                    <span data-testid="generator"></span>
                </span>
                <button type="button" data-testid="generator-pause"></button>
                <button type="button" aria-label="Slower" data-testid="generator-slower">"−"</button>
                <button type="button" aria-label="Faster" data-testid="generator-faster">"+"</button>
            </div>
            <button type="button" class="pill key" hidden data-testid="token-key"></button>
            <button type="button" class="pill" data-testid="tour-start">"Tour"</button>
            <p class="pill state" data-testid="state"><span class="dot" aria-hidden="true"></span><span></span></p>
        </header>
        <section class="banner" aria-label="What is wrong" hidden data-testid="banner">
            <span class="sign" aria-hidden="true"></span>
            <span></span>
            <button type="button" hidden data-testid="token-give"></button>
        </section>
        // What screen readers announce: the tab's state, once it has lasted. They read everything else on demand.
        <p class="for-screen-readers" role="status" data-testid="announcement"></p>
    }
}

/// Pauses and paces the leader's generator, where the leader lets callers do that.
fn generator_control(session: Handle) -> impl Fn(&Frame) {
    let [control, words, pause, slower, faster] =
        ["generator-control", "generator", "generator-pause", "generator-slower", "generator-faster"].map(Spot::named);
    let tour = Spot::named("tour-start");
    pause.on("click", move |_| session.with_value(|session| session.pause_generator()));
    slower.on("click", move |_| session.with_value(|session| session.pace_generator(false)));
    faster.on("click", move |_| session.with_value(|session| session.pace_generator(true)));
    move |frame| {
        let status = frame.model.generator();
        control.hide(status.is_none());
        let Some(status) = status else { return };
        let is_known = frame.model.hears_lists(frame.now);
        words.value(if is_known { generator::state(&status) } else { "unknown" });
        words.text(&if is_known { generator::words(&status) } else { "not known".to_owned() });
        let is_fixed = !status.controllable || status.ended || !is_known;
        for button in [&pause, &slower, &faster] {
            button.hide_from_focus(is_fixed, &tour);
        }
        let (label, sign) =
            if status.paused { ("Let the generator go on", "▶") } else { ("Pause the generator", "❚❚") };
        pause.attribute("aria-label", label);
        pause.text(sign);
    }
}
