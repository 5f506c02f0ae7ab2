//! The raw numbers, and what happened: for those who look closely.

use engine::Durability;
use leptos::prelude::*;

use super::in_each_frame;
use crate::format::{self, NOTHING};
use crate::known::Known;
use crate::model::Numbers;
use crate::model::news::CAPACITY;
use crate::model::resync::ResyncLine;
use crate::ui::elements::Spot;
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

#[component]
pub(super) fn Details(session: Handle) -> impl IntoView {
    in_each_frame(session, || {
        let facts = FACTS.map(Spot::named);
        let [first_resync, reconnect, notices] = ["resync", "reconnect", "notices"].map(Spot::named);
        let items = notices.part("li").repeated(CAPACITY).into_iter();
        let items: Vec<_> = items.map(|item| (item.part("time"), item.part("span"), item)).collect();
        let mut version = None;
        move |frame: &mut Frame| {
            for (spot, (value, text)) in facts.iter().zip(facts_of(&frame.model.numbers())) {
                spot.value(&value);
                spot.text(&text);
            }
            show_resync(&first_resync, frame.model.first_resync());
            show_resync(&reconnect, frame.model.reconnect());
            if version.replace(frame.model.news_version()) == Some(frame.model.news_version()) {
                return;
            }
            let mut news = frame.model.news();
            for (time, text, element) in &items {
                let item = news.next();
                element.hide(item.is_none());
                let Some(item) = item else { continue };
                element.class(item.tone.class());
                time.text(&item.time.to_string());
                let times = if item.times > 1 { format!(" ×{}", item.times) } else { String::new() };
                text.text(&format!("{}{times}", item.text));
            }
        }
    });
    view! {
        <section class="card details" aria-labelledby="details-title">
            <h2 id="details-title">"In numbers"</h2>
            <dl class="facts">
                <div><dt>"Index"</dt><dd data-testid="index"></dd></div>
                <div><dt>"Leader’s tail"</dt><dd data-testid="tail"></dd></div>
                <div><dt>"Lag in events"</dt><dd data-testid="lag-events"></dd></div>
                <div><dt>"Lag in time"</dt><dd data-testid="lag-ms"></dd></div>
                <div><dt><button type="button" class="term" data-word="term">"Term"</button></dt><dd data-testid="term"></dd></div>
                <div><dt><button type="button" class="term" data-word="digest">"Digest"</button></dt><dd data-testid="digest"></dd></div>
                <div><dt>"Log id"</dt><dd data-testid="log-id"></dd></div>
                <div><dt>"Durability"</dt><dd data-testid="durability"></dd></div>
            </dl>
            <div class="resyncs"><p hidden data-testid="resync"></p><p hidden data-testid="reconnect"></p></div>
            <div class="news">
                <ul data-testid="notices" tabindex="0" aria-label="What happened">
                    <li hidden><time></time><span></span></li>
                </ul>
            </div>
        </section>
    }
}

/// The names of the facts, in the order of [`facts_of`].
const FACTS: [&str; 8] = ["index", "tail", "lag-events", "lag-ms", "term", "digest", "log-id", "durability"];

/// The facts for programs and for people.
fn facts_of(numbers: &Numbers) -> [(String, String); 8] {
    // In place of a number that would be out of date.
    let known = |text: String| match (numbers.tail, numbers.unknown_since) {
        (Known::Not, Some(since)) => format!("not known since {since}"),
        (Known::Not, None) => NOTHING.to_owned(),
        _ => text,
    };
    let counted = |count: Known| (value_of(count), known(format::known(count)));
    let hex = |digits: Option<String>| {
        let shown = digits.as_deref().map_or_else(|| NOTHING.to_owned(), format::in_fours);
        (digits.unwrap_or_default(), shown)
    };
    let index = numbers.held.map(|held| held.position().index.0);
    let lag = numbers.lag;
    let term = numbers.term.map_or_else(|| NOTHING.to_owned(), |term| term.to_string());
    let durability = match numbers.durability {
        None | Some(Durability::Unknown) => NOTHING,
        Some(Durability::Memory) => "In memory: a restart of the leader starts a new log.",
        Some(Durability::Os) => "Survives a crash of the leader; a power cut may take the last moments.",
        Some(Durability::Fsync) => "Every event is on the leader’s disk before it is shown here.",
    };
    [
        (index.unwrap_or_default().to_string(), index.map_or_else(|| NOTHING.to_owned(), format::grouped_count)),
        counted(numbers.tail),
        counted(numbers.lag_events),
        (
            lag.map_or_else(String::new, |lag| format::millis(lag).to_string()),
            known(lag.map_or_else(|| NOTHING.to_owned(), format::duration)),
        ),
        (term.clone(), term),
        hex(numbers.held.map(|held| held.position().digest.to_string())),
        hex(numbers.held.map(|held| held.log().to_string())),
        (String::new(), durability.to_owned()),
    ]
}

fn value_of(known: Known) -> String {
    match known {
        Known::Not => String::new(),
        Known::AtLeast(count) | Known::Exactly(count) => count.to_string(),
    }
}

fn show_resync(spot: &Spot, line: Option<&ResyncLine>) {
    spot.hide(line.is_none());
    if let Some(line) = line {
        spot.value(&line.verdict);
        spot.text(&format!("{} {}", line.time, line.text));
    }
}
