//! The value over the index, drawn on a canvas.

use std::rc::Rc;

use engine::Index;
use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::html::{Canvas, Div};
use leptos::prelude::*;

use super::text;
use leptos::wasm_bindgen::JsCast;
use web_sys::CanvasRenderingContext2d;

use super::resizes::Resizes;
use crate::format;
use crate::model::chart::{Plot, Sight};
use crate::ui::session::Session;
use crate::ui::signals::Signals;

#[component]
pub(super) fn ChartCard(signals: Signals, session: StoredValue<Rc<Session>, LocalStorage>) -> impl IntoView {
    let Signals { numbers, sliding, past, .. } = signals;
    let travelled = Memo::new(move |_| past.with(|past| (past.state == "there").then_some(Index(past.index))));
    let frame = NodeRef::<Div>::new();
    let canvas = NodeRef::<Canvas>::new();
    let size = RwSignal::new((0, 0));
    // The event that is read, counted from the newest so that the reading stands still while the log grows.
    let read = RwSignal::new(None::<Index>);
    let plot = StoredValue::new(Plot::default());

    let observer = StoredValue::new_local(Resizes::new(move || {
        if let Some(frame) = frame.get_untracked() {
            size.set((frame.client_width(), frame.client_height()));
        }
    }));
    Effect::new(move |_| {
        if let Some(frame) = frame.get() {
            observer.with_value(|observer| observer.watch(&frame));
        }
    });
    // Runs after each view update that changed what is held.
    Effect::new(move |_| {
        numbers.track();
        let (scale, (width, height)) = (sliding.with(|sliding| sliding.strip.scale), size.get());
        let Some(canvas) = canvas.get() else { return };
        let ratio = window().device_pixel_ratio().clamp(1.0, 3.0);
        let pixels = |length: i32| u32::try_from(length).map_or(0, |length| to_pixels(f64::from(length) * ratio));
        let (wide, high) = (pixels(width), pixels(height));
        let (drawn, sights) = session
            .with_value(|session| session.with_model(|model| (model.series().plot(wide, scale), model.sights())));
        draw(&canvas, &drawn, &sights, (wide, high), ratio, read.get().or(travelled.get()));
        plot.set_value(drawn);
    });

    let point = move |event: PointerEvent| {
        if let Some(frame) = frame.get_untracked() {
            let place = f64::from(event.offset_x()) / f64::from(frame.client_width().max(1));
            read.set(Some(plot.with_value(|plot| plot.index_at(place))));
        }
    };
    let step = move |event: KeyboardEvent| {
        let newest = plot.with_value(|plot| plot.to);
        let at = read.get_untracked().map_or(newest, |index| index.0);
        let to = match event.key().as_str() {
            "ArrowLeft" => at.saturating_sub(1),
            "ArrowRight" => at + 1,
            "PageUp" => at.saturating_sub(10),
            "PageDown" => at + 10,
            "End" => newest,
            "Escape" => return read.set(None),
            _ => return,
        };
        event.prevent_default();
        read.set(Some(Index(to.min(newest))));
    };
    let reading = Memo::new(move |_| {
        let Some(index) = read.get() else { return String::new() };
        let at = session.with_value(|session| session.with_model(|model| model.series().at(index)));
        match at {
            Some((_, Some(event), _)) => format::committed(event),
            Some((index, None, value)) => format!("#{}: {}", format::grouped_count(index.0), format::grouped(value)),
            None => String::new(),
        }
    });
    view! {
        <section class="card chart-card" aria-labelledby="chart-title">
            <div class="card-head">
                <h2 id="chart-title">"Value by index"</h2>
                <span class="reading" data-testid="chart-reading">{text(move || reading.get())}</span>
            </div>
            <div
                class="chart"
                node_ref=frame
                tabindex="0"
                role="slider"
                aria-label="Event on the chart"
                aria-valuenow=text(move || read.get().map_or(0, |index| index.0).to_string())
                aria-valuetext=text(move || reading.get())
                data-testid="chart"
                on:pointermove=point
                on:pointerdown=point
                on:pointerleave=move |_| read.set(None)
                on:blur=move |_| read.set(None)
                on:keydown=step
            >
                <canvas node_ref=canvas></canvas>
            </div>
        </section>
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a canvas has a few thousand pixels")]
fn to_pixels(length: f64) -> u32 {
    length as u32
}

/// Draws `plot` in the colours that the style sheet gives the canvas.
fn draw(
    canvas: &web_sys::HtmlCanvasElement,
    plot: &Plot,
    sights: &[Sight],
    (width, height): (u32, u32),
    ratio: f64,
    read: Option<Index>,
) {
    if (canvas.width(), canvas.height()) != (width, height) {
        canvas.set_width(width);
        canvas.set_height(height);
    }
    let Some(pen) = canvas.get_context("2d").ok().flatten() else { return };
    let pen: CanvasRenderingContext2d = pen.unchecked_into();
    let Ok(Some(style)) = window().get_computed_style(canvas) else { return };
    let color = |name: &str| style.get_property_value(name).unwrap_or_default();
    let (wide, high) = (f64::from(width), f64::from(height));
    let margin = 4.0 * ratio;
    let y = |share: f64| margin + (1.0 - share) * (high - 2.0 * margin);
    pen.clear_rect(0.0, 0.0, wide, high);
    pen.set_line_width(ratio);
    pen.set_stroke_style_str(&color("--line"));
    if let Some(zero) = plot.zero {
        stroke(&pen, &[(0.0, y(zero)), (wide, y(zero))]);
    }
    let _ = pen.set_line_dash(&js_sys::Array::of2(&(3.0 * ratio).into(), &(3.0 * ratio).into()));
    for sight in sights {
        let Some(place) = plot.place_of(sight.index) else { continue };
        let color = color(&format!("--{}", sight.tone.class()));
        pen.set_stroke_style_str(&color);
        pen.set_fill_style_str(&color);
        stroke(&pen, &[(place * wide, 0.0), (place * wide, high)]);
        pen.set_font(&format!("{}px sans-serif", to_pixels(11.0 * ratio)));
        let _ = pen.fill_text(&sight.label, place * wide + 3.0 * ratio, 11.0 * ratio);
    }
    let _ = pen.set_line_dash(&js_sys::Array::new());
    pen.set_line_width(1.75 * ratio);
    pen.set_line_join("round");
    pen.set_stroke_style_str(&color("color"));
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
        dot(&pen, x, y, 3.0 * ratio, &color("color"));
    }
    if let Some(place) = read.and_then(|index| plot.place_of(index)) {
        let x = place * wide;
        pen.set_line_width(ratio);
        pen.set_stroke_style_str(&color("--field-line"));
        stroke(&pen, &[(x, 0.0), (x, high)]);
        let at = plot.columns.iter().min_by(|a, b| (f64::from(a.at) - x).abs().total_cmp(&(f64::from(b.at) - x).abs()));
        if let Some(column) = at {
            dot(&pen, x, y(column.last), 4.0 * ratio, &color("--me"));
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
