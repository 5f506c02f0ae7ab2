//! The form that puts an operation into the leader's log.

use std::rc::Rc;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::entry::{Kind, Outcome};
use crate::page::session::Session;

#[component]
pub(super) fn FormCard(session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let kind = RwSignal::new(Kind::default());
    let typed = RwSignal::new(String::new());
    let sending = RwSignal::new(false);
    let outcome = RwSignal::new(None::<Outcome>);

    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if sending.get_untracked() {
            return;
        }
        let operation = match kind.get_untracked().operation(&typed.read_untracked()) {
            Ok(operation) => operation,
            Err(error) => return outcome.set(Some(error.into())),
        };
        sending.set(true);
        let answer = session.with_value(|session| session.submit(operation));
        spawn_local(async move {
            let answer = answer.await;
            // By then the page may be gone.
            let _ = outcome.try_set(Some(answer.into()));
            let _ = sending.try_set(false);
        });
    };

    view! {
        <section class="card form" aria-labelledby="form-title">
            <h2 id="form-title">"Put an operation in"</h2>
            <form on:submit=submit novalidate>
                <label>
                    <span>"Operation"</span>
                    <select
                        data-testid="op-kind"
                        on:change=move |event| kind.set(Kind::by_name(&event_target_value(&event)).unwrap_or_default())
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
                        aria-invalid=move || {
                            let refused = outcome.with(|outcome| matches!(outcome, Some(Outcome::Refused(_))));
                            if refused { "true" } else { "false" }
                        }
                        disabled=move || !kind.get().takes_argument()
                        prop:value=typed
                        on:input=move |event| {
                            typed.set(event_target_value(&event));
                            // What was said about the last one is no longer about what is typed now.
                            outcome.update(|outcome| {
                                if matches!(outcome, Some(Outcome::Refused(_))) {
                                    *outcome = None;
                                }
                            });
                        }
                    />
                </label>
                <button type="submit" data-testid="op-submit" aria-describedby="op-result" disabled=sending>
                    {move || if sending.get() { "Sending…" } else { "Apply" }}
                </button>
            </form>
            <Result outcome=outcome />
        </section>
    }
}

#[component]
fn Result(outcome: RwSignal<Option<Outcome>>) -> impl IntoView {
    let class = |outcome: &Outcome| match outcome {
        Outcome::Committed(_) => ("result good", "✓"),
        Outcome::Refused(_) => ("result bad", "✕"),
        Outcome::Failed(_) => ("result warn", "!"),
    };
    view! {
        <div id="op-result" class="result-box" role="alert">
            {move || {
                outcome
                    .get()
                    .map(|outcome| {
                        let (class, sign) = class(&outcome);
                        view! {
                            <p class=class data-testid="op-result" data-value=outcome.name()>
                                <span class="sign" aria-hidden="true">{sign}</span>
                                <span>{outcome.text()}</span>
                            </p>
                        }
                    })
            }}
        </div>
    }
}
