//! Words with an explanation, which stands at the foot of the window while it is asked for.

use leptos::prelude::*;

use super::{flag, text};

use crate::glossary::Word;

/// The word that is explained now.
#[derive(Clone, Copy)]
pub(super) struct Asked(RwSignal<Option<Word>>);

impl Asked {
    pub(super) fn provide() {
        provide_context(Self(RwSignal::new(None)));
    }
}

/// A word that can be asked for.
pub(super) fn word(word: Word, text: &'static str) -> AnyView {
    let Asked(asked) = expect_context();
    let ask = move |_| asked.set(Some(word));
    view! {
        <button type="button" class="term" on:click=ask>
            {text}
        </button>
    }
    .into_any()
}

/// Where the explanations stand.
#[component]
pub(super) fn Meanings() -> impl IntoView {
    let Asked(asked) = expect_context();
    view! {
        <div class="meaning" role="status" data-testid="meaning" hidden=flag(move || asked.with(Option::is_none))>
            <button type="button" on:click=move |_| asked.set(None)>"Close"</button>
            <h3>{text(move || asked.get().map_or("", |word| word.name()))}</h3>
            <p>{text(move || asked.get().map_or("", |word| word.meaning()))}</p>
        </div>
    }
}
