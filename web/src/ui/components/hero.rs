//! The live value with its position, and whether it is in step.

use engine::Durability;
use leptos::prelude::*;

use crate::format::{self, NOTHING, TimeOfDay};
use crate::known::Known;
use crate::model::Numbers;
use crate::model::resync::ResyncLine;
use crate::model::status::Status;
use crate::ui::signals::Signals;

#[component]
pub(super) fn Hero(signals: Signals) -> impl IntoView {
    let Signals { status, numbers, first_resync, reconnect, .. } = signals;
    view! {
        <section class="card hero" aria-labelledby="value-title">
            <h2 id="value-title">"Value"</h2>
            <Value status=status numbers=numbers />
            <InStep status=status />
            <Facts numbers=numbers />
            <Resyncs first=first_resync latest=reconnect />
            <Origin numbers=numbers />
        </section>
    }
}

#[component]
fn Value(status: RwSignal<Status>, numbers: RwSignal<Numbers>) -> impl IntoView {
    let value = move || numbers.with(|numbers| numbers.held.map(|held| held.value()));
    let position = move || {
        numbers.with(|numbers| {
            let held = numbers.held?;
            Some(format!("{}:{}", held.position(), held.value()))
        })
    };
    view! {
        <div class="value-box">
            // Not an `output`: screen readers would read every change of it aloud.
            <p
                class="value"
                class:none=move || value().is_none()
                class:old=move || numbers.with(|numbers| numbers.tail == Known::Not)
                class:long=move || status.with(|status| status.long_value)
                data-testid="value"
                data-value=move || value().map(|value| value.to_string()).unwrap_or_default()
            >
                {move || value().map_or_else(|| NOTHING.to_owned(), format::grouped)}
            </p>
        </div>
        <span hidden data-testid="position" data-value=move || position().unwrap_or_default()></span>
    }
}

#[component]
fn InStep(status: RwSignal<Status>) -> impl IntoView {
    view! {
        <p
            class=move || status.with(|status| format!("mark {}", status.mark.tone.class()))
            data-testid="in-step"
            data-value=move || status.with(|status| if status.mark.in_step { "yes" } else { "no" })
        >
            <span class="sign" aria-hidden="true">{move || status.with(|status| status.mark.sign)}</span>
            <span>
                <b>{move || status.with(|status| status.mark.title)}</b>
                " "
                <small>{move || status.with(|status| status.mark.detail.clone())}</small>
            </span>
        </p>
    }
}

#[component]
fn Facts(numbers: RwSignal<Numbers>) -> impl IntoView {
    let index = move || numbers.with(|numbers| numbers.held.map(|held| held.position().index.0));
    let tail = move || numbers.with(|numbers| numbers.tail);
    let lag_events = move || numbers.with(|numbers| numbers.lag_events);
    let lag = move || numbers.with(|numbers| numbers.lag);
    let is_known = move || numbers.with(|numbers| numbers.tail != Known::Not);
    let since = Memo::new(move |_| numbers.with(|numbers| numbers.unknown_since));
    let unknown = move || view! { <NotKnown since=since /> };
    let digest = move || numbers.with(|numbers| numbers.held.map(|held| held.position().digest.to_string()));
    view! {
        <dl class="facts">
            <div>
                <dt>"Index"</dt>
                <dd data-testid="index" data-value=move || index().unwrap_or_default().to_string()>
                    {move || index().map_or_else(|| NOTHING.to_owned(), format::grouped_count)}
                </dd>
            </div>
            <div>
                <dt>"Leader’s tail"</dt>
                <dd data-testid="tail" data-value=move || value_of(tail())>
                    <Show when=is_known fallback=unknown>{move || format::known(tail())}</Show>
                </dd>
            </div>
            <div>
                <dt>"Lag in events"</dt>
                <dd data-testid="lag-events" data-value=move || value_of(lag_events())>
                    <Show when=is_known fallback=unknown>{move || format::known(lag_events())}</Show>
                </dd>
            </div>
            <div>
                <dt>"Lag in time"</dt>
                <dd
                    data-testid="lag-ms"
                    data-value=move || lag().map(|lag| lag.as_millis().to_string()).unwrap_or_default()
                >
                    <Show when=is_known fallback=unknown>
                        {move || lag().map_or_else(|| NOTHING.to_owned(), format::duration)}
                    </Show>
                </dd>
            </div>
            <div class="wide">
                <dt>"Digest"</dt>
                <dd class="mono" data-testid="digest" data-value=move || digest().unwrap_or_default()>
                    {move || digest().map_or_else(|| NOTHING.to_owned(), |digest| format::in_fours(&digest))}
                </dd>
            </div>
        </dl>
    }
}

/// Shown in place of a number that would be out of date.
#[component]
fn NotKnown(since: Memo<Option<TimeOfDay>>) -> impl IntoView {
    move || match since.get() {
        Some(since) => view! {
            <span class="unknown">"not known"</span>
            " "
            <small>{format!("since {since}")}</small>
        }
        .into_any(),
        None => NOTHING.into_any(),
    }
}

fn value_of(known: Known) -> String {
    match known {
        Known::Not => String::new(),
        Known::AtLeast(count) | Known::Exactly(count) => count.to_string(),
    }
}

#[component]
fn Resyncs(first: RwSignal<Option<ResyncLine>>, latest: RwSignal<Option<ResyncLine>>) -> impl IntoView {
    let line = |line: RwSignal<Option<ResyncLine>>, id: &'static str| {
        move || {
            line.get().map(|line| {
                view! {
                    <p class="resync" data-testid=id data-value=line.verdict>
                        <time>{line.time.to_string()}</time>
                        " "
                        {line.text}
                    </p>
                }
            })
        }
    };
    view! {
        <div class="resyncs">
            {line(first, "resync")}
            {line(latest, "reconnect")}
        </div>
    }
}

/// The log, the leader's term, and what a crash of the leader can take away.
#[component]
fn Origin(numbers: RwSignal<Numbers>) -> impl IntoView {
    let log = move || numbers.with(|numbers| numbers.held.map(|held| held.log().to_string()));
    let term = move || numbers.with(|numbers| numbers.term);
    let durability = move || {
        numbers.with(|numbers| match numbers.durability {
            None | Some(Durability::Unknown) => "",
            Some(Durability::Memory) => "The log lives in memory: a restart of the leader starts a new log.",
            Some(Durability::Os) => {
                "The log survives a crash of the leader, but a power cut may take its last moments."
            }
            Some(Durability::Fsync) => "Every event is on disk before it is shown here.",
        })
    };
    view! {
        <div class="origin" hidden=move || log().is_none()>
            <p>
                "Log "
                <span class="mono" data-testid="log-id" data-value=move || log().unwrap_or_default()>
                    {move || log().map_or_else(|| NOTHING.to_owned(), |log| format::in_fours(&log))}
                </span>
            </p>
            <p>
                "Term "
                <span data-testid="term">
                    {move || term().map_or_else(|| NOTHING.to_owned(), |term| term.to_string())}
                </span>
                ". "
                {durability}
            </p>
        </div>
    }
}
