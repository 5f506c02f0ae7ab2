//! The raw numbers, and what happened: for those who look closely.

use engine::Durability;
use leptos::prelude::*;

use super::{Text, flag, text};

use crate::format::{self, NOTHING};
use crate::known::Known;
use crate::model::news::Item;
use crate::model::resync::ResyncLine;
use crate::ui::signals::Signals;

#[component]
pub(super) fn Details(signals: Signals) -> impl IntoView {
    let Signals { numbers, first_resync, reconnect, news, .. } = signals;
    let index = move || numbers.with(|numbers| numbers.held.map(|held| held.position().index.0));
    let tail = move || numbers.with(|numbers| numbers.tail);
    let lag_events = move || numbers.with(|numbers| numbers.lag_events);
    let lag = move || numbers.with(|numbers| numbers.lag);
    // In place of a number that would be out of date.
    let known = move |text: String| match numbers.with(|numbers| (numbers.tail, numbers.unknown_since)) {
        (Known::Not, Some(since)) => format!("not known since {since}"),
        (Known::Not, None) => NOTHING.to_owned(),
        _ => text,
    };
    let digest = move || numbers.with(|numbers| numbers.held.map(|held| held.position().digest.to_string()));
    let log = move || numbers.with(|numbers| numbers.held.map(|held| held.log().to_string()));
    let term = move || numbers.with(|numbers| numbers.term).map_or_else(|| NOTHING.to_owned(), |term| term.to_string());
    let durability = move || match numbers.with(|numbers| numbers.durability) {
        None | Some(Durability::Unknown) => NOTHING,
        Some(Durability::Memory) => "In memory: a restart of the leader starts a new log.",
        Some(Durability::Os) => "Survives a crash of the leader; a power cut may take the last moments.",
        Some(Durability::Fsync) => "Every event is on disk before it is shown here.",
    };
    let fact = |id: &'static str, name: &'static str, value: Text, shown: Text| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd data-testid=id data-value=value>{shown}</dd>
            </div>
        }
    };
    let hex = |digits: Option<String>| digits.map_or_else(|| NOTHING.to_owned(), |digits| format::in_fours(&digits));
    view! {
        <section class="card details" aria-labelledby="details-title">
            <h2 id="details-title">"In numbers"</h2>
            <dl class="facts">
                {fact(
                    "index",
                    "Index",
                    text(move || index().unwrap_or_default().to_string()),
                    text(move || index().map_or_else(|| NOTHING.to_owned(), format::grouped_count)),
                )}
                {fact(
                    "tail",
                    "Leader’s tail",
                    text(move || value_of(tail())),
                    text(move || known(format::known(tail()))),
                )}
                {fact(
                    "lag-events",
                    "Lag in events",
                    text(move || value_of(lag_events())),
                    text(move || known(format::known(lag_events()))),
                )}
                {fact(
                    "lag-ms",
                    "Lag in time",
                    text(move || lag().map_or_else(String::new, |lag| lag.as_millis().to_string())),
                    text(move || known(lag().map_or_else(|| NOTHING.to_owned(), format::duration))),
                )}
                {fact("term", "Term", text(term), text(term))}
                {fact(
                    "digest",
                    "Digest",
                    text(move || digest().unwrap_or_default()),
                    text(move || hex(digest())),
                )}
                {fact(
                    "log-id",
                    "Log",
                    text(move || log().unwrap_or_default()),
                    text(move || hex(log())),
                )}
                {fact("durability", "Durability", text(String::new), text(durability))}
            </dl>
            <div class="resyncs">{line(first_resync, "resync")} {line(reconnect, "reconnect")}</div>
            <div class="news">
                <ul data-testid="notices" tabindex="0" aria-label="What happened">
                    {move || news.get().into_iter().map(news_item).collect_view()}
                </ul>
            </div>
        </section>
    }
}

fn value_of(known: Known) -> String {
    match known {
        Known::Not => String::new(),
        Known::AtLeast(count) | Known::Exactly(count) => count.to_string(),
    }
}

fn line(line: RwSignal<Option<ResyncLine>>, id: &'static str) -> AnyView {
    view! {
        <p
            hidden=flag(move || line.with(Option::is_none))
            data-testid=id
            data-value=text(move || line.with(|line| line.as_ref().map_or_else(String::new, |line| line.verdict.clone())))
        >
            {text(move || line.with(|line| line.as_ref().map_or_else(String::new, |line| format!("{} {}", line.time, line.text))))}
        </p>
    }
    .into_any()
}

fn news_item(item: Item) -> AnyView {
    let Item { time, text, tone, times, .. } = item;
    let text = if times > 1 { format!("{text} ×{times}") } else { text };
    view! {
        <li class=tone.class()>
            <time>{time.to_string()}</time>
            <span>{text}</span>
        </li>
    }
    .into_any()
}
