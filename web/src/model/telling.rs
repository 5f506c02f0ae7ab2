//! Tells incidents slowly: healing takes milliseconds, reading takes seconds.

use std::collections::VecDeque;
use std::time::Duration;

use engine::Moment;

use super::incident::{Incident, Step};

/// How long a step is told before the next one.
pub const PACE: Duration = Duration::from_millis(2_200);

/// How long a step of a repeated batch is told: nothing had to heal.
pub const QUICK_PACE: Duration = Duration::from_millis(1_400);

/// How long the last step stays.
pub const HOLD: Duration = Duration::from_secs(5);

/// How many incidents wait to be told at most. Others are only counted.
const WAITING: usize = 3;

/// What is told at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The incident's [id](Incident::id).
    pub incident: u64,
    /// Its [kind](Incident::kind).
    pub kind: &'static str,
    /// Its steps, as far as they are known; never empty.
    pub steps: Vec<Step>,
    /// Which of them is told now.
    pub step: usize,
    /// Whether it is healed, so that no step follows the last one.
    pub healed: bool,
    /// How many incidents happened since that are not told. They are in the event log.
    pub more: usize,
}

impl Telling {
    /// The step that is told now.
    #[must_use]
    pub fn now(&self) -> &Step {
        &self.steps[self.step]
    }
}

/// Decides which incident is told, and how far.
#[derive(Clone, Debug, Default)]
pub(super) struct Teller {
    told: Option<Told>,
    /// What is told next.
    waiting: VecDeque<u64>,
    more: usize,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    incident: u64,
    began: Moment,
}

impl Teller {
    /// An incident happened.
    pub(super) fn add(&mut self, incident: &Incident, now: Moment) {
        let (id, injected) = (incident.id(), incident.is_injected());
        if injected {
            // Who breaks something wants to see that, and nothing else any more. The rest is in the event log.
            self.waiting.clear();
            self.more = 0;
        }
        if self.told.is_none() || injected {
            return self.tell(id, now);
        }
        self.waiting.push_back(id);
        if self.waiting.len() > WAITING {
            self.waiting.pop_back();
            self.more += 1;
        }
    }

    /// Tells an incident from its first step on, whatever is told at present.
    pub(super) fn tell(&mut self, incident: u64, now: Moment) {
        self.waiting.retain(|waiting| *waiting != incident);
        self.told = Some(Told { incident, began: now });
    }

    /// Ends the present telling.
    pub(super) fn skip(&mut self, now: Moment) {
        self.told = None;
        match self.waiting.pop_front() {
            Some(next) => self.tell(next, now),
            None => self.more = 0,
        }
    }

    /// What is told now.
    pub(super) fn telling(&mut self, incidents: &VecDeque<Incident>, now: Moment) -> Option<Telling> {
        loop {
            let told = self.told?;
            let Some(incident) = incidents.iter().find(|incident| incident.id() == told.incident) else {
                self.skip(now);
                continue;
            };
            let steps = incident.steps();
            let pace = if matches!(incident.kind(), "repeated" | "duplicate") { QUICK_PACE } else { PACE };
            let (mut step, mut since) = (0, told.began);
            for (place, next) in steps.iter().enumerate().skip(1) {
                let begins = since.plus(pace).max(next.since);
                if begins > now {
                    break;
                }
                (step, since) = (place, begins);
            }
            let healed = incident.healed().is_some();
            let is_last = step + 1 == steps.len();
            let others_wait = !self.waiting.is_empty();
            // One that is not healed stays until it is, unless there is something else to tell.
            if is_last && (healed || others_wait) && now.since(since) >= if healed && others_wait { pace } else { HOLD }
            {
                self.skip(now);
                continue;
            }
            return Some(Telling {
                incident: told.incident,
                kind: incident.kind(),
                steps,
                step,
                healed,
                more: self.more,
            });
        }
    }
}
