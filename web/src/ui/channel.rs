//! Talks to the other tabs of the page.

use leptos::wasm_bindgen::JsCast;
use leptos::wasm_bindgen::closure::Closure;
use web_sys::{BroadcastChannel, MessageEvent};

const NAME: &str = "calculator.tabs";

/// A channel to all other tabs of the page in this browser. It carries nothing if the browser has no such channels.
pub(super) struct Channel {
    channel: Option<BroadcastChannel>,
    /// Called by the browser for as long as the channel is open.
    _handler: Closure<dyn Fn(MessageEvent)>,
}

impl Channel {
    /// Hands every text that another tab sends to `handle`.
    pub(super) fn open(handle: impl Fn(String) + 'static) -> Self {
        let handler = Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
            if let Some(text) = message.data().as_string() {
                handle(text);
            }
        });
        let channel = BroadcastChannel::new(NAME).ok();
        if let Some(channel) = &channel {
            channel.set_onmessage(Some(handler.as_ref().unchecked_ref()));
        }
        Self { channel, _handler: handler }
    }

    pub(super) fn send(&self, text: &str) {
        if let Some(channel) = &self.channel {
            // A page that is going away needs no answer.
            let _ = channel.post_message(&text.into());
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(channel) = &self.channel {
            channel.set_onmessage(None);
            channel.close();
        }
    }
}
