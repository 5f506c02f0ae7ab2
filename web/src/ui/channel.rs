//! Talks to the other tabs of the page.

use js_sys::Uint8Array;
use leptos::wasm_bindgen::closure::Closure;
use leptos::wasm_bindgen::{JsCast, JsValue};
use web_sys::{BroadcastChannel, MessageEvent};

const NAME: &str = "calculator.tabs";

/// What another tab sent.
pub(super) enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

/// A channel to all other tabs of the page in this browser. It carries nothing if the browser has no such channels.
pub(super) struct Channel {
    channel: Option<BroadcastChannel>,
    /// Called by the browser for as long as the channel is open.
    _handler: Closure<dyn Fn(MessageEvent)>,
}

impl Channel {
    /// Hands everything that another tab sends to `handle`.
    pub(super) fn open(handle: impl Fn(Message) + 'static) -> Self {
        let handler = Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
            let data = message.data();
            match (data.as_string(), data.dyn_ref::<Uint8Array>()) {
                (Some(text), _) => handle(Message::Text(text)),
                (None, Some(bytes)) => handle(Message::Bytes(bytes.to_vec())),
                (None, None) => {}
            }
        });
        let channel = BroadcastChannel::new(NAME).ok();
        if let Some(channel) = &channel {
            channel.set_onmessage(Some(handler.as_ref().unchecked_ref()));
        }
        Self { channel, _handler: handler }
    }

    pub(super) fn send(&self, text: &str) {
        self.post(&text.into());
    }

    pub(super) fn send_bytes(&self, bytes: &[u8]) {
        self.post(&Uint8Array::from(bytes));
    }

    fn post(&self, message: &JsValue) {
        if let Some(channel) = &self.channel {
            // A page that is going away needs no answer.
            let _ = channel.post_message(message);
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
