//! The tour's panel at the foot of the window.

use std::rc::Rc;

use leptos::prelude::*;

use super::{flag, text};
use crate::model::tour::{Guide, Stop};
use crate::ui::session::Session;
use crate::ui::signals::Signals;

#[component]
pub(super) fn TourPanel(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let guide = signals.guide;
    let of =
        move |get: fn(&Guide) -> String| text(move || guide.with(|guide| guide.as_ref().map_or_else(String::new, get)));
    view! {
        <aside
            class="tour"
            aria-label="Tour"
            data-testid="tour"
            data-value=of(|guide| guide.stop.name().to_owned())
            hidden=flag(move || guide.with(Option::is_none))
        >
            <div role="status">
                <h3>{of(|guide| guide.title.clone())}</h3>
                <p>{of(|guide| guide.text.clone())}</p>
            </div>
            <button
                type="button"
                class="strong"
                data-testid="tour-next"
                on:click=move |_| session.with_value(|session| session.tour_on())
            >
                {of(|guide| guide.next.to_owned())}
            </button>
            <button type="button" data-testid="tour-end" on:click=move |_| session.with_value(|session| session.tour_to(None))>
                "End the tour"
            </button>
        </aside>
    }
}

/// Starts the tour.
#[component]
pub(super) fn TourButton(session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    view! {
        <button
            type="button"
            class="pill"
            data-testid="tour-start"
            on:click=move |_| session.with_value(|session| session.tour_to(Some(Stop::Watch)))
        >
            "Tour"
        </button>
    }
}
