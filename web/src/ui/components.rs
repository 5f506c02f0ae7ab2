//! The components of the page. Each takes what it shows as arguments.
#![expect(unreachable_pub, reason = "Leptos writes `pub` where a component says `pub(super)`")]

mod chain;
mod chart;
mod details;
mod event_log;
mod keypad;
mod resizes;
mod stage;
mod term;
mod top;
mod tour;
mod travel;
mod value;

use leptos::prelude::*;

use super::session::Session;
use chain::ChainCard;
use chart::ChartCard;
use details::Details;
use event_log::EventLogCard;
use keypad::Keypad;
use stage::Stage;
use term::{Asked, Meanings};
use top::{Announcement, BannerLine, Top};
use tour::TourPanel;
use travel::TravelCard;
use value::ValueCard;

/// The whole page. The session lives as long as it does.
#[component]
pub(super) fn App() -> impl IntoView {
    let session = Session::begin();
    Asked::provide();
    let signals = session.with_value(|session| session.painter().signals());
    view! {
        <Top signals=signals session=session />
        <BannerLine status=signals.status />
        <Announcement text=signals.announcement />
        <main>
            <ValueCard signals=signals />
            <ChartCard signals=signals session=session />
            <Stage signals=signals session=session />
            <Keypad signals=signals session=session />
            <EventLogCard signals=signals session=session />
            <ChainCard signals=signals session=session />
            <TravelCard signals=signals session=session />
            <Details signals=signals />
        </main>
        <TourPanel signals=signals session=session />
        <Meanings />
    }
}

/// A text that changes, as an attribute or a child.
///
/// All of them have one type. With a type for each closure, each would bring a copy of its own of the code that watches it.
type Text = Box<dyn Fn() -> String + Send>;

fn text<T: Into<String>>(text: impl Fn() -> T + Send + 'static) -> Text {
    Box::new(move || text().into())
}

/// Whether an attribute or a class is set.
fn flag(flag: impl Fn() -> bool + Send + 'static) -> Box<dyn Fn() -> bool + Send> {
    Box::new(flag)
}
