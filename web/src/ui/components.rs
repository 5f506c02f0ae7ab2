//! The components of the page. Each takes what it shows as arguments.
#![expect(unreachable_pub, reason = "Leptos writes `pub` where a component says `pub(super)`")]

mod event_log;
mod hero;
mod submit_card;
mod top;
mod whats_new;

use leptos::prelude::*;

use super::session::Session;
use event_log::EventLogCard;
use hero::Hero;
use submit_card::SubmitCard;
use top::{Announcement, BannerLine, Top};
use whats_new::WhatsNew;

/// The whole page. The session lives as long as it does.
#[component]
pub(super) fn App() -> impl IntoView {
    let session = Session::begin();
    let signals = session.with_value(|session| session.painter().signals());
    view! {
        <Top status=signals.status />
        <BannerLine status=signals.status />
        <Announcement text=signals.announcement />
        <main>
            <Hero signals=signals />
            <SubmitCard signals=signals session=session />
            <EventLogCard signals=signals session=session />
            <WhatsNew signals=signals />
        </main>
        <footer>
            <p>
                "This tab is the replica "
                <b data-testid="name">{move || signals.status.with(|status| status.name.clone())}</b>
                ": it applies the leader's log itself and checks every digest."
            </p>
        </footer>
    }
}
