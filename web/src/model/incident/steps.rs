//! What is told of an incident, step by step, and what the strip shows meanwhile.

use engine::replica::Divergence;
use engine::{Index, Moment, Operation, SnapshotReason, Verdict};

use super::{Answer, Done, Healed, Incident, Noticed, WINDOW, before, goodbye};
use crate::format::{self, index, range, short_digest};
use crate::model::Now;
use crate::model::status::Tone;

/// A step of the telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Two or three words.
    pub title: &'static str,
    /// A plain sentence or two.
    pub text: String,
    /// How good it is.
    pub tone: Tone,
    /// The events around the place at this step, in order.
    pub cells: Vec<Cell>,
    /// When it happened.
    pub(in crate::model) since: Moment,
}

/// An event on the strip of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The event's place in the log.
    pub index: Index,
    /// Its operation as it arrived here, if known.
    pub operation: Option<Operation>,
    /// What became of it so far.
    pub mark: Mark,
}

/// What became of an event so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing is known of it yet.
    Ahead,
    /// It is applied here.
    Applied,
    /// It did not arrive.
    Missing,
    /// It arrived and cannot be applied yet, or was not read yet.
    Waiting,
    /// It arrived a second time.
    Repeated,
    /// It arrived as another operation.
    Altered,
    /// It was applied and counts no more: what was held was dropped.
    Dropped,
    /// It was asked for again.
    Asked,
    /// It came after the page asked again, or waited.
    Healed,
    /// A snapshot stands for it.
    Snapshot,
}

/// The parts of a telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Cause,
    Over,
    Noticed,
    Answer,
    Healed,
}

impl Incident {
    /// The steps of its telling, as far as it went.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(5);
        let mut add = |part, since: Now, (title, text, tone): (&'static str, String, Tone)| {
            steps.push(Step { title, text, tone, cells: self.cells(part), since: since.at });
        };
        if let Some(done) = self.done {
            add(Part::Cause, self.began, self.cause(done));
        }
        if let Some(over) = self.over.filter(|_| self.done == Some(Done::Frozen)) {
            let lasted = self.lasted().unwrap_or_default();
            let text = format!("After {lasted}, it goes on from {}.", index(self.held_index()));
            add(Part::Over, over, ("It reads again", text, Tone::Busy));
        }
        if let Some((noticed, at)) = &self.noticed {
            add(Part::Noticed, *at, self.notice(noticed));
        }
        if let Some((answer, at)) = &self.answer {
            add(Part::Answer, *at, self.ask(answer));
        }
        if let Some((healed, at)) = self.healed
            && healed != Healed::Itself
        {
            add(Part::Healed, at, ("Healed", self.heal(healed), Tone::Good));
        }
        steps
    }

    fn cause(&self, done: Done) -> (&'static str, String, Tone) {
        let held = index(self.held_index());
        match done {
            Done::Lost { first, last } => {
                let title = if first == last { "One is missing" } else { "Some are missing" };
                (title, format!("{} never arrived.", self.events(first, last)), Tone::Bad)
            }
            Done::Repeated { first, last } => {
                let title = if first == last { "One came twice" } else { "Some came twice" };
                (title, format!("{} arrived a second time.", self.events(first, last)), Tone::Warn)
            }
            Done::Exchanged { first, last, by } => {
                let text = match by {
                    Some((by, to)) => {
                        format!("{} overtook {} on the way.", self.events(by, to), self.events(first, last))
                    }
                    None => format!("{} was held back on the way.", self.events(first, last)),
                };
                ("Two swapped places", text, Tone::Bad)
            }
            Done::Altered { first, sent, arrived, .. } => {
                let (sent, arrived) = (format::operation(sent), format::operation(arrived));
                (
                    "One was altered",
                    format!("The leader sent {sent} as {}; {arrived} arrived.", index(first)),
                    Tone::Bad,
                )
            }
            Done::Cut => {
                ("The link is cut", format!("This page holds {held}. Nothing after it can arrive."), Tone::Bad)
            }
            Done::Frozen => {
                let text = format!("This tab reads nothing after {held}. What the leader sends waits in the browser.");
                ("The tab is frozen", text, Tone::Bad)
            }
            Done::Forgotten => {
                let text = format!("Value, index and digest are gone. The last event that this page held was {held}.");
                ("All is forgotten", text, Tone::Bad)
            }
        }
    }

    fn notice(&self, noticed: &Noticed) -> (&'static str, String, Tone) {
        let held = index(self.held_index());
        match noticed {
            Noticed::Gap { expected: Index::ZERO, got, .. } => {
                let text = format!("The promised snapshot did not come; {} came instead.", index(*got));
                ("A gap", text, Tone::Warn)
            }
            Noticed::Gap { expected, got, by_heartbeat: true } => {
                let tail = index(before(*got));
                let text = if expected.next() == *got {
                    format!("A heartbeat says that the log ends at {tail}, which is not here.")
                } else {
                    format!("A heartbeat says that the log ends at {tail}, but {} is not here.", index(*expected))
                };
                ("A gap", text, Tone::Warn)
            }
            Noticed::Gap { expected, got, .. } => {
                let missing = range(*expected, before(*got));
                let verb = if expected.next() == *got { "has" } else { "have" };
                let next = self.events(*got, *got);
                let text = format!("Next came {next}, but {missing} {verb} to come first. Nothing was applied.");
                ("A gap", text, Tone::Warn)
            }
            Noticed::Duplicate { first, last } => {
                let text = format!(
                    "{} came again. Applied already, so ignored: nothing changed, nothing was asked.",
                    range(*first, *last)
                );
                ("Seen before", text, Tone::Good)
            }
            Noticed::Diverged(Divergence::Digest { at, own, leader }) => {
                let (own, leader) = (short_digest(*own), short_digest(*leader));
                let text = format!(
                    "At {} the digest is {own} here and {leader} at the leader. So this page drops what it holds.",
                    index(*at)
                );
                ("A divergence", text, Tone::Bad)
            }
            Noticed::Diverged(Divergence::Refused { refusal, .. }) => {
                let refusal = format::with_minus(&refusal.to_string());
                let text = format!("It cannot be applied: {refusal}. So this page drops what it holds.");
                ("A divergence", text, Tone::Bad)
            }
            Noticed::Diverged(Divergence::Verdict { at }) => {
                let text =
                    format!("The leader has another digest at {}. So this page drops what it holds.", index(at.index));
                ("A divergence", text, Tone::Bad)
            }
            Noticed::LinkLost(_) if self.done == Some(Done::Cut) => {
                ("No link", format!("The leader goes on without this page. {}", self.tries()), Tone::Warn)
            }
            Noticed::LinkLost(why) => {
                let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                let text = format!("The stream broke after {held}{why}. {}", self.tries());
                ("The link is lost", text, Tone::Warn)
            }
            Noticed::Goodbye(reason) => {
                let text =
                    format!("The leader ended the stream after {held}: {}. This page tries again.", goodbye(*reason));
                ("The leader leaves", text, Tone::Warn)
            }
            Noticed::Silent(silence) => {
                let text = format!(
                    "Not a byte came for {}. So the link is dead: this page drops it.",
                    format::duration(*silence)
                );
                ("The leader is silent", text, Tone::Warn)
            }
            Noticed::StaleLeader { seen, got } => {
                let text = format!(
                    "A leader of term {} answered, but term {} was already seen. Nothing of it is applied.",
                    got.0, seen.0
                );
                ("A stale leader", text, Tone::Bad)
            }
            Noticed::Violated(violation) => {
                ("Against the rules", format!("{}.", capitalized(&violation.to_string())), Tone::Bad)
            }
            Noticed::Overtaken(at) => {
                let text = format!(
                    "The leader no longer keeps what follows {held}. It sent the value at {} instead: a snapshot.",
                    index(*at)
                );
                ("Too far behind", text, Tone::Warn)
            }
            Noticed::Judged(text) => ("The leader disagrees", text.clone(), Tone::Bad),
        }
    }

    fn ask(&self, answer: &Answer) -> (&'static str, String, Tone) {
        let down = self.lasted().filter(|_| self.done == Some(Done::Cut));
        let back = down.map_or(String::new(), |down| format!("The link was down for {down}. "));
        let term = match self.new_term() {
            Some((before, now)) => format!(" It leads in term {}; before, it was term {}.", now.0, before.0),
            None => String::new(),
        };
        let Some(asked) = answer.asked else {
            let text = format!("{back}“I hold nothing.” The leader sends its value: a snapshot.{term}");
            return ("Asked afresh", text, Tone::Busy);
        };
        let holds =
            format!("“I hold {} with digest {}.”", index(asked.position.index), short_digest(asked.position.digest));
        let verdict = match answer.verdict {
            Verdict::Resumed => "The leader agrees: resume.".to_owned(),
            Verdict::Snapshot(_) if answer.damaged => {
                "What follows is damaged in the leader’s storage: a snapshot.".to_owned()
            }
            Verdict::Snapshot(reason) => {
                let why = match reason {
                    SnapshotReason::OtherLog => "The leader has begun a new log",
                    SnapshotReason::Ahead => "The leader’s log ends before that",
                    SnapshotReason::Compacted => "The leader no longer keeps what follows",
                    SnapshotReason::Diverged => "The leader has another digest there",
                    SnapshotReason::Fresh | SnapshotReason::Unknown => "The leader does not resume",
                };
                format!("{why}: a snapshot.")
            }
        };
        ("Asked again", format!("{back}{holds} {verdict}{term}"), Tone::Busy)
    }

    fn heal(&self, healed: Healed) -> String {
        let took = format::duration(self.took().unwrap_or_default());
        let in_truth = match self.done {
            Some(Done::Cut) if self.lasted().is_some() => format!("{took} after the link was back"),
            _ => format!("{took} in truth"),
        };
        let resync = match healed {
            Healed::Resynced(resync) => resync,
            Healed::Read(0) => return "Nothing had waited, and nothing had to be asked again.".to_owned(),
            Healed::Read(events) => {
                let (events, matches) = came(events, "had waited");
                return format!("{events}, and {matches}. Read in {took}; nothing had to be asked again.");
            }
            Healed::Itself => return String::new(),
        };
        match (resync.snapshot, resync.events) {
            (Some(at), events) => {
                let at = index(at.index);
                let then = if events == 0 { String::new() } else { format!(", then {}", format::events(events)) };
                format!("The value at {at} came{then}, and all checks match. {in_truth}, with a snapshot.")
            }
            (None, 0) => format!("Nothing was missing. {in_truth}, no snapshot."),
            (None, events) => {
                let (events, matches) = came(events, "came");
                format!("{events}, and {matches}. {in_truth}, no snapshot.")
            }
        }
    }

    /// How often the page tried to reach the leader in vain.
    fn tries(&self) -> String {
        match self.attempts {
            0 => "This page tries to reach the leader again.".to_owned(),
            1 => "One attempt to reach the leader failed.".to_owned(),
            tries => format!("{} attempts to reach the leader failed.", format::grouped_count(tries.into())),
        }
    }

    /// `#1,234 (× 3)`, or `#1,234 to #1,236 (3 events)`.
    fn events(&self, first: Index, last: Index) -> String {
        let what = if first == last {
            self.window.operation(first).map(format::operation)
        } else {
            Some(format::events(last.events_since(first) + 1))
        };
        what.map_or(range(first, last), |what| format!("{} ({what})", range(first, last)))
    }

    fn cells(&self, part: Part) -> Vec<Cell> {
        let cell = |place| {
            let index = self.window.first.plus(place);
            let mark = self.mark(index, part);
            let operation = match self.done {
                Some(Done::Altered { arrived, .. }) if mark == Mark::Altered => Some(arrived),
                _ => self.window.operation(index),
            };
            // What the page cannot know yet is not shown.
            Cell { index, operation: operation.filter(|_| mark != Mark::Ahead), mark }
        };
        (0..WINDOW as u64).map(cell).collect()
    }

    fn mark(&self, index: Index, part: Part) -> Mark {
        let held = self.held_index();
        let is_in = |first: Index, last: Index| (first..=last).contains(&index);
        // Came until it was healed.
        let came = index > held && self.end().is_some_and(|end| index <= end);
        let special = match part {
            Part::Cause => match self.done {
                Some(Done::Lost { first, last } | Done::Exchanged { first, last, .. }) if is_in(first, last) => {
                    Some(Mark::Missing)
                }
                Some(Done::Exchanged { by: Some((by, to)), .. }) if is_in(by, to) => Some(Mark::Waiting),
                Some(Done::Repeated { first, last }) if is_in(first, last) => Some(Mark::Repeated),
                Some(Done::Altered { first, .. }) if index == first => Some(Mark::Altered),
                Some(Done::Altered { first, last, .. }) if is_in(first, last) => Some(Mark::Waiting),
                Some(Done::Forgotten) if index <= held => Some(Mark::Dropped),
                _ => None,
            },
            Part::Over => came.then_some(Mark::Waiting),
            Part::Noticed => match self.noticed.as_ref().map(|(noticed, _)| noticed) {
                Some(Noticed::Gap { expected, got, .. }) if is_in(*expected, before(*got)) => Some(Mark::Missing),
                Some(Noticed::Gap { got, by_heartbeat: false, .. }) if index == *got => Some(Mark::Waiting),
                Some(Noticed::Duplicate { first, last }) if is_in(*first, *last) => Some(Mark::Repeated),
                Some(Noticed::Diverged(_)) => match self.done {
                    Some(Done::Altered { first, .. }) if index == first => Some(Mark::Altered),
                    _ => (index <= held).then_some(Mark::Dropped),
                },
                Some(Noticed::Overtaken(at)) => (index <= *at).then_some(Mark::Snapshot),
                _ => came.then_some(Mark::Missing),
            },
            Part::Answer => {
                let answer = self.answer.map(|(answer, _)| answer.verdict);
                match answer {
                    Some(Verdict::Snapshot(reason)) if reason != SnapshotReason::Compacted => {
                        (index <= held).then_some(Mark::Dropped)
                    }
                    _ => (came || self.is_known_missing(index)).then_some(Mark::Asked),
                }
            }
            Part::Healed => match self.snapshot() {
                Some(at) if index <= at => Some(Mark::Snapshot),
                // In a log that is shorter now, or another one.
                Some(_) if index <= held => Some(Mark::Dropped),
                _ => came.then_some(Mark::Healed),
            },
        };
        special.unwrap_or(if index <= held { Mark::Applied } else { Mark::Ahead })
    }

    /// Whether a gap showed that the event is missing.
    fn is_known_missing(&self, index: Index) -> bool {
        match &self.noticed {
            Some((Noticed::Gap { expected, got, .. }, _)) => (*expected..*got).contains(&index),
            _ => false,
        }
    }
}

/// `1 event came` and `the digest matches`, or the same of many.
fn came(events: u64, verb: &str) -> (String, &'static str) {
    let matches = if events == 1 { "the digest matches" } else { "the digests match" };
    (format!("{} {verb}", format::events(events)), matches)
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}
