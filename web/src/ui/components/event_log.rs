//! The event log: all of the retained history, newest first, and paused as soon as somebody scrolls in it.

use std::rc::Rc;

use engine::{Index, Operation};
use leptos::ev::{Event, MouseEvent, SubmitEvent};
use leptos::html::Div;
use leptos::prelude::*;

use super::{flag, text};
use leptos::wasm_bindgen::JsCast;
use web_sys::Element;

use super::resizes::Resizes;
use crate::format;
use crate::model::history::{Filter, Kinds};
use crate::ui::session::Session;
use crate::ui::signals::{Row, Signals};

/// The height of the probe in rows.
const PROBED_ROWS: i32 = 100;

/// What can be shown alone: the name for programs, the name for people, and the kind of operation.
const FILTERS: [(&str, &str, Option<Operation>); 9] = [
    ("all", "everything", None),
    ("mine", "mine", None),
    ("incidents", "incidents", None),
    ("add", "+", Some(Operation::Add(0))),
    ("subtract", "−", Some(Operation::Subtract(0))),
    ("multiply", "×", Some(Operation::Multiply(0))),
    ("divide", "÷", Some(Operation::Divide(0))),
    ("square_root", "√", Some(Operation::SquareRoot)),
    ("square", "x²", Some(Operation::PowerOfTwo)),
];

#[component]
pub(super) fn EventLogCard(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let Signals { rows, log, .. } = signals;
    let list = NodeRef::<Div>::new();
    // Measures the height of a row, which depends on the text size.
    let probe = NodeRef::<Div>::new();
    // Whether the person paused the log with the button; scrolling down pauses it too.
    let paused = RwSignal::new(false);
    let chosen = RwSignal::new("all".to_owned());
    let sought = RwSignal::new(String::new());

    let measure = move || {
        let (Some(list), Some(probe)) = (list.get_untracked(), probe.get_untracked()) else { return };
        let row = (probe.offset_height() + PROBED_ROWS - 1) / PROBED_ROWS;
        let _ = web_sys::HtmlElement::style(&list).set_property("--height", &format!("{row}px"));
        let height = list.client_height();
        let set_top = move |top: u64| list.set_scroll_top(i32::try_from(top).unwrap_or(i32::MAX));
        let length = |pixels: i32| u32::try_from(pixels).unwrap_or_default();
        session.with_value(|session| session.painter().show_log(length(row), length(height), set_top));
    };
    let observer = StoredValue::new_local(Resizes::new(measure));
    Effect::new(move |_| {
        if let (Some(list), Some(probe)) = (list.get(), probe.get()) {
            observer.with_value(|observer| {
                observer.watch(&list);
                observer.watch(&probe);
            });
        }
    });

    let pause = move || {
        session.with_value(|session| {
            let pause = paused.get_untracked() || !session.painter().is_at_the_newest();
            session.change(|model| model.history_mut().set_paused(pause));
        });
    };
    let scroll = move |_: Event| {
        if let Some(list) = list.get_untracked() {
            let top = u64::try_from(list.scroll_top()).unwrap_or_default();
            session.with_value(|session| session.painter().scroll_log(top));
            pause();
        }
    };
    let go_to = move |place: u64| {
        session.with_value(|session| session.painter().go_to_line(place));
        pause();
    };
    let is_paused = move || log.with(|log| log.missed.is_some());
    let toggle = move |_| {
        if is_paused() {
            paused.set(false);
            go_to(0);
        } else {
            paused.set(true);
            pause();
        }
    };
    let jump = move |_| {
        // The button will be hidden, and the keyboard's focus must not be lost with it.
        if let Some(list) = list.get_untracked() {
            let _ = list.focus();
        }
        paused.set(false);
        go_to(0);
    };
    let filter = move || {
        let kind = chosen.get_untracked();
        let operation = FILTERS.iter().find(|(name, ..)| *name == kind).and_then(|(.., operation)| *operation);
        let mut kinds = Kinds::default();
        if let Some(operation) = operation {
            kinds.toggle(operation);
        }
        let typed = sought.get_untracked();
        let author = if index_in(&typed).is_some() { String::new() } else { typed.trim().to_owned() };
        let filter = Filter { kinds, mine: kind == "mine", author, incidents_only: kind == "incidents" };
        session.with_value(|session| session.change(|model| model.history_mut().set_filter(Some(filter))));
        go_to(0);
    };
    let seek = move |event: SubmitEvent| {
        event.prevent_default();
        filter();
        if let Some(index) = index_in(&sought.get_untracked()) {
            let place = session.with_value(|session| session.with_model(|model| model.history().place_of(index)));
            go_to(place);
        }
    };
    // A click on the line of an incident tells it again.
    let tell = move |event: MouseEvent| {
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let row = target.and_then(|target| target.closest("[data-incident]").ok().flatten());
        let id = row.and_then(|row| row.get_attribute("data-incident")?.parse().ok()).filter(|id| *id != 0);
        if id.is_some() {
            session.with_value(|session| session.replay_incident(id));
        }
    };
    view! {
        <section class="card log" aria-labelledby="log-title">
            <div class="card-head">
                <h2 id="log-title">"Event log"</h2>
                <select
                    aria-label="Show"
                    data-testid="log-filter"
                    on:change=move |event| {
                        chosen.set(event_target_value(&event));
                        filter();
                    }
                >
                    {FILTERS.map(|(name, label, _)| view! { <option value=name>{label}</option> }).into_iter().collect_view()}
                </select>
                <form on:submit=seek>
                    <input
                        type="search"
                        aria-label="Go to an index, or show only what somebody submitted"
                        placeholder="# or name"
                        data-testid="log-seek"
                        on:input=move |event| sought.set(event_target_value(&event))
                    />
                </form>
                <button type="button" data-testid="log-pause" aria-pressed=text(move || is_paused().to_string()) on:click=toggle>
                    {text(move || if is_paused() { "▶ Resume" } else { "❚❚ Pause" })}
                </button>
            </div>
            <p class="log-note" data-testid="log-note">{text(move || log.with(|log| log.note.clone()))}</p>
            <div class="list-box">
                <div
                    class="list"
                    node_ref=list
                    tabindex="0"
                    role="list"
                    aria-label="Events, newest first"
                    data-testid="event-log"
                    on:scroll=scroll
                    on:click=tell
                >
                    <div class="all" role="presentation" style:height=text(move || log.with(|log| format!("{}px", log.height)))>
                        {rows.into_iter().map(event_row).collect_view()}
                    </div>
                </div>
                <div class="probe-box" aria-hidden="true">
                    <div class="row-probe" node_ref=probe></div>
                </div>
                <p class="empty" hidden=flag(move || log.with(|log| !log.is_empty))>"There are no events yet."</p>
                <button
                    type="button"
                    class="jump strong"
                    data-testid="log-jump"
                    hidden=flag(move || log.with(|log| log.missed.unwrap_or(0) == 0))
                    on:click=jump
                >
                    {text(move || log.with(|log| format!("↑ {} since – show the newest", format::events(log.missed.unwrap_or(0)))))}
                </button>
            </div>
        </section>
    }
}

/// The index that was typed, with or without `#` and commas.
fn index_in(typed: &str) -> Option<Index> {
    typed.trim().trim_start_matches('#').replace(',', "").parse().ok().map(Index)
}

/// One element for the line at its place. Its texts are replaced.
fn event_row(row: RwSignal<Option<Row>>) -> AnyView {
    let of = move |get: fn(&Row) -> String| text(move || row.with(|row| row.as_ref().map_or_else(String::new, get)));
    let name = |row: &Row| if row.line.incident == 0 { "event-row" } else { "incident-row" }.to_owned();
    view! {
        <div
            class=of(|row| row.line.class.to_owned())
            hidden=flag(move || row.with(Option::is_none))
            role="listitem"
            data-testid=of(name)
            data-index=of(|row| row.line.index.to_string())
            data-value=of(|row| row.line.value.clone())
            data-incident=of(|row| row.line.incident.to_string())
            style:transform=of(|row| format!("translateY({}px)", row.top))
        >
            <span class="index">{of(|row| row.line.shown_index.clone())}</span>
            <span class="operation">{of(|row| row.line.text.clone())}</span>
            <span class="number">{of(|row| row.line.shown_value.clone())}</span>
            <span class="author">{of(|row| row.line.author.clone())}</span>
            <span class="when">{of(|row| row.line.time.clone())}</span>
        </div>
    }
    .into_any()
}
