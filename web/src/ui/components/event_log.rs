//! The event log: all of the retained history, newest first, and paused as soon as somebody scrolls in it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use engine::{Index, Moment, Operation};
use leptos::prelude::*;
use leptos::web_sys::HtmlElement;

use super::in_each_frame;
use super::resizes::Resizes;
use crate::format;
use crate::model::Model;
use crate::model::history::{Filter, Kinds};
use crate::model::log::LogLine;
use crate::ui::browser;
use crate::ui::elements::{Spot, target};
use crate::ui::frame::{Frame, ROWS};
use crate::ui::session::Handle;

/// How long the newest rows stand at least.
const READABLE: Duration = Duration::from_millis(100);

/// The height of the probe in rows.
const PROBED_ROWS: i32 = 100;

#[component]
pub(super) fn EventLogCard(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let card = Spot::named("log");
        let [filter, seek, pause, note, list, jump] =
            ["log-filter", "log-seek", "log-pause", "log-note", "event-log", "log-jump"].map(Spot::named);
        let all = list.part(".all");
        let empty = card.part(".empty");
        let resizes = measure(session, &card, &list);
        listen(session, &card, [&filter, &seek, &pause, &list, &jump]);
        let mut rows: Vec<_> = all.part("div").repeated(ROWS).into_iter().map(RowSpots::new).collect();
        let mut shown = (Moment::default(), (0..0, 0));
        move |frame: &mut Frame| {
            let _ = &resizes;
            let (history, places) = (frame.model.history(), &frame.places);
            note.text(&search_note(frame.model));
            let missed = history.is_paused().then(|| history.missed());
            pause.flag("aria-pressed", missed.is_some());
            pause.text(if missed.is_some() { "▶" } else { "❚❚" });
            empty.hide(!history.is_empty());
            empty.text(match history.filter() {
                Some(filter) if filter.incidents_only => "Nothing has gone wrong yet.",
                Some(filter) if *filter != Filter::default() => "There is nothing like that.",
                _ => "There are no events yet.",
            });
            jump.hide(missed.unwrap_or(0) == 0);
            if let Some(missed) = missed {
                jump.text(&format!("↑ {} since – show the newest", format::events(missed)));
            }
            // At the top, rows change with every event, and nobody reads sixty texts a second.
            let where_rows_are = (places.clone(), frame.scroll.y(1));
            let is_moving = places.start == 0 && shown.1 == where_rows_are && !history.is_paused();
            if is_moving && frame.now.at.since(shown.0) < READABLE {
                return session.with_value(|session| session.painter().request());
            }
            shown = (frame.now.at, where_rows_are);
            all.style("height", &format!("{}px", frame.scroll.height()));
            let offset = browser::utc_offset();
            for (slot, row) in (0..).zip(&mut rows) {
                // The one place in the window that this element shows.
                let rows = ROWS as u64;
                let place = places.start + (slot + rows - places.start % rows) % rows;
                let line = if place < places.end { frame.model.log_line(place, offset) } else { None };
                row.show(line.map(|line| (frame.scroll.y(place), line)));
            }
        }
    });
    view! {
        <section class="card log" aria-labelledby="log-title" data-testid="log">
            <div class="card-head">
                <h2 id="log-title">"Event log"</h2>
                <select aria-label="Show" data-testid="log-filter">
                    <option value="all">"everything"</option>
                    <option value="mine">"mine"</option>
                    <option value="incidents">"incidents"</option>
                    <option value="add">"+"</option>
                    <option value="subtract">"−"</option>
                    <option value="multiply">"×"</option>
                    <option value="divide">"÷"</option>
                    <option value="square_root">"√"</option>
                    <option value="square">"x²"</option>
                </select>
                <form>
                    <input
                        type="search"
                        aria-label="Go to an index, or show only what somebody submitted"
                        placeholder="# or name"
                        data-testid="log-seek"
                    />
                </form>
                <button type="button" data-testid="log-pause" aria-label="Pause the event log" aria-pressed="false">"❚❚"</button>
            </div>
            <p class="log-note" data-testid="log-note"></p>
            <div class="list-box">
                <div class="list" tabindex="0" role="list" aria-label="Events, newest first" data-testid="event-log">
                    <div class="all" role="presentation">
                        <div role="listitem" hidden>
                            <span class="index"></span>
                            <span class="operation"></span>
                            <span class="number"></span>
                            <span class="author"></span>
                            <span class="when"></span>
                        </div>
                    </div>
                </div>
                <div class="probe-box" aria-hidden="true"><div class="row-probe"></div></div>
                <p class="empty" hidden></p>
                <button type="button" class="jump strong" data-testid="log-jump" hidden></button>
            </div>
        </section>
    }
}

/// What a filter has searched, or what is wrong.
fn search_note(model: &Model) -> String {
    let history = model.history();
    match (history.wrong(), history.searched_back_to()) {
        (Some(wrong), _) => format!("The leader’s history contradicts itself: {}", format::with_minus(wrong)),
        (None, Some(_)) if history.has_searched_all() => format!("{} found in all of history", history.len()),
        (None, Some(index)) => format!("{} found, searched back to {}", history.len(), format::index(index)),
        (None, None) => String::new(),
    }
}

/// Measures the height of a row, which depends on the text size, and of the list, now and when one of them changes.
fn measure(session: Handle, card: &Spot, list: &Spot) -> Resizes {
    let (list, probe) = (list.element().clone(), card.part(".row-probe").element().clone());
    let watched = (list.clone(), probe.clone());
    let resizes = Resizes::new(move || {
        let row = (probe.offset_height() + PROBED_ROWS - 1) / PROBED_ROWS;
        let _ = list.style().set_property("--height", &format!("{row}px"));
        let length = |pixels: i32| u32::try_from(pixels).unwrap_or_default();
        let scrolled = list.clone();
        let set_top = move |top: u64| scrolled.set_scroll_top(i32::try_from(top).unwrap_or(i32::MAX));
        session.with_value(|session| session.painter().show_log(length(row), length(list.client_height()), set_top));
    });
    resizes.watch(&watched.0);
    resizes.watch(&watched.1);
    resizes
}

fn listen(session: Handle, card: &Spot, [filter, seek, pause, list, jump]: [&Spot; 5]) {
    // Whether the person paused the log with the button; scrolling down pauses it too.
    let pauses = Rc::new(Cell::new(false));
    let update_pause = {
        let pauses = Rc::clone(&pauses);
        move || {
            session.with_value(|session| {
                let pause = pauses.get() || !session.painter().is_at_the_newest();
                session.change(|model| model.history_mut().set_paused(pause));
            });
        }
    };
    let go_to = {
        let update_pause = update_pause.clone();
        move |place: u64| {
            session.with_value(|session| session.painter().go_to_line(place));
            update_pause();
        }
    };

    let scrolled: HtmlElement = list.element().clone();
    list.on("scroll", {
        let update_pause = update_pause.clone();
        move |_| {
            let top = u64::try_from(scrolled.scroll_top()).unwrap_or_default();
            session.with_value(|session| session.painter().scroll_log(top));
            update_pause();
        }
    });
    // A click on the line of an incident tells it again.
    list.on("click", move |event| {
        let row = target(&event, "[data-incident]");
        let id = row.and_then(|row| row.get_attribute("data-incident")?.parse().ok()).filter(|id| *id != 0);
        if id.is_some() {
            session.with_value(|session| session.replay_incident(id));
        }
    });
    pause.on("click", {
        let (pauses, go_to) = (Rc::clone(&pauses), go_to.clone());
        move |_| {
            let is_paused = session.with_value(|session| session.with_model(|model| model.history().is_paused()));
            pauses.set(!is_paused);
            if is_paused { go_to(0) } else { update_pause() }
        }
    });
    let focused = list.element().clone();
    jump.on("click", {
        let go_to = go_to.clone();
        move |_| {
            // The button will be hidden, and the keyboard's focus must not be lost with it.
            let _ = focused.focus();
            pauses.set(false);
            go_to(0);
        }
    });
    let (filter_field, seek_field) = (filter.input().clone(), seek.input().clone());
    let apply_filter = {
        let seek_field = seek_field.clone();
        let go_to = go_to.clone();
        move || {
            let kind = filter_field.value();
            let typed = seek_field.value();
            let author = if index_in(&typed).is_some() { String::new() } else { typed.trim().to_owned() };
            let mut kinds = Kinds::default();
            if let Some(operation) = operation_of(&kind) {
                kinds.toggle(operation);
            }
            let filter = Filter { kinds, mine: kind == "mine", author, incidents_only: kind == "incidents" };
            session.with_value(|session| session.change(|model| model.history_mut().set_filter(Some(filter))));
            go_to(0);
        }
    };
    card.part("form").on("submit", {
        let apply_filter = apply_filter.clone();
        move |event| {
            event.prevent_default();
            apply_filter();
            if let Some(index) = index_in(&seek_field.value()) {
                go_to(session.with_value(|session| session.with_model(|model| model.history().place_of(index))));
            }
        }
    });
    filter.on("change", move |_| apply_filter());
}

/// The kind of operation that a filter shows alone.
fn operation_of(filter: &str) -> Option<Operation> {
    Some(match filter {
        "add" => Operation::Add(0),
        "subtract" => Operation::Subtract(0),
        "multiply" => Operation::Multiply(0),
        "divide" => Operation::Divide(0),
        "square_root" => Operation::SquareRoot,
        "square" => Operation::PowerOfTwo,
        _ => return None,
    })
}

/// The index that was typed, with or without `#` and commas.
fn index_in(typed: &str) -> Option<Index> {
    typed.trim().trim_start_matches('#').replace(',', "").parse().ok().map(Index)
}

/// One element for the line at its place. A row keeps its element: scrolling moves elements, new events replace their text.
struct RowSpots {
    row: Spot,
    parts: [Spot; 5],
    /// Where it is in the list, in pixels from its top, and what it shows.
    shown: Option<(i64, LogLine)>,
}

impl RowSpots {
    fn new(row: Spot) -> Self {
        let parts = [".index", ".operation", ".number", ".author", ".when"].map(|part| row.part(part));
        Self { row, parts, shown: None }
    }

    fn show(&mut self, line: Option<(i64, LogLine)>) {
        if self.shown == line {
            return;
        }
        self.shown = line;
        self.row.hide(self.shown.is_none());
        let Some((top, line)) = &self.shown else {
            self.row.class("");
            return self.row.attribute("data-testid", "");
        };
        self.row.class(line.class);
        self.row.attribute("data-testid", if line.incident == 0 { "event-row" } else { "incident-row" });
        self.row.attribute("data-index", &line.index.to_string());
        self.row.attribute("data-incident", &line.incident.to_string());
        self.row.value(&line.value);
        self.row.style("transform", &format!("translateY({top}px)"));
        // For one that is cut off.
        self.parts[1].attribute("title", &line.text);
        let texts = [&line.shown_index, &line.text, &line.shown_value, &line.author, &line.time];
        for (part, text) in self.parts.iter().zip(texts) {
            part.text(text);
        }
    }
}
