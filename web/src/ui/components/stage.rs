//! The stage: the leader and all replicas as lanes over the strip of the log.

use std::rc::Rc;

use engine::LinkFault;
use leptos::ev::SubmitEvent;
use leptos::html::{Div, Input};
use leptos::prelude::*;

use super::{flag, text};

use super::resizes::Resizes;
use crate::format;
use crate::model::stage::{Cell, Lane};
use crate::ui::session::{Fault, Session};
use crate::ui::signals::{CELLS, Signals, Sliding};

/// The width of the narrowest cell in which an operation can be read, in CSS pixels.
const CELL_WIDTH: i32 = 66;

#[component]
pub(super) fn Stage(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let Signals { sliding, leader_cells, own_cells, leader_lane, own_lane, lanes, audience, .. } = signals;
    let tape = NodeRef::<Div>::new();
    let measure = move || {
        if let Some(tape) = tape.get_untracked() {
            let cells = (tape.client_width() / CELL_WIDTH).clamp(4, 24);
            session.with_value(|session| session.painter().show_cells(cells.unsigned_abs().into()));
        }
    };
    let observer = StoredValue::new_local(Resizes::new(measure));
    Effect::new(move |_| {
        if let Some(tape) = tape.get() {
            observer.with_value(|observer| observer.watch(&tape));
        }
    });
    view! {
        <section class="card stage" aria-labelledby="stage-title">
            <div class="card-head">
                <h2 id="stage-title">"The log, and who has read how far"</h2>
                <small data-testid="audience">{text(move || audience.get())}</small>
            </div>
            <div class="lanes" role="list">
                {lane(leader_lane, "leader-lane", "lane", tape_view(leader_cells, sliding, Some(tape)).into_any())}
                {lane(own_lane, "own-lane", "lane me", view! { {tape_view(own_cells, sliding, None)} <Rename session=session /> }.into_any())}
                <div class="others" role="presentation">{lanes.into_iter().map(other).collect_view()}</div>
            </div>
            <TellingView signals=signals session=session />
            <Breaks session=session />
        </section>
    }
}

/// Gives this page another name.
#[component]
fn Rename(session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let is_open = RwSignal::new(false);
    let problem = RwSignal::new(String::new());
    let field = NodeRef::<Input>::new();
    let rename = move |event: SubmitEvent| {
        event.prevent_default();
        let Some(field) = field.get_untracked() else { return };
        match session.with_value(|session| session.rename(&field.value())) {
            Ok(()) => {
                problem.set(String::new());
                is_open.set(false);
            }
            Err(wrong) => problem.set(wrong.to_string()),
        }
    };
    let toggle = move |_| {
        is_open.update(|is_open| *is_open = !*is_open);
        problem.set(String::new());
        // It can have the focus once it is shown.
        request_animation_frame(move || {
            if let Some(field) = field.get_untracked() {
                let _ = field.focus();
            }
        });
    };
    view! {
        <button
            type="button"
            class="rename"
            aria-label="Rename this page"
            aria-expanded=text(move || is_open.get().to_string())
            data-testid="rename"
            on:click=toggle
        >
            "✎"
        </button>
        <form class="renaming" hidden=flag(move || !is_open.get()) on:submit=rename>
            <input type="text" aria-label="Name of this page" placeholder="name" data-testid="name-field" node_ref=field />
            <button type="submit" class="strong" data-testid="name-set">"Set"</button>
            <small role="status">{text(move || problem.get())}</small>
        </form>
    }
}

/// The incident that is told, step by step. Its room is always there.
#[component]
fn TellingView(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let Signals { telling, calm, has_incidents, .. } = signals;
    let is_told = Memo::new(move |_| telling.with(Option::is_some));
    let steps = move || {
        telling.with(|telling| {
            let Some(telling) = telling else { return Vec::new() };
            let steps = telling.steps.iter().enumerate();
            let class = |place| match place {
                _ if place < telling.step => "step past",
                _ if place == telling.step => "step now",
                _ => "step next",
            };
            steps
                .map(|(place, step)| {
                    let title = format!("{} · {}", place + 1, step.title);
                    let class = format!("{} {}", class(place), step.tone.class());
                    view! {
                        <li class=class>
                            <b>{title}</b>
                            {step.text.clone()}
                        </li>
                    }
                    .into_any()
                })
                .collect()
        })
    };
    let spoken = Memo::new(move |_| telling.with(|telling| telling.as_ref().map(|telling| telling.now().text.clone())));
    view! {
        <div
            class="telling"
            data-testid="telling"
            data-value=text(move || telling.with(|telling| telling.as_ref().map_or("", |telling| telling.kind)))
            data-step=text(move || telling.with(|telling| telling.as_ref().map_or(0, |telling| telling.step + 1)).to_string())
        >
            <ol class="steps" hidden=flag(move || !is_told.get())>{steps}</ol>
            <p class="calm" hidden=flag(move || is_told.get()) data-testid="last-incident">{text(move || calm.get())}</p>
            <div class="hands">
                <button
                    type="button"
                    data-testid="skip"
                    hidden=flag(move || !is_told.get())
                    on:click=move |_| session.with_value(|session| session.skip_telling())
                >
                    "Close"
                </button>
                <button
                    type="button"
                    data-testid="replay"
                    hidden=flag(move || is_told.get() || !has_incidents.get())
                    on:click=move |_| session.with_value(|session| session.replay_incident(None))
                >
                    "Tell it again"
                </button>
            </div>
            <p class="for-screen-readers" role="status">{text(move || spoken.get().unwrap_or_default())}</p>
        </div>
    }
}

/// What a person can break, with the names of the keys for programs.
const BREAKS: [(&str, &str, Fault); 7] = [
    ("lose", "Lose a batch", Fault::Batch(LinkFault::Lose)),
    ("repeat", "Repeat one", Fault::Batch(LinkFault::Repeat)),
    ("exchange", "Swap two", Fault::Batch(LinkFault::Exchange)),
    ("alter", "Alter a value", Fault::Batch(LinkFault::Alter)),
    ("cut", "Cut the link, 5 s", Fault::Cut),
    ("freeze", "Freeze, 5 s", Fault::Freeze),
    ("forget", "Forget everything", Fault::Forget),
];

#[component]
fn Breaks(session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let button = move |(id, label, fault): (&'static str, &'static str, Fault)| {
        let act = move |_| session.with_value(|session| session.break_it(fault));
        view! {
            <button type="button" data-testid=format!("break-{id}") on:click=act>
                {label}
            </button>
        }
    };
    view! {
        <div class="break" role="group" aria-label="Break this page’s own stream">
            <small><span class="long">"Break this page’s own stream:"</span><span class="short">"Break:"</span></small>
            {BREAKS.into_iter().map(button).collect_view()}
        </div>
    }
}

/// A lane: whose it is, the log, and how far it is.
fn lane(lane: RwSignal<Lane>, id: &'static str, class: &'static str, log: AnyView) -> AnyView {
    view! {
        <div
            role="listitem"
            class=text(move || lane.with(|lane| {
                let absent = if lane.present { "" } else { " absent" };
                let before = if lane.is_before { " before" } else { "" };
                format!("{class} {}{absent}{before}", lane.tone.class())
            }))
            data-testid=id
            data-value=text(move || lane.with(|lane| lane.tone.class()))
        >
            <div class="who">
                <b>{text(move || lane.with(|lane| lane.who.clone()))}</b>
                <small>{text(move || lane.with(|lane| lane.what.clone()))}</small>
            </div>
            {log}
            <div class="end">
                <span class="verdict">{text(move || lane.with(|lane| format!("{} {}", lane.sign, lane.verdict)))}</span>
                <span class="worth">{text(move || lane.with(|lane| lane.value.clone()))}</span>
                <small>{text(move || lane.with(|lane| lane.detail.clone()))}</small>
            </div>
        </div>
    }
    .into_any()
}

/// The lane of another replica, if there is one.
fn other(slot: RwSignal<Option<Lane>>) -> AnyView {
    let shown = Memo::new(move |_| slot.with(Option::is_some));
    let present = RwSignal::new(Lane::default());
    Effect::new(move |_| {
        if let Some(lane) = slot.get() {
            present.set(lane);
        }
    });
    let reached =
        move || present.with(|lane| format!("translateX({})", format::percent(i64::from(lane.place) * 10 - 10_000)));
    let track = view! {
        <div class="track">
            <div class="reached" style:transform=reached></div>
        </div>
    };
    view! { <div hidden=flag(move || !shown.get())>{lane(present, "other-lane", "lane", track.into_any())}</div> }
        .into_any()
}

fn tape_view(cells: [RwSignal<Cell>; CELLS], sliding: RwSignal<Sliding>, node: Option<NodeRef<Div>>) -> impl IntoView {
    let slide = move || {
        sliding.with(|sliding| format!("translateX({})", format::percent(-sliding.percent(sliding.strip.first))))
    };
    view! {
        <div class="tape" node_ref=node.unwrap_or_default() aria-hidden="true">
            <div class="sliding" class:leap=flag(move || sliding.with(|sliding| sliding.leaps)) style:transform=slide>
                {cells.into_iter().map(|cell| cell_view(cell, sliding)).collect_view()}
            </div>
        </div>
    }
}

fn cell_view(cell: RwSignal<Cell>, sliding: RwSignal<Sliding>) -> AnyView {
    let left = move || format::percent(sliding.with(|sliding| sliding.percent(cell.with(|cell| cell.number))));
    let width = move || format::percent(sliding.with(|sliding| sliding.percent(sliding.base + 1)));
    view! {
        <div class=text(move || cell.with(|cell| cell.state.class())) style:left=text(left) style:width=text(width)>
            <div>
                <small>{text(move || cell.with(|cell| cell.index.clone()))}</small>
                {text(move || cell.with(|cell| cell.text.clone()))}
            </div>
        </div>
    }
    .into_any()
}
