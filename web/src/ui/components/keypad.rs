//! The calculator: six keys that submit an operation each, with the number in the field.

use std::rc::Rc;

use leptos::html::{Div, Input};
use leptos::prelude::*;

use super::{flag, text};

use crate::form::Kind;
use crate::format;
use crate::model::last_operation::OperationStatus;
use crate::model::status::Tone;
use crate::ui::session::Session;
use crate::ui::signals::Signals;

#[component]
pub(super) fn Keypad(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let typed = RwSignal::new(String::new());
    // The key that was pressed last.
    let pressed = RwSignal::new(None::<Kind>);
    // What is wrong with the typed number, until it changes.
    let mistake = RwSignal::new(None::<String>);
    let operation = signals.operation;
    let is_open = Memo::new(move |_| operation.with(|status| status.as_ref().is_some_and(OperationStatus::is_open)));
    let is_refused = Memo::new(move |_| {
        mistake.with(Option::is_some)
            || operation.with(|status| status.as_ref().is_some_and(|status| status.kind == "refused"))
    });
    let field = NodeRef::<Input>::new();

    let submit = move |kind: Kind| {
        if is_open.get_untracked() {
            return;
        }
        pressed.set(Some(kind));
        match kind.operation(&typed.read_untracked()) {
            Ok(operation) => {
                mistake.set(None);
                session.with_value(|session| session.sender().submit(operation));
            }
            Err(error) => mistake.set(Some(error.to_string())),
        }
    };
    let change_sign = move |_| {
        typed.update(|typed| *typed = format::with_other_sign(typed));
        mistake.set(None);
    };
    let key = move |kind: Kind| {
        view! {
            <button
                type="button"
                class:refused=flag(move || is_refused.get() && pressed.get() == Some(kind))
                data-testid=format!("key-{}", kind.name())
                aria-label=text(move || kind.spoken(&typed.read()))
                aria-disabled=text(move || is_open.get().to_string())
                aria-describedby="op-result"
                // A double click means one operation.
                on:click=move |event| {
                    if event.detail() <= 1 {
                        submit(kind);
                    }
                }
            >
                {text(move || kind.shown(&typed.read()))}
            </button>
        }
        .into_any()
    };

    view! {
        <section class="card keypad" aria-labelledby="keypad-title">
            <h2 id="keypad-title">"Put an operation in"</h2>
            <form
                class="argument"
                novalidate
                on:submit=move |event: leptos::ev::SubmitEvent| {
                    event.prevent_default();
                    submit(pressed.get_untracked().unwrap_or_default());
                }
            >
                <input
                    type="text"
                    inputmode="numeric"
                    autocomplete="off"
                    spellcheck="false"
                    placeholder="any whole number"
                    aria-label="Number"
                    data-testid="op-arg"
                    aria-describedby="op-result"
                    aria-invalid=text(move || mistake.with(Option::is_some).to_string())
                    node_ref=field
                    prop:value=typed
                    on:input=move |event| {
                        typed.set(event_target_value(&event));
                        mistake.set(None);
                    }
                />
                <button type="button" aria-label="Change the sign" data-testid="op-sign" on:click=change_sign>
                    "±"
                </button>
            </form>
            <div class="keys">{Kind::ALL.into_iter().map(key).collect_view()}</div>
            <Result operation=operation mistake=mistake />
            <Pending operation=operation session=session field=field />
        </section>
    }
}

#[component]
fn Result(operation: RwSignal<Option<OperationStatus>>, mistake: RwSignal<Option<String>>) -> impl IntoView {
    let shown = Memo::new(move |_| match mistake.get() {
        Some(text) => Some(OperationStatus { kind: "refused", tone: Tone::Bad, text, way: Default::default() }),
        None => operation.get(),
    });
    let of = move |get: fn(&OperationStatus) -> String| {
        text(move || shown.with(|status| status.as_ref().map_or_else(String::new, get)))
    };
    // How many of the steps are done.
    let way = move || {
        shown
            .with(|status| match status.as_ref().map(|status| (status.kind, &status.way)) {
                Some(("ok", way)) => 1 + way.iter().filter(|step| !step.is_empty()).count(),
                Some(("sending" | "pending", _)) => 1,
                _ => 0,
            })
            .to_string()
    };
    let step = move |place: usize, name: &'static str| {
        shown.with(|status| match status.as_ref().map(|status| status.way[place].clone()) {
            Some(text) if !text.is_empty() => text,
            _ => name.to_owned(),
        })
    };
    view! {
        <div id="op-result" class="result-box" role="status">
            <p class="way" data-testid="op-way" data-value=way>
                <span>"pending"</span>
                " → "
                <span>{text(move || step(0, "committed"))}</span>
                " → "
                <span>{text(move || step(1, "applied here"))}</span>
            </p>
            <p
                hidden=flag(move || shown.with(|status| status.as_ref().is_none_or(|status| status.text.is_empty())))
                class=of(|status| format!("result {}", status.tone.class()))
                data-testid="op-result"
                data-value=of(|status| status.kind.to_owned())
            >
                <span class="sign" aria-hidden="true">{of(|status| sign(status.tone).to_owned())}</span>
                <span>{of(|status| status.text.clone())}</span>
            </p>
        </div>
    }
}

fn sign(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "✓",
        Tone::Bad => "✕",
        Tone::Warn | Tone::Busy | Tone::Idle => "!",
    }
}

/// What a person can do while an operation is pending. It is hidden and not removed, so that the focus can move on.
#[component]
fn Pending(
    operation: RwSignal<Option<OperationStatus>>,
    session: StoredValue<Rc<Session>, LocalStorage>,
    field: NodeRef<Input>,
) -> impl IntoView {
    let actions = NodeRef::<Div>::new();
    let is_pending =
        Memo::new(move |_| operation.with(|status| status.as_ref().is_some_and(OperationStatus::is_pending)));
    Effect::new(move |_| {
        let has_focus = || {
            let focused = document().active_element()?;
            Some(actions.get_untracked()?.contains(Some(&focused)))
        };
        if !is_pending.get()
            && has_focus() == Some(true)
            && let Some(field) = field.get_untracked()
        {
            let _ = field.focus();
        }
    });
    view! {
        <div class="actions" node_ref=actions hidden=flag(move || !is_pending.get())>
            <button
                type="button"
                data-testid="op-try-now"
                on:click=move |_| session.with_value(|session| session.sender().try_now())
            >
                "Ask again now"
            </button>
            <button
                type="button"
                data-testid="op-stop"
                title="It may still be done. The page then says so."
                on:click=move |_| session.with_value(|session| session.sender().stop_waiting())
            >
                "Stop waiting"
            </button>
            <small>"Asking again is safe: it is done once."</small>
        </div>
    }
}
