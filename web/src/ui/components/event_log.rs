//! The event log: newest first, and paused as soon as somebody scrolls in it.

use std::rc::Rc;

use leptos::ev::Event;
use leptos::html::Div;
use leptos::prelude::*;

use super::resizes::Resizes;
use crate::format;
use crate::ui::painter::Viewport;
use crate::ui::session::Session;
use crate::ui::signals::{Row, Signals};

/// The height of the probe in rows. Browsers report whole pixels, but the height of a row can have a fraction.
const PROBED_ROWS: f64 = 100.0;

#[component]
pub(super) fn EventLogCard(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let Signals { rows, log_length, log_missed, .. } = signals;
    let list = NodeRef::<Div>::new();
    // Measures the height of a row, which depends on the text size.
    let probe = NodeRef::<Div>::new();
    let row_height = RwSignal::new(30.0);
    // Whether the person paused the log with the button; scrolling down pauses it too.
    let paused = RwSignal::new(false);

    let look = move || {
        let Some(list) = list.get_untracked() else { return };
        let height = probe.get_untracked().map_or(0.0, |probe| f64::from(probe.offset_height()) / PROBED_ROWS);
        if height > 0.0 && (height - row_height.get_untracked()).abs() > 0.01 {
            row_height.set(height);
        }
        let viewport = Viewport {
            top: f64::from(list.scroll_top()),
            height: f64::from(list.client_height()),
            row: row_height.get_untracked(),
        };
        session.with_value(|session| {
            session.painter().look_at(viewport);
            session.pause_log(paused.get_untracked() || viewport.top > 1.0);
        });
    };
    let resume = move || {
        paused.set(false);
        if let Some(list) = list.get_untracked() {
            list.set_scroll_top(0);
        }
        look();
    };
    let jump = move |_| {
        // The button will be hidden, and the keyboard's focus must not be lost with it.
        if let Some(list) = list.get_untracked() {
            let _ = list.focus();
        }
        resume();
    };
    let toggle = move |_| {
        if log_missed.get_untracked().is_some() {
            resume();
        } else {
            paused.set(true);
            look();
        }
    };
    let observer = StoredValue::new_local(Resizes::new(look));
    Effect::new(move |_| {
        if let (Some(list), Some(probe)) = (list.get(), probe.get()) {
            observer.with_value(|observer| {
                observer.watch(&list);
                observer.watch(&probe);
            });
        }
    });

    let is_paused = move || log_missed.get().is_some();
    view! {
        <section class="card log" aria-labelledby="log-title">
            <div class="card-head">
                <h2 id="log-title">"Event log"</h2>
                <button type="button" class="quiet" data-testid="log-pause" aria-pressed=move || is_paused().to_string() on:click=toggle>
                    {move || if is_paused() { "▶ Resume" } else { "❚❚ Pause" }}
                </button>
            </div>
            <div class="list-box">
                <div
                    class="list"
                    node_ref=list
                    tabindex="0"
                    role="list"
                    aria-label="Events, newest first"
                    data-testid="event-log"
                    on:scroll=move |_: Event| look()
                >
                    <div class="all" role="presentation" style:height=move || pixels(log_length.get(), row_height.get())>
                        {rows.into_iter().map(|row| view! { <EventRow row=row row_height=row_height /> }).collect_view()}
                    </div>
                </div>
                <div class="probe-box" aria-hidden="true">
                    <div class="row-probe" node_ref=probe></div>
                </div>
                <p class="empty" hidden=move || log_length.get() != 0>"No events since the page was opened."</p>
                <button
                    type="button"
                    class="jump"
                    data-testid="log-jump"
                    hidden=move || log_missed.get().unwrap_or(0) == 0
                    on:click=jump
                >
                    {move || format!("↑ {} since – show the newest", format::events(log_missed.get().unwrap_or(0)))}
                </button>
            </div>
        </section>
    }
}

/// One element for the event at its place. Its texts are replaced.
#[component]
fn EventRow(row: RwSignal<Option<Row>>, row_height: RwSignal<f64>) -> impl IntoView {
    move || {
        row.get().map(|Row { place, event }| {
            let operation = format::operation(event.operation);
            view! {
                <div
                    class="row"
                    role="listitem"
                    data-testid="event-row"
                    data-index=event.index.to_string()
                    data-value=event.value.to_string()
                    style:transform=format!("translateY({})", pixels(place, row_height.get()))
                >
                    <span class="index">{format::grouped_count(event.index.0)}</span>
                    <span class="operation">{operation}</span>
                    <span class="number">{format::grouped(event.value)}</span>
                </div>
            }
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a list has a few hundred rows")]
fn pixels(rows: usize, height: f64) -> String {
    format!("{}px", rows as f64 * height)
}
