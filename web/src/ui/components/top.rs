//! The top of the page: its title, the state, and what is wrong.

use std::rc::Rc;

use leptos::prelude::*;

use super::{flag, text};
use wire::GeneratorStatus;

use super::term::word;
use super::tour::TourButton;
use crate::generator;
use crate::glossary::Word;
use crate::model::status::{Banner, Status};
use crate::ui::session::Session;
use crate::ui::signals::Signals;

/// What screen readers announce: the tab's state, once it has lasted. They read everything else on demand.
#[component]
pub(super) fn Announcement(text: RwSignal<&'static str>) -> impl IntoView {
    view! { <p class="for-screen-readers" role="status" data-testid="announcement">{text}</p> }
}

#[component]
pub(super) fn Top(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let Signals { status, generator, .. } = signals;
    view! {
        <header>
            <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
                <rect width="32" height="32" rx="9" />
                <path d="M9 12h8M13 8v8M19.5 21.5h5M19.5 25h5M8.5 20.5l5 5M13.5 20.5l-5 5M19 12h6" />
            </svg>
            <div class="title">
                <h1>"Distributed calculator"</h1>
                <p>
                    "Your browser does every operation of the leader itself. Equal " {word(Word::Digest, "digests")}
                    " prove the same history."
                </p>
            </div>
            <GeneratorControl generator=generator session=session />
            <TourButton session=session />
            <p
                class=text(move || status.with(|status| format!("pill state {}", status.tone.class())))
                data-testid="state"
                data-value=text(move || status.with(|status| status.state))
            >
                <span class="dot" aria-hidden="true"></span>
                {text(move || status.with(|status| status.words))}
            </p>
        </header>
    }
}

#[component]
pub(super) fn BannerLine(status: RwSignal<Status>) -> impl IntoView {
    let of = move |get: fn(&Banner) -> &str| {
        text(move || status.with(|status| status.banner.as_ref().map_or("", get).to_owned()))
    };
    view! {
        <section
            class="banner"
            aria-label="What is wrong"
            hidden=flag(move || status.with(|status| status.banner.is_none()))
            data-testid="banner"
            data-value=of(|banner| banner.kind)
        >
            <span class="sign" aria-hidden="true">{of(|_| "!")}</span>
            <span>{of(|banner| &banner.text)}</span>
        </section>
    }
}

/// Pauses and paces the leader's generator, where the leader lets callers do that.
#[component]
fn GeneratorControl(
    generator: RwSignal<Option<GeneratorStatus>>,
    session: StoredValue<Rc<Session>, LocalStorage>,
) -> impl IntoView {
    let of = move |get: fn(&GeneratorStatus) -> String| {
        text(move || generator.with(|generator| generator.as_ref().map_or_else(String::new, get)))
    };
    let is_fixed = move || {
        generator.with(|generator| generator.is_none_or(|generator| !generator.controllable || generator.ended))
    };
    let step = move |id: &'static str, label: &'static str, sign: &'static str, faster: bool| {
        view! {
            <button
                type="button"
                aria-label=label
                data-testid=id
                hidden=is_fixed
                on:click=move |_| session.with_value(|session| session.pace_generator(faster))
            >
                {sign}
            </button>
        }
    };
    view! {
        <div class="pill generator" role="group" aria-label="Generator" hidden=flag(move || generator.with(Option::is_none))>
            <span data-testid="generator" data-value=of(generator::state)>{of(generator::words)}</span>
            <button
                type="button"
                data-testid="generator-pause"
                hidden=is_fixed
                aria-label=of(|generator| if generator.paused { "Let the generator go on" } else { "Pause the generator" }.to_owned())
                on:click=move |_| session.with_value(|session| session.pause_generator())
            >
                {of(|generator| if generator.paused { "▶" } else { "❚❚" }.to_owned())}
            </button>
            {step("generator-slower", "Slower", "−", false)}
            {step("generator-faster", "Faster", "+", true)}
        </div>
    }
}
