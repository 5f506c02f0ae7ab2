//! Tells systemd, or what understands its protocol, how this program is. Without one, nothing happens.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tracing::debug;

/// The leader serves.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The leader ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says again and again that the program's tasks run, as often as systemd wants to hear it.
pub(crate) async fn stay_alive() {
    let Some(patience) = watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((patience / 3).max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        debug!(%error, "the service manager cannot be told");
    }
}
