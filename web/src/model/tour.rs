//! A tour of the page in one minute. Most of its steps end by themselves when the person has done what they ask for.

use std::time::Duration;

use engine::{Index, Moment};

use super::{Model, Now};

/// How many events a person watches before the tour goes on.
const WATCHED: u64 = 8;

/// How long a step stays at least in which nothing is to be done, so that it can be read.
const READ: Duration = Duration::from_secs(4);

/// How long a step stays at least after which a person did something.
const DONE: Duration = Duration::from_secs(1);

/// A step of the tour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Asks whether the person wants it.
    Invitation,
    /// Events come.
    Watch,
    /// Break something.
    Break,
    /// It heals.
    Heal,
    /// Pause the generator.
    Pause,
    /// Submit an operation.
    Write,
    /// Reload the page.
    Reload,
    /// The page was reloaded.
    End,
}

impl Stop {
    const ALL: [Self; 8] =
        [Self::Invitation, Self::Watch, Self::Break, Self::Heal, Self::Pause, Self::Write, Self::Reload, Self::End];

    /// The step's name in the style sheet, which marks what it is about, and for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Watch => "watch",
            Self::Break => "break",
            Self::Heal => "heal",
            Self::Pause => "pause",
            Self::Write => "write",
            Self::Reload => "reload",
            Self::End => "end",
        }
    }

    /// The step with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stop| stop.name() == name)
    }

    fn number(self) -> usize {
        Self::ALL.iter().position(|stop| *stop == self).unwrap_or_default()
    }
}

/// What the page shows of the tour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guide {
    /// The step.
    pub stop: Stop,
    /// Its heading: `2 of 7 · Break it`.
    pub title: String,
    /// What to do or to see.
    pub text: String,
    /// What the button says that goes on.
    pub next: &'static str,
}

/// Where the tour is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tour {
    stop: Stop,
    since: Moment,
    /// The index at the start of the step.
    index: u64,
    /// The newest incident at the start of the step.
    incident: Option<u64>,
    /// This tab's newest own operation at the start of the step.
    own: Option<Index>,
}

impl Model {
    /// Begins the tour at a step, or ends it.
    pub fn tour_to(&mut self, stop: Option<Stop>, now: Now) {
        let index = self.held().map_or(0, |held| held.position().index.0);
        let incident = self.incidents().next().map(|incident| incident.id());
        self.tour = stop.map(|stop| Tour { stop, since: now.at, index, incident, own: self.own.back().copied() });
    }

    /// Goes on with the next step.
    pub fn tour_on(&mut self, now: Now) {
        let Some(tour) = self.tour else { return };
        let next = match tour.stop {
            // There is nothing to pause.
            Stop::Heal if !self.can_pause() => Some(Stop::Write),
            // Nothing was broken, so nothing heals.
            Stop::Break if !self.is_done(tour, now) => Some(if self.can_pause() { Stop::Pause } else { Stop::Write }),
            // It goes on when the page was reloaded.
            Stop::Reload | Stop::End => None,
            stop => Stop::ALL.get(stop.number() + 1).copied(),
        };
        self.tour_to(next, now);
    }

    /// The step that the tour is at. It goes on as things happen.
    pub fn guide(&mut self, now: Now) -> Option<Guide> {
        let tour = self.tour?;
        // Who did what a step asks for has read it.
        let read = if tour.stop == Stop::Watch { READ } else { DONE };
        if now.at.since(tour.since) >= read && self.is_done(tour, now) {
            self.tour_on(now);
        }
        let stop = self.tour?.stop;
        let (title, text, next) = self.words(stop);
        let title = match stop {
            Stop::Invitation => title.to_owned(),
            stop => format!("{} of 7 · {title}", stop.number()),
        };
        Some(Guide { stop, title, text, next })
    }

    /// The step that the tour was at last.
    #[must_use]
    pub fn tour_stop(&self) -> Option<Stop> {
        self.tour.map(|tour| tour.stop)
    }

    fn can_pause(&self) -> bool {
        self.generator().is_some_and(|generator| generator.controllable && !generator.ended)
    }

    fn is_done(&mut self, tour: Tour, now: Now) -> bool {
        let is_over = self.telling(now).is_none();
        let newest = self.incidents().next();
        match tour.stop {
            Stop::Watch => self.held().is_some_and(|held| held.position().index.0 >= tour.index + WATCHED),
            Stop::Break => {
                newest.is_some_and(|incident| incident.is_injected() && Some(incident.id()) != tour.incident)
            }
            Stop::Heal => newest.is_some_and(|incident| incident.healed().is_some()) && is_over,
            Stop::Pause => self.generator().is_some_and(|generator| generator.paused),
            Stop::Write => self.own.back().copied() != tour.own,
            Stop::Invitation | Stop::Reload | Stop::End => false,
        }
    }

    fn words(&self, stop: Stop) -> (&'static str, String, &'static str) {
        let (title, text, next) = match stop {
            Stop::Invitation => (
                "New here?",
                "See in one minute how copies of a number on several machines stay the same, and what happens when something \
                 goes wrong.",
                "Start the tour",
            ),
            Stop::Watch => (
                "Watch",
                "The leader writes operations into its log. Each gets a number and appears on the upper lane. This page reads \
                 the log, does every operation itself and holds the same value: the lane below. Other replicas do the same on \
                 other machines.",
                "Next",
            ),
            Stop::Break => (
                "Break it",
                "Let this page lose a part of the log: press “Lose a batch” below the lanes. It really is lost.",
                "Skip this",
            ),
            Stop::Heal => (
                "See it heal",
                "The page notices, asks again and goes on. That takes a few milliseconds; it is told slowly below the lanes, \
                 while the page is already live again.",
                "Next",
            ),
            Stop::Pause => (
                "Stop the generator",
                "Pause the leader’s generator, at the top, so that nobody writes but you.",
                "Skip this",
            ),
            Stop::Write => (
                "Write your own",
                "Type a number and press a key of the calculator. Your operation is committed by the leader, and all replicas \
                 do it.",
                "Skip this",
            ),
            Stop::Reload => (
                "Reload the page",
                "This tab keeps its index, digest and value. Reload it: it names them to the leader and gets only what is new.",
                "No thanks",
            ),
            Stop::End => {
                let line = self.first_resync().map_or("Connecting…", |line| line.text.as_str());
                return (
                    "That is all",
                    format!("{line} Equal digests proved that nothing before was different. Now break something else."),
                    "Done",
                );
            }
        };
        (title, text.to_owned(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_by_its_name_after_a_reload() {
        for stop in Stop::ALL {
            assert_eq!(Stop::by_name(stop.name()), Some(stop));
        }
        assert_eq!(Stop::by_name("lunch"), None);
    }

    #[test]
    fn it_leads_from_the_invitation_to_the_reload_and_leaves_out_what_cannot_be_done() {
        let mut model = Model::new("1a2b".to_owned(), "browser-1a2b".to_owned(), None);
        let now = Now::default();
        assert_eq!(model.guide(now), None);
        model.tour_to(Some(Stop::Invitation), now);
        let mut titles = Vec::new();
        while let Some(guide) = model.guide(now) {
            titles.push(guide.title);
            model.tour_on(now);
        }
        let expected =
            ["New here?", "1 of 7 · Watch", "2 of 7 · Break it", "5 of 7 · Write your own", "6 of 7 · Reload the page"];
        assert_eq!(titles, expected, "nothing was broken, and nothing can be paused");
    }

    #[test]
    fn a_step_ends_when_it_is_done_and_was_read() {
        let mut model = Model::new("1a2b".to_owned(), "browser-1a2b".to_owned(), None);
        let at = |seconds| Now { at: Moment(Duration::from_secs(seconds)), ..Now::default() };
        model.tour_to(Some(Stop::Write), at(0));
        model.handle_own(engine::Index(7));
        assert_eq!(model.guide(at(0)).map(|guide| guide.stop), Some(Stop::Write));
        assert_eq!(model.guide(at(1)).map(|guide| guide.stop), Some(Stop::Reload));
        assert_eq!(model.guide(at(900)).map(|guide| guide.stop), Some(Stop::Reload));
    }
}
