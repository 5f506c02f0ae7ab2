//! The browser's clocks, randomness and address.

use std::time::Duration;

use engine::Moment;
use js_sys::Date;
use leptos::prelude::window;

use crate::format::TimeOfDay;
use crate::model::Now;

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
