//! The form that submits an operation.

use std::rc::Rc;

use leptos::html::{Button, Div};
use leptos::prelude::*;

use crate::form::{Kind, NotAnArgument};
use crate::model::last_operation::OperationStatus;
use crate::model::status::Tone;
use crate::ui::session::Session;
use crate::ui::signals::Signals;

#[component]
pub(super) fn SubmitCard(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let kind = RwSignal::new(Kind::default());
    let typed = RwSignal::new(String::new());
    // What is wrong with the typed argument, until it changes.
    let mistake = RwSignal::new(None::<NotAnArgument>);
    let operation = signals.operation;
    let is_open = Memo::new(move |_| operation.with(|status| status.as_ref().is_some_and(OperationStatus::is_open)));
    let apply = NodeRef::<Button>::new();

    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if is_open.get_untracked() {
            return;
        }
        match kind.get_untracked().operation(&typed.read_untracked()) {
            Ok(operation) => {
                mistake.set(None);
                session.with_value(|session| session.sender().submit(operation));
            }
            Err(error) => mistake.set(Some(error)),
        }
    };
    let is_refused = move || {
        mistake.with(Option::is_some)
            || operation.with(|status| status.as_ref().is_some_and(|status| status.kind == "refused"))
    };

    view! {
        <section class="card form" aria-labelledby="form-title">
            <h2 id="form-title">"Submit an operation"</h2>
            <form on:submit=submit novalidate>
                <label>
                    <span>"Operation"</span>
                    <select
                        data-testid="op-kind"
                        on:change=move |event| {
                            kind.set(Kind::by_name(&event_target_value(&event)).unwrap_or_default());
                            mistake.set(None);
                        }
                    >
                        {Kind::ALL.into_iter().map(|kind| view! { <option value=kind.name()>{kind.label()}</option> }).collect_view()}
                    </select>
                </label>
                <label class:off=move || !kind.get().takes_argument()>
                    <span>"Number"</span>
                    <input
                        type="text"
                        autocomplete="off"
                        spellcheck="false"
                        placeholder="any whole number"
                        data-testid="op-arg"
                        aria-describedby="op-result"
                        aria-invalid=move || is_refused().to_string()
                        disabled=move || !kind.get().takes_argument()
                        prop:value=typed
                        on:input=move |event| {
                            typed.set(event_target_value(&event));
                            mistake.set(None);
                        }
                    />
                </label>
                // Not `disabled`, because a disabled button loses the keyboard's focus.
                <button
                    type="submit"
                    data-testid="op-submit"
                    aria-describedby="op-result"
                    aria-disabled=move || is_open.get().to_string()
                    // A double click means one operation.
                    on:click=move |event| {
                        if event.detail() > 1 {
                            event.prevent_default();
                        }
                    }
                    node_ref=apply
                >
                    {move || match operation.with(|status| status.as_ref().map(|status| status.kind)) {
                        Some("sending") => "Sending…",
                        Some("pending") => "Pending…",
                        _ => "Apply",
                    }}
                </button>
            </form>
            <Result operation=operation mistake=mistake />
            <Pending operation=operation session=session apply=apply />
        </section>
    }
}

#[component]
fn Result(operation: RwSignal<Option<OperationStatus>>, mistake: RwSignal<Option<NotAnArgument>>) -> impl IntoView {
    let shown = move || {
        let mistake = mistake.with(|mistake| mistake.as_ref().map(ToString::to_string));
        match mistake {
            Some(text) => Some(OperationStatus { kind: "refused", tone: Tone::Bad, text }),
            None => operation.get().filter(|status| !status.text.is_empty()),
        }
    };
    let sign = |tone| match tone {
        Tone::Good => "✓",
        Tone::Bad => "✕",
        Tone::Warn | Tone::Busy | Tone::Idle => "!",
    };
    view! {
        <div id="op-result" class="result-box" role="status">
            {move || {
                shown()
                    .map(|OperationStatus { kind, tone, text }| {
                        view! {
                            <p class=format!("result {}", tone.class()) data-testid="op-result" data-value=kind>
                                <span class="sign" aria-hidden="true">{sign(tone)}</span>
                                <span>{text}</span>
                            </p>
                        }
                    })
            }}
        </div>
    }
}

/// What a person can do while an operation is pending. It is hidden and not removed, so that the focus can move on.
#[component]
fn Pending(
    operation: RwSignal<Option<OperationStatus>>,
    session: StoredValue<Rc<Session>, LocalStorage>,
    apply: NodeRef<Button>,
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
            && let Some(apply) = apply.get_untracked()
        {
            let _ = apply.focus();
        }
    });
    view! {
        <div class="actions" node_ref=actions hidden=move || !is_pending.get()>
            <button
                type="button"
                class="quiet"
                data-testid="op-try-now"
                on:click=move |_| session.with_value(|session| session.sender().try_now())
            >
                "Ask again now"
            </button>
            <button
                type="button"
                class="quiet"
                data-testid="op-stop"
                title="It may still be done. The page then says so."
                on:click=move |_| session.with_value(|session| session.sender().stop_waiting())
            >
                "Stop waiting"
            </button>
            <small>"Asking again is safe: it is done once. After you stop waiting, it may still be done."</small>
        </div>
    }
}
