//! Asks for the token that the leader wants.

use std::cell::Cell;
use std::rc::Rc;

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use web_sys::HtmlDialogElement;

use super::in_each_frame;
use crate::ui::elements::{Spot, target};
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

/// What is said of a text that cannot be a token.
const MISTAKE: &str = "This is no token: one has letters, digits and any of - . _ ~ + / = only.";

#[component]
pub(super) fn TokenDialog(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let [dialog, field, forget, again] = ["token", "token-field", "token-forget", "op-again"].map(Spot::named);
        let [title, text, problem] = ["h3", "p", "[role=alert]"].map(|part| dialog.part(part));
        let mistake = Rc::new(Cell::new(""));
        let ask = move |asks| session.with_value(|session| session.ask_for_token(asks));
        // The key Escape.
        dialog.on("cancel", move |_| ask(false));
        dialog.on("click", move |event| {
            let key = target(&event, "button").and_then(|key| key.get_attribute("data-testid"));
            match key.as_deref() {
                Some("token-later") => ask(false),
                Some("token-forget") => {
                    // Nothing is always valid.
                    let _ = session.with_value(|session| session.use_token(""));
                }
                _ => {}
            }
        });
        let (typed, wrong) = (field.input().clone(), Rc::clone(&mistake));
        dialog.on("submit", move |event| {
            event.prevent_default();
            let token = typed.value();
            let is_used = !token.trim().is_empty() && session.with_value(|session| session.use_token(&token)).is_ok();
            wrong.set(if is_used { "" } else { MISTAKE });
            session.with_value(|session| session.painter().request());
        });
        let window: HtmlDialogElement = dialog.element().clone().unchecked_into();
        let mut is_open = false;
        move |frame: &mut Frame| {
            let Some(question) = frame.model.question() else {
                if std::mem::take(&mut is_open) {
                    field.input().set_value("");
                    mistake.set("");
                    // The focus goes back to where it was, or on to what can be done now.
                    window.close();
                    if frame.model.withheld().is_some() {
                        let _ = again.element().focus();
                    }
                }
                return;
            };
            title.text(question.title);
            text.text(question.text);
            let shown = if mistake.get().is_empty() { question.problem } else { mistake.get() };
            problem.text(shown);
            problem.hide(shown.is_empty());
            field.flag("aria-invalid", !shown.is_empty());
            forget.hide(!question.has_token);
            if !std::mem::replace(&mut is_open, true) {
                // It fails only where it is open already.
                let _ = window.show_modal();
            }
        }
    });
    view! {
        <dialog class="token" aria-labelledby="token-title" aria-describedby="token-text" data-testid="token">
            <form novalidate>
                <h3 id="token-title"></h3>
                <p id="token-text"></p>
                <label for="token-field">"Token"</label>
                <input
                    id="token-field"
                    type="password"
                    autocomplete="off"
                    spellcheck="false"
                    aria-describedby="token-problem"
                    data-testid="token-field"
                />
                <p id="token-problem" class="bad" role="alert" hidden></p>
                <small>"The leader’s operator gives tokens out. This tab keeps one until it is closed."</small>
                <div class="hands">
                    <button type="submit" class="strong" data-testid="token-use">"Use it"</button>
                    <button type="button" data-testid="token-later">"Not now"</button>
                    <button type="button" data-testid="token-forget">"Forget it"</button>
                </div>
            </form>
        </dialog>
    }
}
