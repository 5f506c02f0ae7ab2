//! The clock and the waiting. What differs between native and wasm is in the two modules called `platform`.

use engine::Moment;
pub(crate) use platform::Breather;
use platform::Instant;

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.origin.elapsed())
    }

    pub(crate) async fn sleep_until(&self, moment: Moment) {
        platform::sleep(moment.since(self.now())).await;
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use engine::Moment;
    // Tokio's, so that a simulated network also simulates time.
    pub(super) use tokio::time::{Instant, sleep};

    /// Lets others run during a long catch-up. Tokio does that by itself.
    #[derive(Debug)]
    pub(crate) struct Breather;

    impl Breather {
        pub(crate) fn start() -> Self {
            Self
        }

        pub(crate) async fn rest(&mut self, _now: Moment) {}
    }
}

#[cfg(target_arch = "wasm32")]
mod platform {
    use std::time::Duration;

    use engine::Moment;
    use gloo_timers::future::TimeoutFuture;
    use js_sys::Promise;
    use wasm_bindgen::JsCast;
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen_futures::JsFuture;
    use web_sys::MessageChannel;
    // The browser's; `std`'s panics on wasm32.
    pub(super) use web_time::Instant;

    /// How long the page may be kept from drawing and from answering a click.
    const PATIENCE: Duration = Duration::from_millis(8);

    pub(super) async fn sleep(time: Duration) {
        // Rounded up, so that the moment has come when the timer fires. Browsers count in 31 bits and take more for zero.
        let millis = i32::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        TimeoutFuture::new(millis.unsigned_abs()).await;
    }

    /// Gives the browser a turn at least every eight milliseconds of work: frames that are already there arrive
    /// without one.
    #[derive(Debug, Default)]
    pub(crate) struct Breather {
        since: Moment,
    }

    impl Breather {
        pub(crate) fn start() -> Self {
            Self::default()
        }

        pub(crate) async fn rest(&mut self, now: Moment) {
            if now.since(self.since) >= PATIENCE {
                next_turn().await;
                self.since = now;
            }
        }
    }

    /// Waits for the next turn of the event loop. A message does it, because browsers hold timers of hidden pages back
    /// for up to a minute.
    async fn next_turn() {
        let Ok(channel) = MessageChannel::new() else {
            return TimeoutFuture::new(0).await;
        };
        let (ours, theirs) = (channel.port1(), channel.port2());
        let turn = Promise::new(&mut |resolve, _reject| {
            let arrived = Closure::once_into_js(move || {
                // It fails only if the page is going away.
                let _ = resolve.call0(&wasm_bindgen::JsValue::UNDEFINED);
            });
            ours.set_onmessage(Some(arrived.unchecked_ref()));
        });
        if theirs.post_message(&wasm_bindgen::JsValue::NULL).is_ok() {
            // The promise is never rejected.
            let _ = JsFuture::from(turn).await;
        }
        ours.close();
    }
}
