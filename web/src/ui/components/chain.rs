//! The digest chain: the leader's and this page's side by side, and a copy to tamper with.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use engine::Moment;
use leptos::prelude::*;

use super::in_each_frame;
use crate::format;
use crate::model::chain::{Chain, Link, Row, Tampered};
use crate::ui::elements::Spot;
use crate::ui::frame::Frame;
use crate::ui::session::Handle;

/// How many events are shown.
const ROWS: usize = 5;

/// Which of the shown events is altered in the copy, from the newest. Those after it show that no later one hides it.
const ALTERED: usize = 3;

/// How long text stands that changes all the time.
const READABLE: Duration = Duration::from_millis(300);

const REAL_TEXT: &str = "Each digest is made from the one before it, the operation and the new value. The leader tells the \
                         digest at the end of each batch; the ones between are computed here.";

/// The chain as it was when somebody tampered with its copy, and whether the copy hides it.
struct Copied {
    chain: Chain,
    hides: bool,
}

impl Copied {
    fn tampered(&self) -> Option<Tampered> {
        let links = || self.chain.links();
        let at = links().rev().nth(ALTERED).or_else(|| links().next())?.event.index;
        self.chain.tamper(at, self.hides)
    }
}

#[component]
pub(super) fn ChainCard(session: Handle) -> impl IntoView {
    in_each_frame(session, move || {
        let [hide, tamper, real_name, copy_name, body, text] =
            ["hide", "tamper", "chain-real", "chain-copy", "chain", "chain-text"].map(Spot::named);
        let rows: Vec<_> = body.part("tr").repeated(ROWS).into_iter().map(|row| (row.parts(), row)).collect();
        let copied = Rc::new(RefCell::new(None::<Copied>));
        let changed = {
            let copied = Rc::clone(&copied);
            move |change: fn(&mut Option<Copied>, &Chain)| {
                session.with_value(|session| {
                    session.with_model(|model| change(&mut copied.borrow_mut(), model.chain()));
                    session.painter().request();
                });
            }
        };
        tamper.on("click", {
            let changed = changed.clone();
            move |_| {
                changed(|copied, chain| {
                    *copied = match copied {
                        Some(_) => None,
                        None if chain.links().len() == 0 => None,
                        None => Some(Copied { chain: chain.clone(), hides: false }),
                    };
                });
            }
        });
        hide.on("click", move |_| {
            changed(|copied, _| {
                if let Some(copied) = copied {
                    copied.hides = !copied.hides;
                }
            });
        });
        let mut shown = (Moment::default(), false, false);
        move |frame: &mut Frame| {
            let copied = copied.borrow();
            let copied = copied.as_ref();
            let hides = copied.is_some_and(|copied| copied.hides);
            let links = frame.model.chain().links();
            tamper.flag("aria-disabled", copied.is_none() && links.len() == 0);
            let is_new = frame.now.at.since(shown.0) < READABLE;
            if is_new && (shown.1, shown.2) == (copied.is_some(), hides) {
                return;
            }
            shown = (frame.now.at, copied.is_some(), hides);
            hide.hide(copied.is_none());
            hide.flag("aria-pressed", hides);
            tamper.flag("aria-pressed", copied.is_some());
            let [button, left, right, kind] = match copied {
                Some(_) => ["Real chain", "Real", "Copy", "copy"],
                None => ["Tamper", "Leader", "This page", "real"],
            };
            tamper.text(button);
            real_name.text(left);
            copy_name.text(right);
            body.value(kind);
            let told: Vec<_> = match copied.and_then(Copied::tampered) {
                Some(copy) => {
                    text.text(&copy.text());
                    copy.rows.iter().map(row_of_copy).collect()
                }
                None => {
                    text.text(REAL_TEXT);
                    links.map(row_of).collect()
                }
            };
            let mut told = told.into_iter().rev().take(ROWS).rev();
            for (cells, row) in &rows {
                let told = told.next();
                row.hide(told.is_none());
                let Some((class, texts)) = told else { continue };
                row.class(class);
                cells.iter().zip(texts).for_each(|(cell, text)| cell.text(&text));
            }
        }
    });
    view! {
        <section class="card chain" aria-labelledby="chain-title">
            <div class="card-head">
                <h2 id="chain-title">"Digest chain"</h2>
                <button type="button" data-testid="hide" aria-pressed="false" hidden>"Try to hide it"</button>
                <button type="button" data-testid="tamper" aria-pressed="false">"Tamper"</button>
            </div>
            <table>
                <thead>
                    <tr>
                        <th scope="col"><button type="button" class="term" data-word="index">"Index"</button></th>
                        <th scope="col">"Operation"</th>
                        <th scope="col" data-testid="chain-real">"Leader"</th>
                        <th scope="col"><span class="for-screen-readers">"Equal?"</span></th>
                        <th scope="col" data-testid="chain-copy">"This page"</th>
                    </tr>
                </thead>
                <tbody data-testid="chain" data-value="real">
                    <tr hidden><td></td><td></td><td></td><td></td><td></td></tr>
                </tbody>
            </table>
            <p class="chain-text" data-testid="chain-text"></p>
        </section>
    }
}

/// How a row looks, and its index, operation, one digest, how they compare, and the other digest.
type Texts = (&'static str, [String; 5]);

fn row_of(link: &Link) -> Texts {
    let own = format::short_digest(link.digest);
    let (class, leader, sign) =
        if link.proved { ("equal", own.clone(), "=") } else { ("between", "between".to_owned(), "") };
    let (index, operation) = (format::grouped_count(link.event.index.0), format::operation(link.event.operation));
    (class, [index, operation, leader, sign.to_owned(), own])
}

fn row_of_copy(row: &Row) -> Texts {
    let operation = format::operation(row.event.operation);
    let is_changed = row.is_changed();
    let class = match (is_changed, row.is_equal()) {
        (true, _) => "changed",
        (false, true) => "equal",
        (false, false) => "differs",
    };
    let texts = [
        format::grouped_count(row.event.index.0),
        if is_changed { format!("{operation} → {}", format::operation(row.operation)) } else { operation },
        format::short_digest(row.digest),
        if row.is_equal() { "=" } else { "≠" }.to_owned(),
        row.copy.map_or_else(|| "ends here".to_owned(), |(_, digest)| format::short_digest(digest)),
    ];
    (class, texts)
}
