//! The clock and the timers. Native and wasm differ in the two modules called `platform`.

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
    // Tokio's clock, so that tests can simulate time.
    pub(super) use tokio::time::{Instant, sleep};

    /// Lets other tasks run during a long catch-up. Tokio does that by itself.
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
    // The browser's clock; `std`'s panics on wasm32.
    pub(super) use web_time::Instant;

    /// For how long a catch-up may keep the page from drawing and from answering a click.
    const PATIENCE: Duration = Duration::from_millis(8);

    pub(super) async fn sleep(time: Duration) {
        // Rounded up, so that the timer does not fire too early. Browsers count in 31 bits and take more for zero.
        let millis = i32::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        TimeoutFuture::new(millis.unsigned_abs()).await;
    }

    /// Gives the browser a turn after every eight milliseconds of work. Reading frames that have arrived gives it none.
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

    /// Waits for the next turn of the event loop. It uses a message, because browsers delay the timers of hidden pages by
    /// up to a minute.
    async fn next_turn() {
        let Ok(channel) = MessageChannel::new() else {
            return TimeoutFuture::new(0).await;
        };
        let (ours, theirs) = (channel.port1(), channel.port2());
        let turn = Promise::new(&mut |resolve, _reject| {
            let arrived = Closure::once_into_js(move || {
                // A page that is going away needs no next turn.
                let _ = resolve.call0(&wasm_bindgen::JsValue::UNDEFINED);
            });
            ours.set_onmessage(Some(arrived.unchecked_ref()));
        });
        if theirs.post_message(&wasm_bindgen::JsValue::NULL).is_ok() {
            let _ = JsFuture::from(turn).await;
        }
        ours.close();
    }
}
