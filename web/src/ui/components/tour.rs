//! The tour's panel at the foot of the window.

use leptos::prelude::*;

use super::in_each_frame;
use crate::model::tour::Stop;
use crate::ui::elements::Spot;
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

#[component]
pub(super) fn TourPanel(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let [panel, next, end, start] = ["tour", "tour-next", "tour-end", "tour-start"].map(Spot::named);
        let [title, text] = ["h3", "p"].map(|part| panel.part(part));
        next.on("click", move |_| session.with_value(|session| session.tour_on()));
        end.on("click", move |_| session.with_value(|session| session.tour_to(None)));
        start.on("click", move |_| session.with_value(|session| session.tour_to(Some(Stop::Watch))));
        move |frame: &mut Frame| {
            let guide = frame.model.guide(frame.now);
            panel.hide_from_focus(guide.is_none(), &start);
            panel.value(guide.as_ref().map_or("", |guide| guide.stop.name()));
            if let Some(guide) = guide {
                title.text(&guide.title);
                text.text(&guide.text);
                next.text(guide.next);
                end.text(if guide.stop == Stop::Invitation { "No, thanks" } else { "End the tour" });
            }
        }
    });
    view! {
        <aside class="tour" aria-label="Tour" data-testid="tour" hidden>
            <div role="status"><h3></h3><p></p></div>
            <button type="button" class="strong" data-testid="tour-next"></button>
            <button type="button" data-testid="tour-end">"End the tour"</button>
        </aside>
    }
}
