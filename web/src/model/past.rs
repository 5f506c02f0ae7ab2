//! The page's journey through history in words.

use super::log::{author, local_time};
use super::travel::{Obstacle, View};
use super::{Model, Now};
use crate::format;

/// What the page shows of its journey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// For programs: `live`, `loading`, `there` or `cannot`.
    pub state: &'static str,
    /// Where it is; the tail while live.
    pub index: u64,
    /// Where a person can go, both ends included.
    pub first: u64,
    /// See `first`.
    pub last: u64,
    /// The value there; empty if it is not shown.
    pub value: String,
    /// The event, who submitted it and when; or why it cannot be shown.
    pub text: String,
    /// The digest, and whether it is proved.
    pub digest: String,
    /// Whether something is wrong that must not be overlooked.
    pub is_wrong: bool,
    /// Events a second while it plays.
    pub speed: u32,
}

impl Model {
    /// Whether history is played, so that the page changes by itself.
    #[must_use]
    pub fn plays(&self) -> bool {
        self.travel.speed().is_some()
    }

    /// The journey. It goes on as time passes.
    pub fn past(&mut self, now: Now, offset: i64) -> Past {
        self.travel.advance(now.at);
        let (first, last) = self.travel.range();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is at most some thousands")]
        let speed = self.travel.speed().map_or(0, |speed| speed.round().max(1.0) as u32);
        let past = Past { first: first.0, last: last.0, speed, ..Past::default() };
        match self.travel.view() {
            View::Live => Past {
                state: "live",
                index: last.0,
                text: "Live. Drag to see the value at any index.".to_owned(),
                ..past
            },
            View::Loading(index) => Past {
                state: "loading",
                index: index.0,
                text: format!("Reading what was at {}…", format::index(index)),
                ..past
            },
            View::Cannot(index, obstacle) => Past {
                state: "cannot",
                index: index.0,
                is_wrong: matches!(obstacle, Obstacle::Wrong(_)),
                text: describe(&obstacle),
                ..past
            },
            View::At(there) => {
                let event = there
                    .event
                    .map_or_else(|| format!("{}: where history starts", format::index(there.index)), format::committed);
                let who = author(&there.author, self.is_own(there.index));
                let who = if who.is_empty() || there.event.is_none() { who } else { format!(", by {who}") };
                let when = there.committed_at.map_or_else(String::new, |at| format!(" at {}", local_time(at, offset)));
                let proof = if there.proved { "✓ computed here, and the leader’s" } else { "computed here" };
                Past {
                    state: "there",
                    index: there.index.0,
                    value: format::grouped(there.value),
                    text: format!("{event}{who}{when}"),
                    digest: format!("digest {} {proof}", format::short_digest(there.digest)),
                    ..past
                }
            }
        }
    }
}

fn describe(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Compacted(floor) => {
            format!("The leader no longer keeps the events up to {}.", format::index(*floor))
        }
        Obstacle::Damaged(what) => format!("The leader’s history is damaged there: {what}."),
        Obstacle::OlderLeader => {
            "The leader is of an older version, which cannot tell enough about the past.".to_owned()
        }
        Obstacle::OtherLog => "The leader has another log now.".to_owned(),
        Obstacle::Wrong(what) => {
            format!("What the leader says about the past contradicts itself: {}.", format::with_minus(what))
        }
    }
}
