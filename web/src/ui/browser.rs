//! The browser's clocks, randomness and address, and its tab.

use std::time::Duration;

use engine::Moment;
use js_sys::{Date, Reflect};
use leptos::prelude::{document, window};

use crate::format::TimeOfDay;
use crate::model::Now;
use crate::model::status::Tone;

/// Milliseconds on the browser's monotonic clock.
pub(super) fn millis() -> f64 {
    window().performance().map_or(0.0, |performance| performance.now())
}

/// Now, by both clocks.
pub(super) fn now() -> Now {
    Now { at: Moment(Duration::from_secs_f64(millis() / 1_000.0)), time: of_date(&Date::new_0()) }
}

fn of_date(date: &Date) -> TimeOfDay {
    TimeOfDay(date.get_hours() * 3_600 + date.get_minutes() * 60 + date.get_seconds())
}

/// The local time of day at `millis` milliseconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "it is below 2^53")]
pub(super) fn time_of_day(millis: u64) -> TimeOfDay {
    of_date(&Date::new(&(millis as f64).into()))
}

/// How far the local time is ahead of UTC, in seconds.
#[expect(clippy::cast_possible_truncation, reason = "it is less than a day")]
pub(super) fn utc_offset() -> i64 {
    (Date::new_0().get_timezone_offset() * -60.0) as i64
}

/// Milliseconds since 1970.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive and below 2^53")]
pub(super) fn since_1970() -> u64 {
    Date::now() as u64
}

/// Sixty-four random bits.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    let filled = window().crypto().and_then(|crypto| crypto.get_random_values_with_u8_array(&mut bytes));
    if filled.is_err() {
        // Nothing here is secret, so weaker randomness is enough.
        for byte in &mut bytes {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is below 256")]
            let random = (js_sys::Math::random() * 256.0) as u8;
            *byte = random;
        }
    }
    u64::from_le_bytes(bytes)
}

/// The address of the leader, which is where the page came from: without the file's name, but with a path, because a proxy
/// may serve the leader below one.
pub(super) fn base() -> String {
    let location = window().location();
    let path = location.pathname().unwrap_or_default();
    let folder = path.rfind('/').map_or("", |end| &path[..end]);
    format!("{}{folder}", location.origin().unwrap_or_default())
}

/// The protocol over which the page came, such as `h2`, also from a proxy; empty if the browser does not tell.
pub(super) fn protocol() -> String {
    let entries = window().performance().map(|performance| performance.get_entries_by_type("navigation"));
    let name = entries.and_then(|entries| Reflect::get(&entries.get(0), &"nextHopProtocol".into()).ok());
    name.and_then(|name| name.as_string()).unwrap_or_default()
}

/// The page's icon in a colour of its own for each state: what stands before the colour, and after it.
const ICON: [&str; 2] = [
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='9' \
     fill='%23",
    "'/><path d='M9 12h8M13 8v8M19.5 21.5h5M19.5 25h5M8.5 20.5l5 5M13.5 20.5l-5 5M19 12h6' stroke='white' \
     stroke-width='2.2' stroke-linecap='round'/></svg>",
];

/// Writes the tab's title, and shows its state in the icon.
pub(super) fn label_tab(title: &str, tone: Tone) {
    document().set_title(title);
    let color = match tone {
        Tone::Good => "0b6b4c",
        Tone::Busy => "1b5fb3",
        Tone::Idle => "5a5f64",
        Tone::Warn => "b56b00",
        Tone::Bad => "c22d26",
    };
    if let Ok(Some(icon)) = document().query_selector("link[rel=icon]") {
        let [before, after] = ICON;
        let href = format!("{before}{color}{after}");
        if icon.get_attribute("href").as_ref() != Some(&href) {
            let _ = icon.set_attribute("href", &href);
        }
    }
}

/// Whether a person can see the tab.
pub(super) fn is_visible() -> bool {
    !leptos::prelude::document().hidden()
}

/// Whether the page is shown in dark colours.
pub(super) fn is_dark() -> bool {
    window().match_media("(prefers-color-scheme: dark)").ok().flatten().is_some_and(|dark| dark.matches())
}
