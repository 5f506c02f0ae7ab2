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
mod token;
mod top;
mod tour;
mod travel;
mod value;

use leptos::prelude::*;

use super::frame::Frame;
use super::session::{Handle, Session};
use chain::ChainCard;
use chart::ChartCard;
use details::Details;
use event_log::EventLogCard;
use keypad::Keypad;
use stage::Stage;
use term::Meanings;
use token::TokenDialog;
use top::Top;
use tour::TourPanel;
use travel::TravelCard;
use value::ValueCard;

/// The whole page. The session lives as long as it does.
#[component]
pub(super) fn App() -> impl IntoView {
    let session = Session::begin();
    view! {
        <Top session=session />
        <main>
            <ValueCard session=session />
            <ChartCard session=session />
            <Stage session=session />
            <Keypad session=session />
            <EventLogCard session=session />
            <ChainCard session=session />
            <TravelCard session=session />
            <Details session=session />
        </main>
        <TourPanel session=session />
        <Meanings session=session />
        <TokenDialog session=session />
    }
}

/// Calls `begin` once the component is mounted, and what it returns in each frame in which something may have changed.
fn in_each_frame<S: FnMut(&mut Frame) + 'static>(session: Handle, begin: impl FnOnce() -> S + 'static) {
    session.with_value(|session| session.painter().add(Box::new(move || Box::new(begin()))));
}
