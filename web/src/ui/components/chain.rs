//! The digest chain: the leader's and this page's side by side, and a copy to tamper with.

use std::rc::Rc;

use leptos::prelude::*;

use super::{flag, text};

use super::term::word;
use crate::format;
use crate::glossary::Word;
use crate::model::chain::{Chain, Tampered};
use crate::ui::session::Session;
use crate::ui::signals::Signals;

/// How many events are shown.
const ROWS: usize = 5;

/// Which of the shown events is altered in the copy, from the newest. Those after it show that no later one hides it.
const ALTERED: usize = 3;

/// A row of the table: index, operation, one digest, how they compare, the other digest.
struct Row {
    class: &'static str,
    texts: [String; 5],
}

#[component]
pub(super) fn ChainCard(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let chain = signals.chain;
    // The chain as it was when somebody tampered with its copy.
    let tampered = RwSignal::new(None::<Chain>);
    let hides = RwSignal::new(false);
    let begin = move |_| {
        hides.set(false);
        tampered.set(match tampered.get_untracked() {
            Some(_) => None,
            None => Some(session.with_value(|session| session.with_model(|model| model.chain().clone()))),
        });
    };
    let copy = Memo::new(move |_| {
        tampered.with(|chain| {
            let chain = chain.as_ref()?;
            let at = chain.links().rev().nth(ALTERED).or_else(|| chain.links().next())?.event.index;
            chain.tamper(at, hides.get())
        })
    });
    let rows = move || {
        copy.with(|copy| match copy {
            Some(copy) => rows_of_copy(copy),
            None => chain.with(rows_of),
        })
    };
    let is_copy = move || copy.with(Option::is_some);
    view! {
        <section class="card chain" aria-labelledby="chain-title">
            <div class="card-head">
                <h2 id="chain-title">"Digest chain: leader and you"</h2>
                <button
                    type="button"
                    data-testid="hide"
                    hidden=flag(move || !is_copy())
                    aria-pressed=text(move || hides.get().to_string())
                    on:click=move |_| hides.update(|hides| *hides = !*hides)
                >
                    "Try to hide it"
                </button>
                <button type="button" data-testid="tamper" aria-pressed=text(move || is_copy().to_string()) on:click=begin>
                    {text(move || if is_copy() { "Real chain" } else { "Tamper" })}
                </button>
            </div>
            <table>
                <thead>
                    <tr>
                        <th scope="col">{word(Word::Index, "Index")}</th>
                        <th scope="col">"Operation"</th>
                        <th scope="col">{text(move || if is_copy() { "Real" } else { "Leader" })}</th>
                        <th scope="col"><span class="for-screen-readers">"Equal?"</span></th>
                        <th scope="col">{text(move || if is_copy() { "Copy" } else { "This page" })}</th>
                    </tr>
                </thead>
                <tbody data-testid="chain" data-value=text(move || if is_copy() { "copy" } else { "real" })>
                    {move || rows().into_iter().map(row).collect_view()}
                </tbody>
            </table>
            <p class="chain-text" data-testid="chain-text">
                {text(move || copy.with(|copy| match copy {
                    Some(copy) => copy.text(),
                    None => {
                        "Each digest is made from the one before it, the operation and the new value. The leader tells the \
                         digest at the end of each batch; the ones between are computed here."
                            .to_owned()
                    }
                }))}
            </p>
        </section>
    }
}

fn row(Row { class, texts }: Row) -> AnyView {
    view! { <tr class=class>{texts.into_iter().map(|text| view! { <td>{text}</td> }).collect_view()}</tr> }.into_any()
}

fn rows_of(chain: &Chain) -> Vec<Row> {
    let links = chain.links();
    let skipped = links.len().saturating_sub(ROWS);
    let row = |link: &crate::model::chain::Link| {
        let own = format::short_digest(link.digest);
        let (leader, sign) = if link.proved { (own.clone(), "=") } else { ("between".to_owned(), "") };
        Row {
            class: if link.proved { "equal" } else { "between" },
            texts: [
                format::grouped_count(link.event.index.0),
                format::operation(link.event.operation),
                leader,
                sign.to_owned(),
                own,
            ],
        }
    };
    links.skip(skipped).map(row).collect()
}

fn rows_of_copy(copy: &Tampered) -> Vec<Row> {
    let skipped = copy.rows.len().saturating_sub(ROWS);
    let row = |row: &crate::model::chain::Row| {
        let operation = format::operation(row.event.operation);
        let changed = row.is_changed();
        Row {
            class: match (changed, row.is_equal()) {
                (true, _) => "changed",
                (false, true) => "equal",
                (false, false) => "differs",
            },
            texts: [
                format::grouped_count(row.event.index.0),
                if changed { format!("{operation} → {}", format::operation(row.operation)) } else { operation },
                format::short_digest(row.digest),
                if row.is_equal() { "=" } else { "≠" }.to_owned(),
                row.copy.map_or_else(|| "ends here".to_owned(), |(_, digest)| format::short_digest(digest)),
            ],
        }
    };
    copy.rows.iter().skip(skipped).map(row).collect()
}
