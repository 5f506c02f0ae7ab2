//! The value over the index, drawn on a canvas.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use engine::{Index, Moment};
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, KeyboardEvent, PointerEvent};

use super::in_each_frame;
use super::resizes::Resizes;
use crate::format;
use crate::model::chart::{Plot, Sight};
use crate::ui::browser;
use crate::ui::elements::Spot;
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

/// How long a drawing of a fast log stands at least.
const FAST: Duration = Duration::from_millis(33);

#[component]
pub(super) fn ChartCard(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let (chart, reading) = (Spot::named("chart"), Spot::named("chart-reading"));
        let canvas: HtmlCanvasElement = chart.part("canvas").element().clone().unchecked_into();
        let scale = [chart.part(".scale + .scale"), chart.part(".scale")];
        let state = Rc::new(State::default());
        listen(session, &chart, &state);
        // Asking for the size in each frame would make the browser lay the page out once more.
        let (measured, resized) = (chart.element().clone(), Rc::clone(&state));
        let resizes = Resizes::new(move || {
            resized.size.set((measured.client_width(), measured.client_height()));
            session.with_value(|session| session.painter().request());
        });
        resizes.watch(chart.element());
        let (mut drawn_for, mut drawn_at) = (None, Moment::default());
        let (mut colors, none) = (None, Colors::default());
        move |frame: &mut Frame| {
            let _ = &resizes;
            let model = &*frame.model;
            let travelled = (frame.past.state == "there").then_some(Index(frame.past.index));
            let read = state.read.get();
            let size = state.size.get();
            let ratio = window().device_pixel_ratio().clamp(1.0, 3.0);
            let is_dark = browser::is_dark();
            let held = (model.numbers().held, model.series().first());
            let now = (held, frame.scale, (size, ratio), read.or(travelled), model.sights(), is_dark);
            // Where many events come in a frame, nobody sees each.
            let waits = frame.is_fast() && frame.now.at.since(drawn_at) < FAST;
            if drawn_for.as_ref() != Some(&now) && !waits {
                drawn_at = frame.now.at;
                let pixels =
                    |length: i32| u32::try_from(length).map_or(0, |length| to_pixels(f64::from(length) * ratio));
                let (wide, high) = (pixels(size.0), pixels(size.1));
                let plot = model.series().plot(wide, frame.scale);
                if colors.as_ref().is_none_or(|(dark, _)| *dark != is_dark) {
                    colors = Some((is_dark, Colors::read(&canvas)));
                }
                let colors = colors.as_ref().map_or(&none, |(_, colors)| colors);
                draw(&canvas, colors, &plot, &now.4, (wide, high), ratio, read.or(travelled));
                let ends = plot.ends.as_ref().map_or(["", ""], |[low, high]| [low, high]);
                scale.iter().zip(ends).for_each(|(scale, end)| scale.text(end));
                state.plot.replace(plot);
                drawn_for = Some(now);
            }
            let told = match read.and_then(|read| model.series().at(read)) {
                Some((_, Some(event), _)) => format::committed(event),
                Some((index, None, value)) => {
                    format!("#{}: {}", format::grouped_count(index.0), format::grouped(value))
                }
                None => String::new(),
            };
            chart.attribute("aria-valuemax", &state.plot.borrow().to.to_string());
            // It changes only when a person moves it: screen readers tell each change of it.
            chart.attribute("aria-valuenow", &read.map_or(0, |index| index.0).to_string());
            chart.attribute("aria-valuetext", &told);
            reading.text(&told);
        }
    });
    view! {
        <section class="card chart-card" aria-labelledby="chart-title">
            <div class="card-head">
                <h2 id="chart-title">"Value by index"</h2>
                <span class="reading" data-testid="chart-reading"></span>
            </div>
            <div class="chart" tabindex="0" role="slider" aria-label="Event on the chart" aria-valuenow="0" data-testid="chart">
                <canvas></canvas>
                // What the height means. Not on the canvas: drawing text takes longer than drawing the line.
                <span class="scale" aria-hidden="true"></span>
                <span class="scale" aria-hidden="true"></span>
            </div>
        </section>
    }
}

/// What is drawn, and the event that is read.
#[derive(Default)]
struct State {
    plot: RefCell<Plot>,
    read: Cell<Option<Index>>,
    /// In CSS pixels.
    size: Cell<(i32, i32)>,
}

/// Reads the event under the pointer, or the one that keys lead to.
fn listen(session: Handle, chart: &Spot, state: &Rc<State>) {
    let read = {
        let state = Rc::clone(state);
        move |index: Option<Index>| {
            state.read.set(index);
            session.with_value(|session| session.painter().request());
        }
    };
    for event in ["pointermove", "pointerdown"] {
        let (read, state, frame) = (read.clone(), Rc::clone(state), chart.element().clone());
        chart.on(event, move |event| {
            let event: &PointerEvent = event.unchecked_ref();
            let place = f64::from(event.offset_x()) / f64::from(frame.client_width().max(1));
            read(Some(state.plot.borrow().index_at(place)));
        });
    }
    for event in ["pointerleave", "blur"] {
        let read = read.clone();
        chart.on(event, move |_| read(None));
    }
    let state = Rc::clone(state);
    chart.on("keydown", move |event| {
        let newest = state.plot.borrow().to;
        let at = state.read.get().map_or(newest, |index| index.0);
        let to = match event.unchecked_ref::<KeyboardEvent>().key().as_str() {
            "ArrowLeft" => at.saturating_sub(1),
            "ArrowRight" => at + 1,
            "PageUp" => at.saturating_sub(10),
            "PageDown" => at + 10,
            "End" => newest,
            "Escape" => return read(None),
            _ => return,
        };
        event.prevent_default();
        read(Some(Index(to.min(newest))));
    });
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a canvas has a few thousand pixels")]
fn to_pixels(length: f64) -> u32 {
    length as u32
}

/// The colours that the style sheet gives the canvas.
#[derive(Default)]
struct Colors(Vec<(&'static str, String)>);

impl Colors {
    fn read(canvas: &HtmlCanvasElement) -> Self {
        let style = window().get_computed_style(canvas).ok().flatten();
        let names = ["line", "field-line", "soft", "me", "good", "busy", "idle", "warn", "bad"];
        let read = |property: &str| style.as_ref()?.get_property_value(property).ok();
        let mut colors: Vec<_> =
            names.iter().map(|name| (*name, read(&format!("--{name}")).unwrap_or_default())).collect();
        colors.push(("ink", read("color").unwrap_or_default()));
        Self(colors)
    }

    fn of(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, color)| color)
    }
}

/// Draws `plot`.
fn draw(
    canvas: &HtmlCanvasElement,
    colors: &Colors,
    plot: &Plot,
    sights: &[Sight],
    (width, height): (u32, u32),
    ratio: f64,
    read: Option<Index>,
) {
    let Some(pen) = canvas.get_context("2d").ok().flatten() else { return };
    let pen: CanvasRenderingContext2d = pen.unchecked_into();
    if (canvas.width(), canvas.height()) != (width, height) {
        canvas.set_width(width);
        canvas.set_height(height);
        // A new size resets the pen. Choosing a font takes as long as drawing the line, so it is not done in each frame.
        pen.set_font(&format!("{}px sans-serif", to_pixels(11.0 * ratio)));
    }
    let color = |name: &str| colors.of(name);
    let (wide, high) = (f64::from(width), f64::from(height));
    let margin = 4.0 * ratio;
    let y = |share: f64| margin + (1.0 - share) * (high - 2.0 * margin);
    pen.clear_rect(0.0, 0.0, wide, high);
    pen.set_line_width(ratio);
    pen.set_stroke_style_str(color("line"));
    if let Some(zero) = plot.zero {
        stroke(&pen, &[(0.0, y(zero)), (wide, y(zero))]);
    }
    let _ = pen.set_line_dash(&js_sys::Array::of2(&(3.0 * ratio).into(), &(3.0 * ratio).into()));
    for sight in sights {
        let Some(place) = plot.place_of(sight.index) else { continue };
        let color = color(sight.tone.class());
        pen.set_stroke_style_str(color);
        pen.set_fill_style_str(color);
        stroke(&pen, &[(place * wide, 0.0), (place * wide, high)]);
        let _ = pen.fill_text(&sight.label, place * wide + 3.0 * ratio, 11.0 * ratio);
    }
    let _ = pen.set_line_dash(&js_sys::Array::new());
    pen.set_line_width(1.75 * ratio);
    pen.set_line_join("round");
    pen.set_stroke_style_str(color("ink"));
    let line: Vec<(f64, f64)> = plot
        .columns
        .iter()
        .flat_map(|column| {
            let x = f64::from(column.at) + 0.5;
            // From where the last column ended to this column's end, over all that lies between.
            let mut points = vec![(x, y(column.last))];
            if column.high > column.low {
                points.splice(0..0, [(x, y(column.high)), (x, y(column.low))]);
            }
            points
        })
        .collect();
    stroke(&pen, &line);
    if let Some(&(x, y)) = line.last() {
        dot(&pen, x, y, 3.0 * ratio, color("ink"));
    }
    if let Some(place) = read.and_then(|index| plot.place_of(index)) {
        let x = place * wide;
        pen.set_line_width(ratio);
        pen.set_stroke_style_str(color("field-line"));
        stroke(&pen, &[(x, 0.0), (x, high)]);
        let at = plot.columns.iter().min_by(|a, b| (f64::from(a.at) - x).abs().total_cmp(&(f64::from(b.at) - x).abs()));
        if let Some(column) = at {
            dot(&pen, x, y(column.last), 4.0 * ratio, color("me"));
        }
    }
}

fn stroke(pen: &CanvasRenderingContext2d, points: &[(f64, f64)]) {
    pen.begin_path();
    for &(x, y) in points {
        pen.line_to(x, y);
    }
    pen.stroke();
}

fn dot(pen: &CanvasRenderingContext2d, x: f64, y: f64, radius: f64, color: &str) {
    pen.begin_path();
    let _ = pen.arc(x, y, radius, 0.0, std::f64::consts::TAU);
    pen.set_fill_style_str(color);
    pen.fill();
}
