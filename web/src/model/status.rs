//! The connection in words: the state, whether the tab is in step, and what is wrong.

use std::time::Duration;

use engine::replica::State;
use engine::{Moment, Standing};
use follower::NotAllowed;

use super::permission::{READING, UNKNOWN};
use super::{Model, Now, Unanswered};
use crate::format;
use crate::known::Known;
use crate::tabs::Connections;

/// How long an attempt may take before the page says that something is wrong.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the page explains why an operation got no answer.
const EXPLAIN: Duration = Duration::from_secs(15);

/// How old the leader's last judgement may be to be shown without its time. It judges every two seconds.
const JUDGED: Duration = Duration::from_secs(6);

/// The number of open tabs from which on the browser's six connections to one address may all be taken.
const CROWD: usize = 6;

/// How good or bad something is. It is always shown beside a word, because colour alone says too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On the way.
    Busy,
    /// Nothing to say.
    Idle,
    /// Not as it should be; it heals by itself.
    Warn,
    /// Wrong.
    Bad,
}

impl Tone {
    /// The tone's name in the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// The connection in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The replica's name.
    pub name: String,
    /// The state for programs.
    pub state: &'static str,
    /// The state for people.
    pub words: &'static str,
    /// How good the state is.
    pub tone: Tone,
    /// Whether the tab is in step with the leader.
    pub mark: Mark,
    /// What is wrong, if a person should know it or can help.
    pub banner: Option<Banner>,
}

/// Whether the tab is in step with the leader, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whether it is in step.
    pub in_step: bool,
    /// A symbol for a quick look.
    pub sign: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// How that is known, or what is missing.
    pub detail: String,
    /// How good it is.
    pub tone: Tone,
}

/// A banner across the page about what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// The problem for programs: `connections`, `no_answer` or `token`.
    pub kind: &'static str,
    /// The problem, and what to do about it.
    pub text: String,
}

impl Model {
    /// The connection in words. It also changes as time passes.
    #[must_use]
    pub fn status(&self, now: Now) -> Status {
        let (words, tone) = self.state_words();
        Status {
            name: self.name.clone(),
            state: if self.lacks_permission() { "not_allowed" } else { self.state.name() },
            words,
            tone,
            mark: self.mark(now),
            banner: self.banner(now.at),
        }
    }

    /// What the browser's tab says: a sign for the state, and the value.
    #[must_use]
    pub fn title(&self, now: Now) -> (String, Tone) {
        let status = self.status(now);
        let sign = if status.mark.in_step { "✓" } else { status.mark.sign };
        let value = self.held().map_or_else(|| status.words.to_owned(), |held| format::grouped(held.value()));
        (format!("{sign} {value} – Distributed calculator"), status.mark.tone)
    }

    fn state_words(&self) -> (&'static str, Tone) {
        if self.parked {
            return ("Waiting for a connection", Tone::Warn);
        }
        if self.frozen {
            return ("Frozen", Tone::Warn);
        }
        if self.lacks_permission() {
            return ("Needs a token", Tone::Warn);
        }
        match self.state {
            State::Connecting if self.attempts() > 1 => ("Reconnecting", Tone::Warn),
            State::Connecting => ("Connecting", Tone::Busy),
            State::CatchingUp => ("Catching up", Tone::Busy),
            State::Live => ("Live", Tone::Good),
            State::Stale => ("Leader silent", Tone::Warn),
            // Before the first attempt nothing is wrong yet.
            State::Waiting if self.unanswered.is_none() => ("Connecting", Tone::Busy),
            State::Waiting => ("Not connected", Tone::Warn),
        }
    }

    /// Whether there is no stream because the leader does not let this tab read.
    fn lacks_permission(&self) -> bool {
        !self.may_read() && !self.parked && !matches!(self.state, State::CatchingUp | State::Live)
    }

    fn attempts(&self) -> u32 {
        self.unanswered.map_or(0, |unanswered| unanswered.attempts)
    }

    fn mark(&self, now: Now) -> Mark {
        let mark = |in_step, sign, title, detail, tone| Mark { in_step, sign, title, detail, tone };
        let held = self.held().map(|held| format::grouped_count(held.position().index.0));
        match (self.state, held) {
            (_, Some(held)) if self.frozen => {
                let detail = format!("Shows #{held}. What the leader sends waits in the browser");
                mark(false, "○", "Frozen", detail, Tone::Warn)
            }
            (State::Live, Some(_)) => self.judged_mark(now.at),
            (State::CatchingUp, _) => {
                let detail = match self.numbers.lag_events {
                    Known::Exactly(events) => format!("{} to go", format::events(events)),
                    Known::AtLeast(0) | Known::Not => "What arrives is not the newest".to_owned(),
                    Known::AtLeast(events) => format!("At least {} to go", format::events(events)),
                };
                mark(false, "↻", "Catching up", detail, Tone::Busy)
            }
            (_, None) if self.diverged => {
                let detail = "The state was dropped; a new copy follows.".to_owned();
                mark(false, "✕", "Diverged from the leader", detail, Tone::Bad)
            }
            (_, Some(held)) => {
                let detail = match self.numbers.unknown_since {
                    // The lanes move on, because another connection brings the leader's lists.
                    Some(since) if self.hears_lists(now) => {
                        format!("Shows #{held}. Its own stream is down since {since}")
                    }
                    Some(since) => format!("Shows #{held}. Nothing is known since {since}"),
                    None => format!("Shows what this tab held at #{held}"),
                };
                mark(false, "○", "Not connected", detail, Tone::Warn)
            }
            (_, None) => {
                let detail = match () {
                    () if self.parked => "Waiting for another tab to close",
                    () if self.lacks_permission() => "Waiting for a token",
                    () => "Waiting for the leader",
                };
                mark(false, "○", "Nothing held yet", detail.to_owned(), Tone::Idle)
            }
        }
    }

    /// The mark while live. Every digest has matched, so it depends on the leader's judgement.
    fn judged_mark(&self, now: Moment) -> Mark {
        let (detail, wrong) = match self.standing {
            None | Some((Standing::Compacted | Standing::Unknown, ..)) => {
                ("Every digest matched so far".to_owned(), false)
            }
            Some((standing, at, judged)) => {
                let at = format::grouped_count(at.position.index.0);
                match standing {
                    Standing::InStep if now.since(judged.at) > JUDGED => {
                        (format!("The leader last confirmed #{at}, at {}", judged.time), false)
                    }
                    Standing::InStep | Standing::Compacted | Standing::Unknown => {
                        (format!("The leader confirmed #{at}"), false)
                    }
                    Standing::OtherLog => (format!("The leader says #{at} is in another log"), true),
                    Standing::Ahead => (format!("The leader says #{at} is ahead of it"), true),
                    Standing::Diverged => (format!("The leader holds something else at #{at}"), true),
                }
            }
        };
        if wrong {
            Mark { in_step: false, sign: "✕", title: "Not in step with the leader", detail, tone: Tone::Bad }
        } else {
            Mark { in_step: true, sign: "✓", title: "In step with the leader", detail, tone: Tone::Good }
        }
    }

    fn banner(&self, now: Moment) -> Option<Banner> {
        if self.parked {
            let text = format!(
                "{} tabs of this page are open. {} Close a tab and this one goes live by itself.",
                self.tabs,
                self.connections.rule()
            );
            return Some(Banner { kind: "connections", text });
        }
        if let Some(why) = self.permission.reading() {
            let text = match why {
                NotAllowed::Missing => READING,
                NotAllowed::Unknown | NotAllowed::OnlyReads => UNKNOWN,
            };
            return Some(Banner { kind: "token", text: text.to_owned() });
        }
        // A person broke it and reads on the stage what happens.
        if self.incidents().next().is_some_and(|newest| newest.is_injected() && newest.healed().is_none()) {
            return None;
        }
        // Other pages of the same address use connections too, and so do tabs that cannot reach each other.
        let crowded = self.tabs >= CROWD && self.connections == Connections::Six;
        if let Some(Unanswered { since, attempts, failed }) = self.unanswered
            && now.since(since) >= PATIENCE
        {
            if crowded && !failed {
                return Some(
                    self.crowded("this tab has to wait for a free one. Close a tab and it goes on by itself."),
                );
            }
            let text = match attempts {
                0 | 1 => "The leader does not answer. Trying again…".to_owned(),
                _ => format!(
                    "The leader does not answer. Trying again… (attempt {})",
                    format::grouped_count(attempts.into())
                ),
            };
            return Some(Banner { kind: "no_answer", text });
        }
        if crowded && self.call_unanswered.is_some_and(|at| now.since(at) < EXPLAIN) {
            return Some(
                self.crowded("an operation has to wait for a free one. Close a tab and it goes on by itself."),
            );
        }
        None
    }

    fn crowded(&self, consequence: &str) -> Banner {
        let text = format!(
            "{} tabs of this page are open. A browser allows six connections to one address, so {consequence}",
            self.tabs
        );
        Banner { kind: "connections", text }
    }
}
