//! What screen readers announce: the tab's state, once it has lasted for a moment.

use std::time::Duration;

use engine::Moment;
use engine::replica::State;

use super::permission::READING;
use super::{Model, Now};

/// How long a state must last before it is announced. A connection that comes and goes is not worth a sentence each time.
const SETTLED: Duration = Duration::from_secs(1);

/// The shortest time between two announcements, so that each can be heard to its end.
const PAUSE: Duration = Duration::from_secs(5);

/// The announced sentence, and the one that may follow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Announcer {
    said: &'static str,
    said_at: Option<Moment>,
    next: &'static str,
    next_since: Moment,
}

impl Announcer {
    fn update(&mut self, sentence: &'static str, now: Moment) -> &'static str {
        if sentence != self.next {
            self.next = sentence;
            self.next_since = now;
        }
        let is_settled = now.since(self.next_since) >= SETTLED;
        let may_speak = self.said_at.is_none_or(|at| now.since(at) >= PAUSE);
        if self.next != self.said && is_settled && may_speak {
            self.said = self.next;
            self.said_at = Some(now);
        }
        self.said
    }
}

impl Model {
    /// What screen readers announce. It also changes as time passes.
    pub fn announce(&mut self, now: Now) -> &'static str {
        let sentence = self.sentence(now);
        self.announcer.update(sentence, now.at)
    }

    fn sentence(&self, now: Now) -> &'static str {
        let status = self.status(now);
        if self.parked {
            return "This tab waits for a connection. Close another tab of this page and it goes on.";
        }
        match self.state {
            State::Live if status.mark.in_step => "Live and in step with the leader.",
            State::Live => status.mark.title,
            State::CatchingUp => "Catching up with the leader.",
            _ if !self.may_read() => READING,
            State::Connecting | State::Stale | State::Waiting if self.unanswered.is_some() => {
                "Not connected to the leader. Trying again."
            }
            State::Connecting | State::Stale | State::Waiting => "Connecting to the leader.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn a_state_that_changes_all_the_time_is_not_announced() {
        let mut announcer = Announcer::default();
        let mut said = Vec::new();
        // A connection that comes and goes three times a second, for ten seconds.
        for millis in (0..10_000).step_by(16) {
            let sentence = if millis / 333 % 2 == 0 { "live" } else { "lost" };
            said.push(announcer.update(sentence, at(millis)));
        }
        said.dedup();
        assert_eq!(said, [""]);
    }

    #[test]
    fn a_lasting_state_is_announced_once_after_the_last_one_was_heard() {
        let mut announcer = Announcer::default();
        assert_eq!(announcer.update("live", at(0)), "");
        assert_eq!(announcer.update("live", at(1_000)), "live");
        assert_eq!(announcer.update("lost", at(2_000)), "live");
        assert_eq!(announcer.update("lost", at(3_500)), "live");
        assert_eq!(announcer.update("lost", at(6_000)), "lost");
    }
}
