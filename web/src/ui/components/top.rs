//! The top of the page: its title, the state, and what is wrong.

use leptos::prelude::*;

use crate::model::status::{Banner, Status};

/// What screen readers announce: the tab's state, once it has lasted. They read everything else on demand.
#[component]
pub(super) fn Announcement(text: RwSignal<&'static str>) -> impl IntoView {
    view! { <p class="for-screen-readers" role="status" data-testid="announcement">{text}</p> }
}

#[component]
pub(super) fn Top(status: RwSignal<Status>) -> impl IntoView {
    view! {
        <header>
            <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
                <rect width="32" height="32" rx="9" />
                <path d="M9 12h8M13 8v8M19.5 21.5h5M19.5 25h5M8.5 20.5l5 5M13.5 20.5l-5 5M19 12h6" />
            </svg>
            <h1>"Distributed calculator"</h1>
            <p
                class=move || status.with(|status| format!("pill {}", status.tone.class()))
                data-testid="state"
                data-value=move || status.with(|status| status.state)
            >
                <span class="dot" aria-hidden="true"></span>
                {move || status.with(|status| status.words)}
            </p>
        </header>
    }
}

#[component]
pub(super) fn BannerLine(status: RwSignal<Status>) -> impl IntoView {
    // Drawn again only when its text changes.
    let banner = Memo::new(move |_| status.with(|status| status.banner.clone()));
    view! {
        <div class="announce">
            {move || {
                banner
                    .get()
                    .map(|Banner { kind, text }| {
                        view! {
                            <p class="banner" data-testid="banner" data-value=kind>
                                <span class="sign" aria-hidden="true">"!"</span>
                                <span>{text}</span>
                            </p>
                        }
                    })
            }}
        </div>
    }
}
