//! The calculator: six keys that submit an operation each, with the number in the field.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{HtmlInputElement, MouseEvent};

use super::in_each_frame;
use crate::form::Kind;
use crate::format;
use crate::model::last_operation::OperationStatus;
use crate::model::status::Tone;
use crate::ui::elements::{Spot, target};
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

/// What a person did with the keypad.
struct Keys {
    session: Handle,
    field: HtmlInputElement,
    /// The key that was pressed last.
    pressed: Cell<Option<Kind>>,
    /// What is wrong with the typed number, until it changes.
    mistake: RefCell<Option<String>>,
    /// Whether the outcome of an operation is not known yet, so that no other can be submitted.
    is_open: Cell<bool>,
}

impl Keys {
    fn submit(&self, kind: Kind) {
        if self.is_open.get() {
            return;
        }
        self.pressed.set(Some(kind));
        let operation = kind.operation(&self.field.value());
        self.mistake.replace(operation.as_ref().err().map(ToString::to_string));
        self.session.with_value(|session| match operation {
            Ok(operation) => session.sender().submit(operation),
            Err(_) => session.painter().request(),
        });
    }

    /// The typed number is another one.
    fn changed(&self) {
        self.mistake.replace(None);
        self.session.with_value(|session| session.painter().request());
    }
}

#[component]
pub(super) fn Keypad(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let [card, field, sign] = ["keypad", "op-arg", "op-sign"].map(Spot::named);
        let keys = Rc::new(Keys {
            session,
            field: field.input().clone(),
            pressed: Cell::default(),
            mistake: RefCell::default(),
            is_open: Cell::default(),
        });
        listen(&keys, &card, &field, &sign);
        let buttons = Kind::ALL.map(|kind| (kind, Spot::named(&format!("key-{}", kind.name()))));
        let outcome = outcome();
        let again = Spot::named("op-again");
        again.on("click", move |_| session.with_value(|session| session.sender().send_again()));
        let actions = actions(session);
        move |frame: &mut Frame| {
            let status = frame.model.operation_status(frame.now);
            keys.is_open.set(status.as_ref().is_some_and(OperationStatus::is_open));
            actions(status.as_ref().is_some_and(OperationStatus::is_pending));
            let mistake = keys.mistake.borrow().clone();
            field.flag("aria-invalid", mistake.is_some());
            let status = match mistake {
                Some(text) => Some(OperationStatus { kind: "refused", tone: Tone::Bad, text, way: Default::default() }),
                None => status,
            };
            let is_refused = status.as_ref().is_some_and(|status| status.kind == "refused");
            let typed = field.input().value();
            for (kind, button) in &buttons {
                button.class(if is_refused && keys.pressed.get() == Some(*kind) { "refused" } else { "" });
                button.attribute("aria-label", &kind.spoken(&typed));
                button.flag("aria-disabled", keys.is_open.get());
                button.text(&kind.shown(&typed));
            }
            outcome(status.as_ref());
            let withheld = frame.model.withheld();
            again.hide_from_focus(withheld.is_none(), &field);
            if let Some(operation) = withheld {
                again.text(&format!("Send “{}” again", format::operation(operation)));
            }
        }
    });
    view! {
        <section class="card keypad" aria-labelledby="keypad-title" data-testid="keypad">
            <h2 id="keypad-title">"Put an operation in"</h2>
            <form class="argument" novalidate>
                <input
                    type="text"
                    inputmode="numeric"
                    autocomplete="off"
                    spellcheck="false"
                    placeholder="any whole number"
                    aria-label="Number"
                    data-testid="op-arg"
                    aria-describedby="op-result"
                />
                <button type="button" aria-label="Change the sign" data-testid="op-sign">"±"</button>
            </form>
            <div class="keys">
                <button type="button" data-testid="key-add" aria-describedby="op-result"></button>
                <button type="button" data-testid="key-subtract" aria-describedby="op-result"></button>
                <button type="button" data-testid="key-multiply" aria-describedby="op-result"></button>
                <button type="button" data-testid="key-divide" title="Rounds towards zero" aria-describedby="op-result"></button>
                <button type="button" data-testid="key-square_root" title="Rounds down" aria-describedby="op-result"></button>
                <button type="button" data-testid="key-square" aria-describedby="op-result"></button>
            </div>
            <div id="op-result" class="result-box" role="status">
                <p class="way" data-testid="op-way">
                    <span>"pending"</span>
                    " → "
                    <span></span>
                    " → "
                    <span></span>
                </p>
                <p class="result" data-testid="op-result" hidden><span class="sign" aria-hidden="true"></span><span></span></p>
            </div>
            <button type="button" class="strong" hidden data-testid="op-again"></button>
            // Hidden and not removed, so that the focus can move on.
            <div class="actions" hidden data-testid="op-actions">
                <button type="button" data-testid="op-try-now">"Ask again now"</button>
                <button type="button" data-testid="op-stop" title="It may still be done. The page then says so.">
                    "Stop waiting"
                </button>
                <small>"Asking again is safe: it is done once."</small>
            </div>
        </section>
    }
}

fn listen(keys: &Rc<Keys>, card: &Spot, field: &Spot, sign: &Spot) {
    let with_keys = |act: fn(&Keys)| {
        let keys = Rc::clone(keys);
        move |_| act(&keys)
    };
    field.on("input", with_keys(Keys::changed));
    sign.on(
        "click",
        with_keys(|keys| {
            keys.field.set_value(&format::with_other_sign(&keys.field.value()));
            keys.changed();
        }),
    );
    let submitted = Rc::clone(keys);
    card.part("form").on("submit", move |event| {
        event.prevent_default();
        submitted.submit(submitted.pressed.get().unwrap_or_default());
    });
    let keys = Rc::clone(keys);
    card.part(".keys").on("click", move |event| {
        let name = target(&event, "button").and_then(|key| key.get_attribute("data-testid"));
        let kind = name.and_then(|name| Kind::by_name(name.strip_prefix("key-")?));
        // A double click means one operation.
        if let Some(kind) = kind.filter(|_| event.unchecked_ref::<MouseEvent>().detail() <= 1) {
            keys.submit(kind);
        }
    });
}

/// What became of the last operation, and how far it is on its way.
fn outcome() -> impl Fn(Option<&OperationStatus>) {
    let (way, result) = (Spot::named("op-way"), Spot::named("op-result"));
    let steps = way.parts();
    let (sign, text) = (result.part(".sign"), result.part("span + span"));
    move |status| {
        let done = match status.map(|status| (status.kind, &status.way)) {
            Some(("ok", way)) => 1 + way.iter().filter(|step| !step.is_empty()).count(),
            Some(("sending" | "pending", _)) => 1,
            _ => 0,
        };
        way.value(&done.to_string());
        for (place, name) in [(0, "committed"), (1, "applied here")] {
            let told = status.map(|status| status.way[place].as_str()).filter(|told| !told.is_empty());
            steps[place + 1].text(told.unwrap_or(name));
        }
        result.hide(status.is_none_or(|status| status.text.is_empty()));
        result.value(status.map_or("", |status| status.kind));
        if let Some(status) = status {
            result.class(&format!("result {}", status.tone.class()));
            sign.text(match status.tone {
                Tone::Good => "✓",
                Tone::Bad => "✕",
                Tone::Warn | Tone::Busy | Tone::Idle => "!",
            });
            text.text(&status.text);
        }
    }
}

/// What a person can do while an operation is pending.
fn actions(session: Handle) -> impl Fn(bool) {
    let actions = Spot::named("op-actions");
    actions
        .part("[data-testid=op-try-now]")
        .on("click", move |_| session.with_value(|session| session.sender().try_now()));
    actions
        .part("[data-testid=op-stop]")
        .on("click", move |_| session.with_value(|session| session.sender().stop_waiting()));
    let field = Spot::named("op-arg");
    move |is_pending| actions.hide_from_focus(!is_pending, &field)
}
