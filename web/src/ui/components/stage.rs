//! The stage: the leader and all replicas as lanes over the strip of the log.

mod tape;

use std::rc::Rc;

use engine::LinkFault;
use leptos::prelude::*;

use super::in_each_frame;
use super::resizes::Resizes;
use crate::format;
use crate::glossary::Word;
use crate::model::stage::{LANES, Lane};
use crate::ui::elements::{Spot, target};
use crate::ui::frame::Frame;
use crate::ui::session::{Fault, Handle};
use tape::Tape;

/// The width of the narrowest cell in which an operation can be read, in CSS pixels.
const CELL_WIDTH: i32 = 66;

/// How many steps a telling has at most.
const STEPS: usize = 5;

#[component]
pub(super) fn Stage(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let leader = LaneSpots::new(Spot::named("leader-lane"));
        let own = LaneSpots::new(Spot::named("own-lane"));
        let others: Vec<_> = Spot::named("other-lane").repeated(LANES).into_iter().map(LaneSpots::new).collect();
        let reached: Vec<_> = others.iter().map(|other| other.lane.part(".reached")).collect();
        let (mut leader_tape, mut own_tape) = (Tape::new(&leader.lane), Tape::new(&own.lane));
        let [audience, lanes_box] = ["audience", "lanes"].map(Spot::named);
        let telling = telling(session);
        listen_to_breaks(session);
        rename(session);

        let tape = leader.lane.part(".tape");
        let width = tape.element().clone();
        let resizes = Resizes::new(move || {
            let cells = (width.client_width() / CELL_WIDTH).clamp(4, 24);
            session.with_value(|session| session.painter().show_cells(cells.unsigned_abs().into()));
        });
        resizes.watch(tape.element());

        move |frame: &mut Frame| {
            let _ = &resizes;
            lanes_box.class(if frame.is_fast() { "lanes fast" } else { "lanes" });
            let Frame { model, now, strip, telling: told, .. } = frame;
            let told = told.as_ref();
            leader_tape.show(*strip, |number| model.cell(strip, number, true));
            own_tape.show(*strip, |number| match told {
                Some(told) => model.told_cell(told, number),
                None => model.cell(strip, number, false),
            });
            leader.show("lane", &model.leader_lane(*now));
            own.show("lane me", &model.own_lane(strip, *now));
            let mut lanes = model.other_lanes(strip, *now).into_iter();
            for (spots, reached) in others.iter().zip(&reached) {
                let lane = lanes.next();
                spots.lane.hide(lane.is_none());
                if let Some(lane) = lane {
                    spots.show("lane", &lane);
                    let place = format::percent(i64::from(lane.place) * 10 - 10_000);
                    reached.style("transform", &format!("translateX({place})"));
                }
            }
            audience.text(&model.audience(told, *now));
            audience.class(if told.is_some() { "told" } else { "" });
            telling(frame);
        }
    });
    view! {
        <section class="card stage" aria-labelledby="stage-title">
            <div class="card-head">
                <h2 id="stage-title">"The log, and who has read how far"</h2>
                <small data-testid="audience"></small>
            </div>
            <div class="lanes" role="list" data-testid="lanes">
                <div role="listitem" class="lane" data-testid="leader-lane">
                    <div class="who"><b></b><small></small></div>
                    <div class="tape" aria-hidden="true">
                        <div class="sliding"><div class="cell"><div><small></small><span></span></div></div></div>
                    </div>
                    <div class="end"><span class="verdict"></span><span class="worth"></span><small></small></div>
                </div>
                <div role="listitem" class="lane me" data-testid="own-lane">
                    <div class="who"><b></b><small></small></div>
                    <div class="tape" aria-hidden="true">
                        <div class="sliding"><div class="cell"><div><small></small><span></span></div></div></div>
                    </div>
                    <div class="end"><span class="verdict"></span><span class="worth"></span><small></small></div>
                    <button type="button" class="rename" aria-label="Rename this page" aria-expanded="false" data-testid="rename">"✎"</button>
                    <form class="renaming" hidden data-testid="renaming">
                        <input type="text" aria-label="Name of this page" placeholder="name" data-testid="name-field" />
                        <button type="submit" class="strong" data-testid="name-set">"Set"</button>
                        <small role="status"></small>
                    </form>
                </div>
                <div class="others" role="presentation">
                    <div role="listitem" class="lane" data-testid="other-lane" hidden>
                        <div class="who"><b></b><small></small></div>
                        <div class="track"><div class="reached"></div></div>
                        <div class="end"><span class="verdict"></span><span class="worth"></span><small></small></div>
                    </div>
                </div>
            </div>
            <div class="telling" data-testid="telling">
                <ol class="steps" hidden>
                    <li>
                        <b><span></span>" "<button type="button" class="term why" data-word="">"?"</button></b>
                        <span></span>
                    </li>
                </ol>
                <p class="calm" data-testid="last-incident"></p>
                <div class="hands">
                    <button type="button" data-testid="skip" hidden>"Close"</button>
                    <button type="button" data-testid="replay" hidden>"Tell it again"</button>
                </div>
                <p class="for-screen-readers" role="status"></p>
            </div>
            <div class="break" role="group" aria-label="Break this page’s own stream" data-testid="breaks">
                <small><span class="long">"Break this page’s own stream:"</span><span class="short">"Break:"</span></small>
                <button type="button" data-testid="break-lose">"Lose"<span class="long">" a batch"</span></button>
                <button type="button" data-testid="break-repeat">"Repeat"<span class="long">" one"</span></button>
                <button type="button" data-testid="break-exchange">"Swap"<span class="long">" two"</span></button>
                <button type="button" data-testid="break-alter">"Alter"<span class="long">" a value"</span></button>
                <button type="button" data-testid="break-cut">"Cut"<span class="long">" the link"</span></button>
                <button type="button" data-testid="break-freeze">"Freeze"</button>
                <button type="button" data-testid="break-forget">"Forget"<span class="long">" everything"</span></button>
            </div>
        </section>
    }
}

/// What a person can break, with the names of the keys for programs.
const BREAKS: [(&str, Fault); 7] = [
    ("break-lose", Fault::Batch(LinkFault::Lose)),
    ("break-repeat", Fault::Batch(LinkFault::Repeat)),
    ("break-exchange", Fault::Batch(LinkFault::Exchange)),
    ("break-alter", Fault::Batch(LinkFault::Alter)),
    ("break-cut", Fault::Cut),
    ("break-freeze", Fault::Freeze),
    ("break-forget", Fault::Forget),
];

fn listen_to_breaks(session: Handle) {
    Spot::named("breaks").on("click", move |event| {
        let key = target(&event, "button").and_then(|key| key.get_attribute("data-testid"));
        if let Some((_, fault)) = BREAKS.iter().find(|(name, _)| key.as_deref() == Some(name)) {
            session.with_value(|session| session.break_it(*fault));
        }
    });
}

/// The elements of a lane that change: whose it is, and how far.
struct LaneSpots {
    lane: Spot,
    who: Spot,
    what: Spot,
    verdict: Spot,
    worth: Spot,
    detail: Spot,
}

impl LaneSpots {
    fn new(lane: Spot) -> Self {
        let [who, what, verdict, worth, detail] =
            [".who b", ".who small", ".verdict", ".worth", ".end small"].map(|part| lane.part(part));
        Self { lane, who, what, verdict, worth, detail }
    }

    fn show(&self, class: &str, lane: &Lane) {
        let tone = lane.tone.class();
        let absent = if lane.present { "" } else { " absent" };
        let before = if lane.is_before { " before" } else { "" };
        self.lane.class(&format!("{class} {tone}{absent}{before}"));
        self.lane.value(tone);
        self.who.text(&lane.who);
        self.what.text(&lane.what);
        self.verdict.text(&format!("{} {}", lane.sign, lane.verdict));
        self.worth.text(&lane.value);
        self.detail.text(&lane.detail);
    }
}

/// Gives this page another name.
fn rename(session: Handle) {
    let (key, form, field) = (Spot::named("rename"), Spot::named("renaming"), Spot::named("name-field"));
    let spots = Rc::new((key, form, field));
    let open = {
        let spots = Rc::clone(&spots);
        move |opens: bool, problem: &str| {
            let (key, form, field) = &*spots;
            key.flag("aria-expanded", opens);
            form.part("small").text(problem);
            form.hide(!opens);
            let _ = if opens { field.element().focus() } else { key.element().focus() };
        }
    };
    let (key, form, field) = &*spots;
    let (is_hidden, toggle) = (form.element().clone(), open.clone());
    key.on("click", move |_| toggle(is_hidden.hidden(), ""));
    let typed = field.input().clone();
    form.on("submit", move |event| {
        event.prevent_default();
        match session.with_value(|session| session.rename(&typed.value())) {
            Ok(()) => open(false, ""),
            Err(wrong) => open(true, &wrong.to_string()),
        }
    });
}

/// The incident that is told, step by step. Its room is always there.
fn telling(session: Handle) -> impl Fn(&mut Frame) {
    let telling = Spot::named("telling");
    let list = telling.part(".steps");
    let steps: Vec<_> = telling
        .part("li")
        .repeated(STEPS)
        .into_iter()
        .map(|step| ([step.part("b span"), step.part("li > span"), step.part("button")], step))
        .collect();
    let (calm, skip, replay) =
        (telling.part(".calm"), telling.part("[data-testid=skip]"), telling.part("[data-testid=replay]"));
    let spoken = telling.part("[role=status]");
    skip.on("click", move |_| session.with_value(|session| session.skip_telling()));
    replay.on("click", move |_| session.with_value(|session| session.replay_incident(None)));
    move |frame| {
        let told = frame.telling.as_ref();
        telling.value(told.map_or("", |told| told.kind));
        telling.attribute("data-step", &told.map_or(0, |told| told.step + 1).to_string());
        list.hide(told.is_none());
        calm.hide(told.is_some());
        // The one that is shown gets the focus of the other one.
        let has_more = told.is_none() && frame.model.incidents().next().is_some();
        if has_more {
            replay.hide(false);
            skip.hide_from_focus(true, &replay);
        } else {
            skip.hide(told.is_none());
            replay.hide_from_focus(true, &skip);
        }
        spoken.text(told.map_or("", |told| &told.now().text));
        let Some(told) = told else { return calm.text(&frame.model.calm()) };
        for (place, ([title, text, why], element)) in steps.iter().enumerate() {
            element.hide(place >= told.steps.len());
            let Some(step) = told.steps.get(place) else { continue };
            let when = match place {
                _ if place < told.step => "past",
                _ if place == told.step => "now",
                _ => "next",
            };
            element.class(&format!("step {when} {}", step.tone.class()));
            title.text(&format!("{} · {}", place + 1, step.title));
            text.text(&step.text);
            let word = Word::main_in(step.title).or_else(|| Word::main_in(&step.text));
            why.hide(word.is_none() || place > told.step);
            if let Some(word) = word {
                why.attribute("data-word", word.name());
                why.attribute("aria-label", &format!("What “{}” means", word.name()));
            }
        }
    }
}
