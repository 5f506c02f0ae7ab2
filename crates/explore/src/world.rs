//! A world: what is in it, and what can happen in it next.

use engine::Operation;
use engine::replica::State;

use crate::action::{Action, Seat};
use crate::budget::{Budget, Kind};
use crate::client::Client;
use crate::config::WorldConfig;
use crate::leader::Leader;
use crate::log::{Log, Luck};
use crate::part::{Part, fingerprint};
use crate::replica::Follower;
use crate::stream::Stream;

/// What the generator draws.
pub(crate) const DRAWN: Operation = Operation::Add(9);

/// Everything at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) config: &'static WorldConfig,
    pub(crate) log: Part<Log>,
    /// Those that run, in the order in which they started.
    pub(crate) leaders: [Option<Part<Leader>>; 2],
    pub(crate) replica: Part<Follower>,
    pub(crate) stream: Option<Part<Stream>>,
    pub(crate) client: Part<Client>,
    pub(crate) budget: Budget,
    pub(crate) calm: Calm,
}

/// How far a world is on its way back to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Calm {
    /// Anything may happen.
    No,
    /// Nothing fails any more.
    Healing,
    /// So that something shows who does not follow, one more operation was put in.
    PutLast,
    /// And a heartbeat was sent behind it.
    Beaten,
}

impl World {
    pub(crate) fn new(config: &'static WorldConfig, failures: u8) -> Self {
        Self {
            config,
            log: Part::new(Log::new(config.forgetful)),
            leaders: [None, None],
            replica: Part::new(Follower::start(None)),
            stream: None,
            client: Part::new(Client::new()),
            budget: Budget::new(config.limits, failures),
            calm: Calm::No,
        }
    }

    /// Names the state: equal states have equal names.
    pub(crate) fn print(&self) -> u128 {
        let leaders = self.leaders.each_ref().map(|leader| leader.as_ref().map_or(0, Part::print));
        let stream = self.stream.as_ref().map_or(0, Part::print);
        let rest = (self.log.print(), self.replica.print(), self.client.print(), self.budget, self.calm);
        fingerprint(&(leaders, stream, rest))
    }

    pub(crate) fn leader(&self, seat: Seat) -> Option<&Leader> {
        self.leaders[usize::from(seat)].as_deref()
    }

    /// Leaders that run, with their seats.
    pub(crate) fn running(&self) -> impl Iterator<Item = (Seat, &Leader)> {
        (0..).zip(&self.leaders).filter_map(|(seat, leader)| Some((seat, leader.as_deref()?)))
    }

    /// The leader that took over last, if it runs.
    pub(crate) fn newest(&self) -> Option<(Seat, &Leader)> {
        self.running().find(|(_, leader)| leader.term() == self.log.term())
    }

    /// The one that serves the stream, if it runs.
    pub(crate) fn serving(&self) -> Option<Seat> {
        let stream = self.stream.as_ref()?;
        self.running().find(|(_, leader)| leader.term() == stream.from).map(|(seat, _)| seat)
    }

    /// Whether the replica waits for the end of a pause.
    pub(crate) fn replica_pauses(&self) -> bool {
        matches!(self.replica.state(), State::Waiting | State::Stale)
    }

    /// Whether the leader can send something, and there is room for it on the way.
    pub(crate) fn can_push(&self) -> bool {
        let Some(stream) = &self.stream else { return false };
        let Some(seat) = self.serving() else { return false };
        let (Some(subscription), Some(leader)) = (&stream.subscription, self.leader(seat)) else { return false };
        stream.frames.len() < self.config.link_frames && leader.has_something_for(subscription)
    }

    /// Whether nobody answers the attempt that the client waits for any more.
    pub(crate) fn waits_in_vain(&self) -> bool {
        let Some(attempt) = self.client.awaits() else { return false };
        self.client.waits_in_vain() && self.running().all(|(_, leader)| !leader.answers(attempt))
    }

    /// Everything that can happen next.
    pub(crate) fn actions(&self, into: &mut Vec<Action>) {
        into.clear();
        self.leaders_actions(into);
        self.log_actions(into);
        self.client_actions(into);
        if self.config.has_replica {
            self.replica_actions(into);
        }
        into.retain(|action| action.kind().is_none_or(|kind| self.budget.allows(kind)));
    }

    fn leaders_actions(&self, into: &mut Vec<Action>) {
        let newest = self.newest().map(|(seat, _)| seat);
        let has_seat = self.leaders.iter().any(Option::is_none);
        into.extend((newest.is_none() && has_seat).then_some(Action::Start));
        into.extend((newest.is_some() && has_seat).then_some(Action::TakeOver));
        for (seat, leader) in self.running() {
            into.push(Action::Crash(seat));
            if !leader.is_ending() {
                into.push(Action::Stop(seat));
            }
            if leader.is_ending() && !leader.said_goodbye() {
                into.push(Action::Goodbye(seat));
            }
            if leader.said_goodbye() {
                into.push(Action::Exit(seat));
            }
            if self.can_notice(leader) {
                into.push(Action::Notice(seat));
            }
        }
        if newest.is_some() && self.budget.allows(Kind::PowerLoss) {
            let left = self.log.left_by_power_cut();
            into.extend(left.filter_map(|left| Some(Action::LosePower { left: u8::try_from(left).ok()? })));
        }
    }

    pub(crate) fn can_notice(&self, leader: &Leader) -> bool {
        leader.term() < self.log.term()
            && !leader.has_stopped()
            && !engine::fault::active(engine::fault::Fault::TrustOldTerm)
    }

    fn log_actions(&self, into: &mut Vec<Action>) {
        for (seat, leader) in self.running() {
            if leader.is_committing() {
                into.push(Action::Commit(seat));
            } else if leader.can_write() {
                if !leader.is_ending() {
                    into.push(Action::Draw(seat));
                }
                if leader.has_open_batch() {
                    into.push(Action::Append(seat, Luck::Written));
                    if leader.term() == self.log.term() {
                        into.push(Action::Append(seat, Luck::Full));
                        into.push(Action::Append(seat, Luck::Unknown { written: false }));
                        into.push(Action::Append(seat, Luck::Unknown { written: true }));
                    }
                }
            }
            if !leader.said_goodbye() {
                into.push(Action::Beat(seat));
            }
        }
        into.extend(self.log.can_compact().then_some(Action::Compact));
    }

    fn client_actions(&self, into: &mut Vec<Action>) {
        let client = &self.client;
        if client.awaits().is_none() && (client.is_pending() || self.next_operation().is_some()) {
            into.push(Action::Send);
        }
        for call in 0..client.calls().len() {
            let Ok(call) = u8::try_from(call) else { continue };
            let at = self.running().filter(|(_, leader)| leader.takes_calls());
            into.extend(at.map(|(seat, _)| Action::Arrive { call, seat }));
        }
        if client.has_answer() {
            into.push(Action::Answer);
        }
        if client.awaits().is_some() {
            into.push(Action::NoAnswer { in_vain: self.waits_in_vain() });
        }
        if client.is_pending() {
            into.extend([Action::GiveUp, Action::Reload]);
        }
    }

    /// The operation that the client begins next, and whether it is to come directly after what the client sees. That needs
    /// a leader to look at.
    pub(crate) fn next_operation(&self) -> Option<(Operation, bool)> {
        let next = self.config.operations.get(self.client.begun()).copied()?;
        (!next.1 || self.newest().is_some()).then_some(next)
    }

    fn replica_actions(&self, into: &mut Vec<Action>) {
        into.extend([Action::Restart { keeps: false }]);
        into.extend(self.replica.held().map(|_| Action::Restart { keeps: true }));
        let Some(stream) = &self.stream else {
            into.extend(self.running().map(|(seat, _)| Action::Connect(seat)));
            return;
        };
        into.extend(self.can_push().then_some(Action::Push));
        if let Some(front) = stream.frames.front() {
            into.extend([Action::Deliver, Action::Drop, Action::Repeat]);
            into.extend(matches!(**front, engine::Frame::Batch(_)).then_some(Action::Alter));
            into.extend((stream.frames.len() > 1).then_some(Action::Exchange));
        }
        if stream.has_ended() {
            into.push(Action::Closed);
        } else if stream.hangs {
            into.extend(self.replica.has_deadline().then_some(Action::Timeout));
        } else {
            into.extend([Action::Cut, Action::Hang]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WORLDS;
    use crate::sights::Sights;

    fn after(steps: &[Action]) -> World {
        let config = WORLDS.iter().find(|config| config.name == "together").unwrap();
        let mut world = World::new(config, 2);
        let mut possible = Vec::new();
        for step in steps {
            world.actions(&mut possible);
            assert!(possible.contains(step), "{step} is not possible");
            world.carry_out(*step, &mut Sights::default()).unwrap();
        }
        world
    }

    #[test]
    fn the_order_of_steps_that_do_not_meet_makes_no_difference() {
        let one = after(&[Action::Start, Action::Send, Action::Connect(0), Action::Deliver]);
        let other = after(&[Action::Start, Action::Connect(0), Action::Deliver, Action::Send]);
        assert_eq!(one.print(), other.print());
        assert_ne!(one.print(), after(&[Action::Start, Action::Send, Action::Connect(0)]).print());
    }

    #[test]
    fn a_replica_that_comes_back_to_a_state_makes_no_new_one() {
        let lost = [Action::Start, Action::Connect(0), Action::Hang, Action::Timeout];
        let again = after(&[&lost[..], &[Action::Connect(0), Action::Deliver, Action::Deliver]].concat());
        let fewer_failures = World {
            budget: again.budget,
            ..after(&[Action::Start, Action::Connect(0), Action::Deliver, Action::Deliver])
        };
        assert_eq!(again.print(), fewer_failures.print());
    }
}
