//! What each action does.

use engine::Frame;
use engine::replica::Notice;
use follower::producer::{Settled, Step};

use crate::action::{Action, Seat};
use crate::client::{Client, Fate};
use crate::invariants::{self, BrokenPromise};
use crate::leader::{Answers, Leader};
use crate::part::Part;
use crate::replica::{Follower, Reaction};
use crate::sights::{Sight, Sights};
use crate::stream::Stream;
use crate::world::{Calm, DRAWN, World};

impl World {
    /// Carries out one of its [`actions`](World::actions), and notes in `seen` what happened.
    ///
    /// # Errors
    ///
    /// The promise that this breaks.
    pub(crate) fn carry_out(&mut self, action: Action, seen: &mut Sights) -> Result<(), BrokenPromise> {
        if let Some(kind) = action.kind()
            && self.calm == Calm::No
        {
            self.budget.spend(kind);
        }
        match action {
            Action::Start | Action::TakeOver => self.start_leader(),
            Action::Crash(seat) | Action::Exit(seat) => self.end_leader(seat),
            Action::LosePower { left } => {
                while let Some((seat, _)) = self.running().last() {
                    self.end_leader(seat);
                }
                self.log.change().lose_power(usize::from(left));
            }
            Action::Stop(seat) => self.leader_mut(seat).refuse(),
            Action::Goodbye(seat) => {
                let answers = self.leader_mut(seat).say_goodbye();
                self.answer(seat, answers)?;
            }
            Action::Notice(seat) => {
                seen.note(Sight::Replaced);
                let answers = self.leader_mut(seat).lose();
                self.answer(seat, answers)?;
            }
            Action::Draw(seat) => self.leader_mut(seat).draw(DRAWN),
            Action::Append(seat, luck) => {
                let mut log = self.log.clone();
                let appended = self.leader_mut(seat).append(log.change(), luck);
                self.log = log;
                let answers = appended.map_err(|_| invariants::ended_without_a_reason())?;
                self.answer(seat, answers)?;
            }
            Action::Commit(seat) => {
                let log = self.log.clone();
                let answers = self.leader_mut(seat).commit(&log);
                self.answer(seat, answers)?;
            }
            Action::Beat(seat) => self.leader_mut(seat).beat(),
            Action::Compact => self.log.change().compact(),
            Action::Send => self.send(),
            Action::Arrive { call, seat } => {
                let call = self.client.change().take_call(usize::from(call));
                let answers = self.leader_mut(seat).submit(&call.submission, call.attempt);
                self.answer(seat, answers)?;
            }
            Action::Answer => {
                let step = self.client.change().handle_answer();
                self.settle(step, seen)?;
            }
            Action::NoAnswer { .. } => {
                let step = self.client.change().handle_no_answer();
                self.settle(step, seen)?;
            }
            Action::GiveUp => {
                let client = self.client.change();
                let number = client.begun() - 1;
                if !client.give_up() {
                    client.set_fate(number, Fate::NotDone);
                }
            }
            Action::Reload => self.client.change().reload(),
            Action::Connect(seat) => self.connect(seat, seen)?,
            Action::Push => self.push()?,
            Action::Deliver => {
                if let Some(frame) = self.stream().frames.pop_front() {
                    self.deliver(&frame, seen)?;
                }
            }
            Action::Repeat => {
                if let Some(frame) = self.stream.as_ref().and_then(|stream| stream.frames.front()).cloned() {
                    self.deliver(&frame, seen)?;
                }
            }
            Action::Drop => drop(self.stream().frames.pop_front()),
            Action::Exchange => self.stream().frames.swap(0, 1),
            Action::Alter => self.stream().alter(),
            Action::Cut => self.stream().cut(false),
            Action::Hang => self.stream().cut(true),
            Action::Closed => self.replica_does(seen, Follower::handle_closed)?,
            Action::Timeout => self.replica_does(seen, Follower::handle_timeout)?,
            Action::Restart { keeps } => {
                self.stream = None;
                let state = self.replica.held().filter(|_| keeps);
                self.replica = Part::new(Follower::start(state));
            }
        }
        invariants::check(self)
    }

    fn leader_mut(&mut self, seat: Seat) -> &mut Leader {
        match &mut self.leaders[usize::from(seat)] {
            Some(leader) => leader.change(),
            None => unreachable!("the action is not possible in this state"),
        }
    }

    fn start_leader(&mut self) {
        let leader = Leader::start(self.log.change(), self.config.ring_frames);
        let seat = usize::from(self.leaders[0].is_some());
        self.leaders[seat] = Some(Part::new(leader));
    }

    /// The leader's process is gone, and with it what it had not sent.
    fn end_leader(&mut self, seat: Seat) {
        if self.serving() == Some(seat) {
            self.stream().subscription = None;
        }
        self.leaders[usize::from(seat)] = None;
        if seat == 0 {
            self.leaders.swap(0, 1);
        }
    }

    fn answer(&mut self, seat: Seat, answers: Answers) -> Result<(), BrokenPromise> {
        for (attempt, answer) in answers {
            if let Some(leader) = self.leader(seat) {
                invariants::check_answer(&self.log, leader, &answer)?;
            }
            if self.client.awaits() == Some(attempt) {
                self.client.change().answer(attempt, answer);
            }
        }
        Ok(())
    }

    // The client.

    fn send(&mut self) {
        let next = self.next_operation();
        let tail = self.newest().map(|(_, leader)| leader.published().position().index);
        // No leader keeps it for an earlier attempt.
        let attempt = (0..).find(|attempt| self.running().all(|(_, leader)| !leader.answers(*attempt)));
        let client = self.client.change();
        if !client.is_pending()
            && let Some((operation, follows)) = next
        {
            client.begin(operation, tail.filter(|_| follows));
        }
        client.send(attempt.unwrap_or_default());
    }

    fn settle(&mut self, step: Option<Step>, seen: &mut Sights) -> Result<(), BrokenPromise> {
        let Some(step) = step else { return Ok(()) };
        let client: &mut Client = self.client.change();
        let number = client.begun() - 1;
        let given_up = (0..number).rev().find(|earlier| matches!(client.fate(*earlier), Fate::Open { .. }));
        match step {
            Step::Again { abandoned_at: Some(index), .. } => {
                seen.note(Sight::AbandonedFound);
                let event = self.log.events().find(|event| event.index == index);
                let (Some(earlier), Some(event)) = (given_up, event) else {
                    return Err(invariants::abandoned_is_elsewhere(index));
                };
                client.set_fate(earlier, Fate::Done(event));
            }
            Step::Again { .. } => {}
            Step::Settled(Settled::Done { event, abandoned }) => {
                seen.note(Sight::Done);
                invariants::check_order(client, event)?;
                client.set_fate(number, Fate::Done(event));
                if let (Some(_), Some(earlier)) = (abandoned, given_up) {
                    seen.note(Sight::AbandonedShutOut);
                    client.set_fate(earlier, Fate::NotDone);
                }
            }
            Step::Settled(Settled::Refused(_)) => {
                seen.note(Sight::Refused);
                client.set_fate(number, Fate::NotDone);
            }
            Step::Settled(Settled::RefusedForNow(_)) => seen.note(Sight::RefusedForNow),
            Step::Settled(Settled::NotKnown(_)) => seen.note(Sight::NotKnown),
        }
        Ok(())
    }

    // The replica and its stream.

    fn stream(&mut self) -> &mut Stream {
        match &mut self.stream {
            Some(stream) => stream.change(),
            None => unreachable!("the action is not possible in this state"),
        }
    }

    fn connect(&mut self, seat: Seat, seen: &mut Sights) -> Result<(), BrokenPromise> {
        let before = self.replica.held();
        let reaction = self.replica.change().handle_timeout();
        let Some(subscribe) = reaction.connects else { return Ok(()) };
        self.take(&reaction, before, seen)?;
        let log = self.log.clone();
        let leader = self.leader_mut(seat);
        let (frames, subscription) = leader.subscribe(subscribe.resume, &log);
        self.stream = Some(Part::new(Stream::new(leader.term(), frames, subscription)));
        Ok(())
    }

    fn push(&mut self) -> Result<(), BrokenPromise> {
        let Some(seat) = self.serving() else { return Ok(()) };
        let (Some(stream), Some(leader)) = (&mut self.stream, &mut self.leaders[usize::from(seat)]) else {
            return Ok(());
        };
        let (stream, leader) = (stream.change(), leader.change());
        let Some(subscription) = &mut stream.subscription else { return Ok(()) };
        if let Some(frame) = leader.send(subscription, &self.log) {
            if matches!(*frame, Frame::Goodbye(_)) {
                invariants::check_goodbye(leader, subscription)?;
                stream.subscription = None;
            }
            stream.frames.push_back(frame);
        }
        Ok(())
    }

    fn deliver(&mut self, frame: &Frame, seen: &mut Sights) -> Result<(), BrokenPromise> {
        self.replica_does(seen, |replica| replica.handle_frame(frame.clone()))
    }

    fn replica_does(
        &mut self,
        seen: &mut Sights,
        does: impl FnOnce(&mut Follower) -> Reaction,
    ) -> Result<(), BrokenPromise> {
        let before = self.replica.held();
        let reaction = does(self.replica.change());
        let disconnects = reaction.disconnects;
        self.take(&reaction, before, seen)?;
        if disconnects || self.replica_pauses() {
            self.stream = None;
        }
        Ok(())
    }

    fn take(
        &mut self,
        reaction: &Reaction,
        before: Option<engine::Snapshot>,
        seen: &mut Sights,
    ) -> Result<(), BrokenPromise> {
        for notice in &reaction.notices {
            seen.note_notice(notice);
            invariants::check_notice(self, notice)?;
            match notice {
                Notice::Welcomed(welcome) => self.replica.change().welcomed = welcome.term,
                Notice::SnapshotLoaded { .. } if self.replica.has_resumed() => seen.note(Sight::Overtaken),
                _ => {}
            }
        }
        if let Some(held) = self.replica.held().filter(|held| before != Some(*held)) {
            invariants::check_progress(self, held)?;
            self.replica.change().newest_held = held.position().index;
        }
        Ok(())
    }
}
