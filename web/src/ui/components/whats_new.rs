//! What happened recently.

use leptos::prelude::*;

use crate::model::news::Item;
use crate::ui::signals::Signals;

#[component]
pub(super) fn WhatsNew(signals: Signals) -> impl IntoView {
    let news = signals.news;
    view! {
        <section class="card news" aria-labelledby="news-title">
            <h2 id="news-title">"What happened"</h2>
            <p class="empty" hidden=move || news.with(|news| !news.is_empty())>
                "Nothing unusual yet. Lost connections, gaps, restarts and divergences appear here."
            </p>
            <ul data-testid="notices">
                <For each=move || news.get() key=|item| (item.id, item.times) let:item>
                    <NewsItem item=item />
                </For>
            </ul>
        </section>
    }
}

#[component]
fn NewsItem(item: Item) -> impl IntoView {
    let Item { time, text, tone, times, .. } = item;
    view! {
        <li class=tone.class()>
            <time>{time.to_string()}</time>
            <span>
                {text}
                {(times > 1).then(|| view! { <b class="times">{format!("×{times}")}</b> })}
            </span>
        </li>
    }
}
