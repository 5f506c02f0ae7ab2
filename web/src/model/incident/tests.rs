//! What is told when a real replica meets a small leader through an injector.

use std::collections::VecDeque;

use engine::frame::SnapshotFrame;
use engine::leader::{LogView, Sequencer};
use engine::replica::{Action, State};
use engine::{
    Digest, Durability, Frame, Goodbye, Heartbeat, Injector, LinkFault, Moment, Position, Replica, Standing, StreamId,
    Subscribe, Timestamp, Welcome,
};

use super::*;
use crate::format::TimeOfDay;
use crate::model::Model;
use crate::model::incidents::CAPACITY;
use crate::model::telling::{HOLD, PACE, QUICK_PACE};

use Operation::{Add, Divide, Multiply, PowerOfTwo, SquareRoot, Subtract};

const LOG: LogId = LogId(0xabcd);
const SECOND: Duration = Duration::from_secs(1);

/// How long a frame is on its way.
const LATENCY: Duration = Duration::from_millis(10);

/// The log of these tests: it begins at #1,963 and has these events by then.
const BEGINNING: [Operation; 6] = [Subtract(1), PowerOfTwo, Divide(79), Multiply(6), SquareRoot, Add(45)];

/// A leader, a replica, the injector between them, and the model that watches.
struct World {
    sequencer: Sequencer,
    term: Term,
    floor: Index,
    history: Vec<Batch>,
    injector: Injector,
    replica: Replica,
    model: Model,
    now: Moment,
    /// Frames that the leader sent on the open stream.
    stream: Option<VecDeque<Frame>>,
    frozen: bool,
    /// Whether the leader answers.
    leads: bool,
    /// Whether only a heartbeat follows on a new stream.
    damaged: bool,
}

impl World {
    /// A world in which the page is live at #1,969.
    fn new() -> Self {
        let digest = Position::origin(LOG).digest;
        let start = Snapshot::take(LOG, Position { index: Index(1_963), digest }, 5_000);
        let mut world = Self {
            sequencer: Sequencer::new(Term(4), start, []),
            term: Term(4),
            floor: Index(1_963),
            history: Vec::new(),
            injector: Injector::default(),
            replica: Replica::new(7),
            model: Model::new("1a2b".to_owned(), "browser-1a2b".to_owned(), None),
            now: Moment(100 * SECOND),
            stream: None,
            frozen: false,
            leads: true,
            damaged: false,
        };
        world.until_live();
        for operation in BEGINNING {
            world.commit(&[operation]);
        }
        assert_eq!(world.replica.position().index, Index(1_969));
        assert_eq!(world.model.incidents().count(), 0, "the beginning is no incident");
        world
    }

    fn now(&self) -> Now {
        let seconds = u32::try_from(self.now.0.as_secs()).unwrap();
        Now { at: self.now, time: TimeOfDay(12 * 3_600 + seconds) }
    }

    fn leader_time(&self) -> Timestamp {
        Timestamp(u64::try_from(self.now.0.as_micros()).unwrap())
    }

    // The leader.

    fn send(&mut self, frame: Frame) {
        if let Some(stream) = &mut self.stream {
            stream.push_back(frame);
        }
        self.deliver();
    }

    fn commit(&mut self, operations: &[Operation]) {
        for &operation in operations {
            self.sequencer.propose(operation).unwrap();
        }
        let batch = self.sequencer.seal(self.leader_time()).unwrap();
        self.sequencer.commit();
        self.history.push(batch.clone());
        self.wait(LATENCY);
        self.send(Frame::Batch(batch));
    }

    fn heartbeat(&mut self) {
        let tail = self.sequencer.committed().position().index;
        let leader_time = self.leader_time();
        self.send(Frame::Heartbeat(Heartbeat { term: self.term, tail, floor: self.floor, leader_time }));
    }

    /// Another process leads the same log.
    fn restart(&mut self) {
        self.term = Term(self.term.0 + 1);
        self.sequencer = Sequencer::new(self.term, self.sequencer.committed(), []);
        self.lose_link();
    }

    /// The leader starts from nothing.
    fn start_new_log(&mut self) {
        let log = LogId(0xbeef);
        self.sequencer = Sequencer::new(self.term, Snapshot::take(log, Position::origin(log), 0), []);
        self.history.clear();
        self.floor = Index::ZERO;
        self.lose_link();
    }

    fn subscribe(&mut self, request: Subscribe) {
        self.now = self.now.plus(LATENCY);
        if self.injector.is_down() || !self.leads {
            self.model.handle_link_failure("no answer".to_owned());
            self.replica.handle_closed(self.now);
            return;
        }
        let committed = self.sequencer.committed();
        let view = LogView { log: committed.log(), term: self.term, tail: committed.position(), floor: self.floor };
        let ends = self.history.iter().map(Batch::end).chain([view.tail]);
        let known = request.resume.and_then(|resume| {
            let mut ends = ends.clone();
            ends.find(|end| end.index == resume.position.index).map(|end| end.digest)
        });
        let verdict = view.verdict(request.resume, known.into());
        self.injector.begin_stream();
        self.stream = Some(VecDeque::from([Frame::Welcome(Welcome {
            log: view.log,
            term: view.term,
            tail: view.tail.index,
            floor: view.floor,
            heartbeat_interval: SECOND,
            durability: Durability::Memory,
            leader_time: self.leader_time(),
            verdict,
            damaged: self.damaged,
            stream: StreamId(1),
        })]));
        let missing: Vec<Frame> = match (verdict, request.resume) {
            (Verdict::Resumed, Some(resume)) => {
                let after = |batch: &&Batch| batch.first() > resume.position.index;
                self.history.iter().filter(after).cloned().map(Frame::Batch).collect()
            }
            _ => vec![Frame::Snapshot(SnapshotFrame { term: self.term, snapshot: committed })],
        };
        self.stream.iter_mut().for_each(|stream| stream.extend(missing.iter().cloned()));
        self.now = self.now.plus(LATENCY);
        self.deliver();
    }

    // The page.

    fn deliver(&mut self) {
        while !self.frozen
            && let Some(frame) = self.stream.as_mut().and_then(VecDeque::pop_front)
        {
            self.injector.handle_frame(frame);
            self.pass_struck();
            while let Some(frame) = self.injector.poll_frame() {
                self.replica.handle_frame(frame, self.now);
                self.settle();
            }
        }
        if self.injector.is_cut() {
            self.lose_link();
        }
    }

    fn lose_link(&mut self) {
        if self.stream.take().is_some() {
            self.replica.handle_closed(self.now);
            self.settle();
        }
    }

    fn pass_struck(&mut self) {
        while let Some(struck) = self.injector.poll_struck() {
            self.model.handle_struck(&struck, self.now());
        }
    }

    fn settle(&mut self) {
        loop {
            self.pass_struck();
            while let Some(notice) = self.replica.poll_notice() {
                self.model.handle_notice(&notice, &self.replica, self.now());
            }
            match self.replica.poll_action() {
                Some(Action::Disconnect) => self.stream = None,
                Some(Action::Connect(request)) => self.subscribe(request),
                None => break,
            }
        }
    }

    /// Time passes.
    fn wait(&mut self, time: Duration) {
        let until = self.now.plus(time);
        while !self.frozen && self.replica.poll_timeout() <= until {
            self.now = self.now.max(self.replica.poll_timeout());
            self.replica.handle_timeout(self.now);
            self.settle();
        }
        self.now = self.now.max(until);
    }

    /// Time passes for the person who watches; the stream goes on as if none did.
    fn watch(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    fn until_live(&mut self) {
        while self.replica.state() != State::Live {
            self.wait(Duration::from_millis(1));
        }
    }

    /// The network loses an event.
    fn lose_by_itself(&mut self) {
        let stream = self.stream.take();
        self.commit(&[Divide(11)]);
        self.stream = stream;
        self.commit(&[Multiply(100)]);
        self.until_live();
    }

    fn inject(&mut self, fault: LinkFault) -> &mut Self {
        self.injector.inject(fault);
        self
    }

    fn take_down(&mut self) {
        self.injector.take_down();
        self.deliver();
    }

    fn bring_up(&mut self) {
        self.injector.bring_up();
        self.pass_struck();
    }

    fn freeze(&mut self) {
        self.frozen = true;
        self.model.handle_frozen(self.now());
    }

    fn thaw(&mut self) {
        self.frozen = false;
        self.model.handle_thawed(self.now());
        self.deliver();
    }

    fn forget(&mut self) {
        self.stream = None;
        self.model.handle_forgotten(self.now());
        self.replica = Replica::new(8);
    }

    // What is seen.

    fn newest(&self) -> &Incident {
        self.model.incidents().next().unwrap()
    }

    /// The newest incident: its kind, its line, and each step with its strip, a letter for an event.
    fn shown(&self) -> String {
        let letter = |cell: &Cell| match cell.mark {
            Mark::Ahead => '.',
            Mark::Applied => '#',
            Mark::Missing => 'o',
            Mark::Waiting => 'w',
            Mark::Repeated => '2',
            Mark::Altered => '!',
            Mark::Dropped => 'x',
            Mark::Asked => '?',
            Mark::Healed => '+',
            Mark::Snapshot => 's',
        };
        let incident = self.newest();
        let mut shown = format!("{} at {}: {}\n", incident.kind(), index(incident.index()), incident.line());
        for step in incident.steps() {
            let strip: String = step.cells.iter().map(letter).collect();
            shown += &format!("{strip} {}: {}\n", step.title, step.text);
        }
        shown
    }
}

/// Compares what is shown with `expected`, which begins on its second line and is indented.
fn check(world: &World, expected: &str) {
    let lines: Vec<&str> = expected.lines().map(str::trim_start).skip(1).collect();
    assert_eq!(world.shown().trim_end(), lines.join("\n"));
}

#[test]
fn a_lost_event_is_told() {
    let mut world = World::new();
    world.inject(LinkFault::Lose).commit(&[Divide(11)]);
    world.wait(Duration::from_millis(250));
    world.commit(&[Multiply(100)]);
    world.until_live();
    check(
        &world,
        "
         lost at #1,970: gap: #1,970 lost here · resumed from #1,969, 2 events, no snapshot
         ######o..... One is missing: #1,970 (÷ 11) never arrived.
         ######ow.... A gap: Next came #1,971 (× 100), but #1,970 has to come first. Nothing was applied.
         ######??.... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######++.... Healed: 2 events came, and the digests match. 87 ms in truth, no snapshot.",
    );
    assert!(world.newest().is_injected() && !world.newest().took_snapshot());
    assert_eq!(world.newest().tone(), Tone::Good);
}

#[test]
fn a_lost_batch_that_a_heartbeat_shows_is_told() {
    let mut world = World::new();
    world.inject(LinkFault::Lose).commit(&[Divide(11), Add(1)]);
    world.heartbeat();
    world.until_live();
    check(
        &world,
        "
         lost at #1,970: gap: #1,970 to #1,971 lost here · resumed from #1,969, 2 events, no snapshot
         ######oo.... Some are missing: #1,970 to #1,971 (2 events) never arrived.
         ######oo.... A gap: A heartbeat says that the log ends at #1,971, but #1,970 is not here.
         ######??.... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######++.... Healed: 2 events came, and the digests match. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn a_repeated_event_is_told() {
    let mut world = World::new();
    world.inject(LinkFault::Repeat).commit(&[Divide(11)]);
    check(
        &world,
        "
         repeated at #1,970: repeat: #1,970 came twice, ignored
         ######2..... One came twice: #1,970 (÷ 11) arrived a second time.
         ######2..... Seen before: #1,970 came again. Applied already, so ignored: nothing changed, nothing was asked.",
    );
}

#[test]
fn exchanged_events_are_told() {
    let mut world = World::new();
    world.inject(LinkFault::Exchange).commit(&[Divide(11)]);
    world.commit(&[Multiply(100)]);
    world.until_live();
    check(
        &world,
        "
         exchanged at #1,970: exchange: #1,971 came before #1,970 · resumed from #1,969, 2 events, no snapshot
         ######ow.... Two swapped places: #1,971 (× 100) overtook #1,970 (÷ 11) on the way.
         ######ow.... A gap: Next came #1,971 (× 100), but #1,970 has to come first. Nothing was applied.
         ######??.... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######++.... Healed: 2 events came, and the digests match. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn an_event_that_is_held_back_while_a_heartbeat_passes_is_told() {
    let mut world = World::new();
    world.inject(LinkFault::Exchange).commit(&[Divide(11)]);
    // The first one is left out.
    world.heartbeat();
    world.heartbeat();
    world.until_live();
    check(
        &world,
        "
         exchanged at #1,970: exchange: #1,970 held back here · resumed from #1,969, 1 event, no snapshot
         ######o..... Two swapped places: #1,970 (÷ 11) was held back on the way.
         ######o..... A gap: A heartbeat says that the log ends at #1,970, which is not here.
         ######?..... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######+..... Healed: 1 event came, and the digest matches. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn an_altered_event_is_told() {
    let mut world = World::new();
    world.inject(LinkFault::Alter).commit(&[Divide(11), Add(7)]);
    world.until_live();
    check(
        &world,
        "
         altered at #1,970: divergence: #1,970 altered here, ÷ 11 to + 1 · snapshot at #1,971 (diverged)
         ######!w.... One was altered: The leader sent ÷ 11 as #1,970; + 1 arrived.
         xxxxxx!..... A divergence: At #1,971 the digest is f249…e4d9 here and 67d4…192d at the leader. So this page drops what it holds.
         xxxxxx...... Asked afresh: “I hold nothing.” The leader sends its value: a snapshot.
         ssssssss.... Healed: The value at #1,971 came, and all checks match. 87 ms in truth, with a snapshot.",
    );
    assert!(world.newest().took_snapshot());
    let operations = |step: usize| world.newest().steps()[step].cells[6].operation;
    assert_eq!((operations(0), operations(3)), (Some(Add(1)), Some(Divide(11))), "as it arrived, then as it is");
}

#[test]
fn an_altered_event_that_cannot_be_applied_is_told() {
    let mut world = World::new();
    world.commit(&[Multiply(0), Add(i64::MAX)]);
    world.inject(LinkFault::Alter).commit(&[Divide(11)]);
    world.until_live();
    check(
        &world,
        "
         altered at #1,972: divergence: #1,972 altered here, ÷ 11 to + 1 · snapshot at #1,972 (diverged)
         ######!..... One was altered: The leader sent ÷ 11 as #1,972; + 1 arrived.
         xxxxxx!..... A divergence: It cannot be applied: 9223372036854775807 + 1 overflows: the result lies outside −2^63 to 2^63 − 1. So this page drops what it holds.
         xxxxxx...... Asked afresh: “I hold nothing.” The leader sends its value: a snapshot.
         sssssss..... Healed: The value at #1,972 came, and all checks match. 87 ms in truth, with a snapshot.",
    );
}

#[test]
fn a_cut_link_is_told_while_it_is_down_and_when_it_is_up() {
    let mut world = World::new();
    world.take_down();
    check(
        &world,
        "
         cut at #1,970: cut: no link after #1,969 · not healed yet
         ######...... The link is cut: This page holds #1,969. Nothing after it can arrive.
         ######...... No link: The leader goes on without this page. This page tries to reach the leader again.",
    );
    for n in 0..5 {
        world.wait(SECOND);
        world.commit(&[Add(n)]);
    }
    check(
        &world,
        "
         cut at #1,970: cut: no link after #1,969 · not healed yet
         ######...... The link is cut: This page holds #1,969. Nothing after it can arrive.
         ######...... No link: The leader goes on without this page. 7 attempts to reach the leader failed.",
    );
    world.bring_up();
    world.until_live();
    check(
        &world,
        "
         cut at #1,970: cut: no link for 5.0 s after #1,969 · resumed from #1,969, 5 events, no snapshot
         ######...... The link is cut: This page holds #1,969. Nothing after it can arrive.
         ######ooooo. No link: The leader goes on without this page. 7 attempts to reach the leader failed.
         ######?????. Asked again: The link was down for 5.0 s. “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######+++++. Healed: 5 events came, and the digests match. 2.6 s after the link was back, no snapshot.",
    );
}

#[test]
fn a_stream_that_is_cut_before_an_event_is_told() {
    let mut world = World::new();
    world.inject(LinkFault::Cut).commit(&[Divide(11)]);
    world.until_live();
    check(
        &world,
        "
         cut at #1,970: cut: no link after #1,969 · resumed from #1,969, 1 event, no snapshot
         ######...... The link is cut: This page holds #1,969. Nothing after it can arrive.
         ######o..... No link: The leader goes on without this page. This page tries to reach the leader again.
         ######?..... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######+..... Healed: 1 event came, and the digest matches. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn a_frozen_tab_is_told() {
    let mut world = World::new();
    world.freeze();
    for n in 0..5 {
        world.wait(SECOND);
        world.commit(&[Add(n)]);
    }
    world.thaw();
    assert!(world.newest().healed().is_none(), "more may wait");
    world.wait(SECOND);
    world.commit(&[Add(5)]);
    check(
        &world,
        "
         frozen at #1,970: frozen for 5.0 s after #1,969 · 5 events had waited, no snapshot
         ######...... The tab is frozen: This tab reads nothing after #1,969. What the leader sends waits in the browser.
         ######wwwww. It reads again: After 5.0 s, it goes on from #1,969.
         ######+++++. Healed: 5 events had waited, and the digests match. Read in < 1 ms; nothing had to be asked again.",
    );
    assert_eq!(world.newest().took(), Some(Duration::ZERO), "what had waited was read at once");
}

#[test]
fn a_frozen_tab_in_which_nothing_waited_is_healed_when_the_leader_says_so() {
    let mut world = World::new();
    world.freeze();
    world.wait(SECOND);
    world.thaw();
    assert!(world.newest().healed().is_none());
    let answer =
        engine::replica::Answer { log: LOG, term: Term(4), tail: Index(1_969), leader_time: world.leader_time() };
    world.replica.handle_report_answer(answer, world.now, world.now);
    world.settle();
    check(
        &world,
        "
         frozen at #1,970: frozen for 1.0 s after #1,969 · 0 events had waited, no snapshot
         ######...... The tab is frozen: This tab reads nothing after #1,969. What the leader sends waits in the browser.
         ######...... It reads again: After 1.0 s, it goes on from #1,969.
         ######...... Healed: Nothing had waited, and nothing had to be asked again.",
    );
}

#[test]
fn a_tab_whose_link_broke_while_it_was_frozen_is_told() {
    let mut world = World::new();
    world.freeze();
    world.wait(10 * SECOND);
    world.commit(&[Add(1)]);
    world.stream.as_mut().unwrap().clear();
    world.thaw();
    world.wait(Duration::from_millis(1));
    world.until_live();
    check(
        &world,
        "
         frozen at #1,970: frozen for 10.0 s after #1,969 · resumed from #1,969, 1 event, no snapshot
         ######...... The tab is frozen: This tab reads nothing after #1,969. What the leader sends waits in the browser.
         ######w..... It reads again: After 10.0 s, it goes on from #1,969.
         ######o..... The leader is silent: Not a byte came for 10.0 s. So the link is dead: this page drops it.
         ######?..... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######+..... Healed: 1 event came, and the digest matches. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn a_forgotten_state_is_told() {
    let mut world = World::new();
    world.forget();
    world.forget();
    assert_eq!(world.model.incidents().count(), 1, "the second time there is nothing to forget");
    assert_eq!((world.model.held(), world.model.chain().links().len()), (None, 0));
    world.wait(Duration::from_millis(1));
    world.until_live();
    check(
        &world,
        "
         forgotten at #1,970: forgotten: everything up to #1,969 · snapshot at #1,969 (fresh)
         xxxxxx...... All is forgotten: Value, index and digest are gone. The last event that this page held was #1,969.
         xxxxxx...... Asked afresh: “I hold nothing.” The leader sends its value: a snapshot.
         ssssss...... Healed: The value at #1,969 came, and all checks match. 20 ms in truth, with a snapshot.",
    );
    assert_eq!(world.model.held(), Some(world.sequencer.committed()));
}

// What happens by itself.

#[test]
fn a_gap_that_nobody_made_is_told() {
    let mut world = World::new();
    world.lose_by_itself();
    check(
        &world,
        "
         gap at #1,970: gap: #1,970 did not arrive · resumed from #1,969, 2 events, no snapshot
         ######ow.... A gap: Next came #1,971 (× 100), but #1,970 has to come first. Nothing was applied.
         ######??.... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######++.... Healed: 2 events came, and the digests match. 87 ms in truth, no snapshot.",
    );
    assert!(!world.newest().is_injected());
}

#[test]
fn an_event_that_the_network_repeats_is_told() {
    let mut world = World::new();
    let newest = world.history.last().unwrap().clone();
    world.send(Frame::Batch(newest));
    check(
        &world,
        "
         duplicate at #1,969: repeat: #1,969 came twice, ignored
         ######2..... Seen before: #1,969 came again. Applied already, so ignored: nothing changed, nothing was asked.",
    );
}

#[test]
fn what_goes_wrong_again_and_again_is_one_incident() {
    let mut world = World::new();
    let newest = world.history.last().unwrap().clone();
    for _ in 0..5 {
        world.send(Frame::Batch(newest.clone()));
    }
    assert_eq!(world.model.incidents().count(), 1);
    world.watch(10 * SECOND);
    world.send(Frame::Batch(newest));
    assert_eq!(world.model.incidents().count(), 2, "later it is worth another telling");

    world.term = Term(3);
    world.heartbeat();
    world.wait(2 * SECOND);
    world.term = Term(4);
    world.until_live();
    let stale = world.model.incidents().filter(|incident| incident.kind() == "stale_leader");
    assert_eq!(stale.map(|incident| incident.healed().is_some()).collect::<Vec<_>>(), [true]);
}

#[test]
fn a_divergence_that_nobody_made_is_told() {
    let mut world = World::new();
    let first = Index(1_970);
    let wrong = Batch::new(Term(4), first, vec![Add(1)], Digest(0x1234), world.leader_time()).unwrap();
    world.send(Frame::Batch(wrong));
    world.until_live();
    check(
        &world,
        "
         diverged at #1,970: divergence after #1,969 · snapshot at #1,969 (diverged)
         xxxxxx...... A divergence: At #1,970 the digest is 57aa…10ae here and 0000…1234 at the leader. So this page drops what it holds.
         xxxxxx...... Asked afresh: “I hold nothing.” The leader sends its value: a snapshot.
         ssssss...... Healed: The value at #1,969 came, and all checks match. 87 ms in truth, with a snapshot.",
    );
}

#[test]
fn a_leader_that_restarts_is_told() {
    let mut world = World::new();
    world.leads = false;
    world.model.handle_link_failure("connection refused".to_owned());
    world.restart();
    world.wait(2 * SECOND);
    world.leads = true;
    world.until_live();
    check(
        &world,
        "
         link_lost at #1,970: link lost after #1,969 · term 5 · resumed from #1,969, no snapshot
         ######...... The link is lost: The stream broke after #1,969 (connection refused). 5 attempts to reach the leader failed.
         ######...... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume. It leads in term 5; before, it was term 4.
         ######...... Healed: Nothing was missing. 2.1 s in truth, no snapshot.",
    );
    assert_eq!(world.newest().new_term(), Some((Term(4), Term(5))));
}

#[test]
fn a_new_log_is_told() {
    let mut world = World::new();
    world.start_new_log();
    world.until_live();
    check(
        &world,
        "
         link_lost at #1,970: link lost after #1,969 · new log · snapshot at #0 (other log)
         ######...... The link is lost: The stream broke after #1,969. This page tries to reach the leader again.
         xxxxxx...... Asked again: “I hold #1,969 with digest b01e…c562.” The leader has begun a new log: a snapshot.
         xxxxxx...... Healed: The value at #0 came, and all checks match. 87 ms in truth, with a snapshot.",
    );
    assert!(world.newest().has_new_log());
    let (old, new) = (world.newest().place(LOG), world.newest().place(LogId(0xbeef)));
    assert_eq!((old, new), (Some(Index(1_970)), Some(Index::ZERO)));
}

#[test]
fn a_goodbye_is_told() {
    let mut world = World::new();
    let reason = GoodbyeReason::ShuttingDown;
    world.send(Frame::Goodbye(Goodbye { reason, retry_after: SECOND }));
    world.until_live();
    check(
        &world,
        "
         goodbye at #1,970: goodbye after #1,969: it is shutting down · resumed from #1,969, no snapshot
         ######...... The leader leaves: The leader ended the stream after #1,969: it is shutting down. This page tries again.
         ######...... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######...... Healed: Nothing was missing. 1.0 s in truth, no snapshot.",
    );
}

#[test]
fn a_silent_leader_is_told() {
    let mut world = World::new();
    world.wait(3 * SECOND);
    world.until_live();
    check(
        &world,
        "
         silent at #1,970: silence of 3.0 s after #1,969 · resumed from #1,969, no snapshot
         ######...... The leader is silent: Not a byte came for 3.0 s. So the link is dead: this page drops it.
         ######...... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######...... Healed: Nothing was missing. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn a_stale_leader_is_told() {
    let mut world = World::new();
    world.term = Term(3);
    world.heartbeat();
    world.term = Term(4);
    world.until_live();
    check(
        &world,
        "
         stale_leader at #1,970: stale leader: term 3 after term 4 · resumed from #1,969, no snapshot
         ######...... A stale leader: A leader of term 3 answered, but term 4 was already seen. Nothing of it is applied.
         ######...... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######...... Healed: Nothing was missing. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn a_stream_against_the_rules_is_told() {
    let mut world = World::new();
    let elsewhere = Snapshot::take(LogId(1), Position::origin(LogId(1)), 0);
    world.send(Frame::Snapshot(SnapshotFrame { term: Term(4), snapshot: elsewhere }));
    world.until_live();
    check(
        &world,
        "
         violation at #1,970: rules of the stream broken after #1,969 · resumed from #1,969, no snapshot
         ######...... Against the rules: The snapshot is of log 00000000000000000000000000000001, not of the log that the welcome named.
         ######...... Asked again: “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######...... Healed: Nothing was missing. 87 ms in truth, no snapshot.",
    );
}

#[test]
fn a_snapshot_that_overtakes_a_live_page_is_told() {
    let mut world = World::new();
    let stream = world.stream.take();
    world.commit(&[Add(1), Add(2), Add(3)]);
    world.stream = stream;
    let snapshot = world.sequencer.committed();
    world.send(Frame::Snapshot(SnapshotFrame { term: Term(4), snapshot }));
    check(
        &world,
        "
         overtaken at #1,970: too far behind at #1,969: snapshot at #1,972
         sssssssss... Too far behind: The leader no longer keeps what follows #1,969. It sent the value at #1,972 instead: a snapshot.",
    );
    assert!(world.newest().took_snapshot());
}

/// A page whose link is cut while the leader compacts what the page lacks.
fn compacted(damaged: bool) -> World {
    let mut world = World::new();
    world.damaged = damaged;
    world.take_down();
    world.commit(&[Add(1), Add(2), Add(3)]);
    world.floor = Index(1_972);
    world.bring_up();
    world.until_live();
    world
}

#[test]
fn history_that_is_gone_when_the_link_is_back_is_told() {
    let world = compacted(false);
    check(
        &world,
        "
         cut at #1,970: cut: no link for 10 ms after #1,969 · snapshot at #1,972 (compacted)
         ######...... The link is cut: This page holds #1,969. Nothing after it can arrive.
         ######ooo... No link: The leader goes on without this page. This page tries to reach the leader again.
         ######???... Asked again: The link was down for 10 ms. “I hold #1,969 with digest b01e…c562.” The leader no longer keeps what follows: a snapshot.
         sssssssss... Healed: The value at #1,972 came, and all checks match. 77 ms after the link was back, with a snapshot.",
    );
}

#[test]
fn history_that_is_damaged_when_the_link_is_back_is_told() {
    let world = compacted(true);
    check(
        &world,
        "
         cut at #1,970: cut: no link for 10 ms after #1,969 · snapshot at #1,972 (compacted)
         ######...... The link is cut: This page holds #1,969. Nothing after it can arrive.
         ######ooo... No link: The leader goes on without this page. This page tries to reach the leader again.
         ######???... Asked again: The link was down for 10 ms. “I hold #1,969 with digest b01e…c562.” What follows is damaged in the leader’s storage: a snapshot.
         sssssssss... Healed: The value at #1,972 came, and all checks match. 77 ms after the link was back, with a snapshot.",
    );
}

#[test]
fn a_judgement_of_the_leader_is_told_until_it_is_another() {
    let mut world = World::new();
    let held = world.replica.snapshot().unwrap();
    let at = Resume { log: LOG, position: held.position() };
    world.model.handle_standing(Standing::Diverged, at, world.now());
    world.model.handle_standing(Standing::Diverged, at, world.now());
    assert_eq!(world.model.incidents().count(), 1);
    check(
        &world,
        "
         judged at #1,970: the leader disagreed at #1,969 · not healed yet
         ######...... The leader disagrees: The leader says that this tab holds something else at #1,969.",
    );
    world.model.handle_standing(Standing::InStep, at, world.now());
    assert!(world.newest().healed().is_some());
}

#[test]
fn the_first_connection_is_no_incident() {
    let mut world = World::new();
    world.model = Model::new("1a2b".to_owned(), "browser-1a2b".to_owned(), None);
    world.leads = false;
    world.lose_link();
    world.wait(SECOND);
    assert_eq!(world.model.incidents().count(), 0);
}

#[test]
fn a_fault_during_another_one_is_healed_with_it() {
    let mut world = World::new();
    world.inject(LinkFault::Lose).commit(&[Divide(11)]);
    world.take_down();
    world.wait(SECOND);
    world.bring_up();
    world.until_live();
    check(
        &world,
        "
         cut at #1,970: cut: no link for 1.0 s after #1,969 · resumed from #1,969, 1 event, no snapshot
         ######...... The link is cut: This page holds #1,969. Nothing after it can arrive.
         ######o..... No link: The leader goes on without this page. 4 attempts to reach the leader failed.
         ######?..... Asked again: The link was down for 1.0 s. “I hold #1,969 with digest b01e…c562.” The leader agrees: resume.
         ######+..... Healed: 1 event came, and the digest matches. 399 ms after the link was back, no snapshot.",
    );
    let kinds: Vec<_> =
        world.model.incidents().map(|incident| (incident.kind(), incident.healed().is_some())).collect();
    assert_eq!(kinds, [("cut", true), ("lost", true)]);
}

#[test]
fn a_stream_that_breaks_while_a_gap_heals_is_no_incident_of_its_own() {
    let mut world = World::new();
    world.inject(LinkFault::Lose).commit(&[Divide(11)]);
    world.leads = false;
    world.heartbeat();
    world.wait(SECOND);
    world.leads = true;
    world.until_live();
    assert_eq!(world.model.incidents().count(), 1);
    assert!(world.newest().attempts > 1);
}

#[test]
fn incidents_of_an_old_log_have_no_place_in_a_new_one() {
    let mut world = World::new();
    world.inject(LinkFault::Repeat).commit(&[Divide(11)]);
    let places = |world: &World| -> Vec<Index> { world.model.placed_incidents().map(|(index, _)| index).collect() };
    assert_eq!(places(&world), [Index(1_970)]);
    world.start_new_log();
    world.until_live();
    assert_eq!(places(&world), [Index::ZERO], "where the new log began");
}

#[test]
fn only_the_newest_incidents_are_kept() {
    let mut world = World::new();
    for n in 0..CAPACITY + 3 {
        world.inject(LinkFault::Repeat).commit(&[Add(i64::try_from(n).unwrap())]);
    }
    assert_eq!(world.model.incidents().count(), CAPACITY);
    assert_eq!(world.newest().index(), Index(1_969 + CAPACITY as u64 + 3));
}

// How it is told.

/// The step that is told, and of which incident.
fn step(world: &mut World) -> Option<(&'static str, usize)> {
    let now = world.now();
    world.model.telling(now).map(|telling| (telling.kind, telling.step))
}

#[test]
fn steps_are_told_slowly_and_then_the_telling_ends() {
    let mut world = World::new();
    assert_eq!(step(&mut world), None);
    world.inject(LinkFault::Lose).commit(&[Divide(11)]);
    world.heartbeat();
    world.until_live();
    // It is healed long before the second step is told.
    for expected in 0..4 {
        assert_eq!(step(&mut world), Some(("lost", expected)));
        world.watch(PACE);
    }
    world.watch(HOLD - PACE - Duration::from_millis(200));
    assert_eq!(step(&mut world), Some(("lost", 3)), "the last step stays for a while");
    world.watch(Duration::from_millis(200));
    assert_eq!(step(&mut world), None);

    let (id, now) = (world.newest().id(), world.now());
    world.model.replay(id, now);
    assert_eq!(step(&mut world), Some(("lost", 0)));
    world.watch(PACE);
    assert_eq!(step(&mut world), Some(("lost", 1)));
    let now = world.now();
    world.model.skip_telling(now);
    assert_eq!(step(&mut world), None);
}

#[test]
fn a_repeat_is_told_faster() {
    let mut world = World::new();
    world.inject(LinkFault::Repeat).commit(&[Divide(11)]);
    assert_eq!(step(&mut world), Some(("repeated", 0)));
    world.watch(QUICK_PACE);
    assert_eq!(step(&mut world), Some(("repeated", 1)));
}

#[test]
fn an_incident_that_is_not_healed_is_told_as_far_as_it_went() {
    let mut world = World::new();
    world.take_down();
    world.wait(20 * SECOND);
    assert_eq!(step(&mut world), Some(("cut", 1)));
    let now = world.now();
    let telling = world.model.telling(now).unwrap();
    assert!(!telling.healed && telling.now().text.contains("attempts"), "{telling:?}");
    world.bring_up();
    world.until_live();
    assert_eq!(step(&mut world), Some(("cut", 2)));
    world.wait(PACE);
    assert_eq!(step(&mut world), Some(("cut", 3)));
    let now = world.now();
    assert!(world.model.telling(now).unwrap().healed);
}

#[test]
fn incidents_wait_for_their_turn_and_what_is_too_much_is_counted() {
    let mut world = World::new();
    world.inject(LinkFault::Lose).commit(&[Divide(11)]);
    world.heartbeat();
    world.until_live();
    // Of seven that happen by themselves three wait.
    for _ in 0..7 {
        world.lose_by_itself();
    }
    let now = world.now();
    assert_eq!(world.model.telling(now).unwrap().more, 4);
    let mut told = Vec::new();
    for _ in 0..80 {
        let (kind, more) = {
            let now = world.now();
            world.model.telling(now).map_or(("", 0), |telling| (telling.kind, telling.more))
        };
        told.push((kind, more));
        world.watch(Duration::from_millis(500));
    }
    told.dedup();
    assert_eq!(told, [("lost", 4), ("gap", 4), ("", 0)]);

    // What the page does itself comes at once, and nothing after it.
    world.inject(LinkFault::Lose).commit(&[Divide(11)]);
    world.heartbeat();
    world.until_live();
    (0..7).for_each(|_| world.lose_by_itself());
    world.inject(LinkFault::Repeat).commit(&[Divide(11)]);
    let now = world.now();
    assert_eq!(world.model.telling(now).map(|telling| (telling.kind, telling.more)), Some(("repeated", 0)));
    world.watch(2 * QUICK_PACE + HOLD);
    assert_eq!(step(&mut world), None);
}

#[test]
fn a_log_that_grew_while_the_link_was_down_is_not_a_fast_one() {
    let mut world = World::new();
    let scale = |world: &mut World| {
        let now = world.now();
        world.model.strip(None, 12, now).scale
    };
    world.take_down();
    for _ in 0..20 {
        assert_eq!(scale(&mut world), 1);
        world.wait(SECOND / 5);
        world.commit(&[Add(1); 50]);
    }
    world.bring_up();
    world.until_live();
    for _ in 0..5 {
        assert_eq!(scale(&mut world), 1);
        world.wait(SECOND / 10);
    }
}
