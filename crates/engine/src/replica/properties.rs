//! Properties of a replica behind a link that does its worst.
//!
//! The world has a leader (a [`Sequencer`] and the history of what it committed), one link and one replica. An
//! adversary drops, repeats and reorders frames of any kind, lets an [`Injector`] fault batches and cut the link, brings
//! back old frames from any earlier stream, and starts the leader anew with an empty or a longer log. Whatever it does,
//! the replica may only hold what some leader had at that index; and once the link heals, replica and leader are equal.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::frame::SnapshotFrame;
use crate::leader::{LogView, Sequencer};
use crate::{Batch, Durability, Heartbeat, Injector, LinkFault, Operation, StreamId, Timestamp, Verdict};

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Operation>),
    Heartbeat,
    Deliver(u8),
    Drop,
    Duplicate,
    /// Exchanges the next frame with a later one.
    Reorder(u8),
    /// Brings back a frame that was sent at any time, perhaps on an earlier stream.
    Replay(u16),
    /// Faults the next batch.
    Inject(LinkFault),
    /// The link is taken down, or brought up.
    Down(bool),
    /// A new log, with this many events committed before the replica hears of it.
    NewLog(u8),
    /// The history up to the tail is compacted away.
    Compact,
    Wait(u16),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (-100..100_i64).prop_map(Operation::Add),
        (-100..100_i64).prop_map(Operation::Subtract),
        (-9..9_i64).prop_map(Operation::Multiply),
        (-9..9_i64).prop_map(Operation::Divide),
        Just(Operation::SquareRoot),
        Just(Operation::PowerOfTwo),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    use LinkFault::{Alter, Cut, Exchange, Lose, Repeat};
    prop_oneof![
        6 => prop::collection::vec(operation(), 1..5).prop_map(Step::Commit),
        2 => Just(Step::Heartbeat),
        8 => any::<u8>().prop_map(Step::Deliver),
        1 => Just(Step::Drop),
        1 => Just(Step::Duplicate),
        1 => any::<u8>().prop_map(Step::Reorder),
        2 => any::<u16>().prop_map(Step::Replay),
        3 => prop::sample::select(vec![Lose, Repeat, Exchange, Alter, Cut]).prop_map(Step::Inject),
        1 => any::<bool>().prop_map(Step::Down),
        1 => any::<u8>().prop_map(Step::NewLog),
        1 => Just(Step::Compact),
        2 => any::<u16>().prop_map(Step::Wait),
    ]
}

struct World {
    sequencer: Sequencer,
    history: Vec<Batch>,
    floor: Index,
    /// What each log ever held where: the truth that the replica is measured against.
    truth: BTreeMap<(LogId, Index), i64>,
    replica: Replica,
    now: Moment,
    /// Frames under way, while a stream is open.
    link: Option<VecDeque<Frame>>,
    /// The end of the link at the replica.
    injector: Injector,
    /// Every frame ever sent.
    sent: Vec<Frame>,
}

impl World {
    fn new(seed: u64) -> Self {
        let start = Snapshot::take(LogId(1), Position::origin(LogId(1)), 0);
        let truth = BTreeMap::from([((LogId(1), Index::ZERO), 0)]);
        Self {
            sequencer: Sequencer::new(Term(1), start, []),
            history: Vec::new(),
            floor: Index::ZERO,
            truth,
            replica: Replica::new(seed),
            now: Moment(Duration::from_secs(1)),
            link: None,
            injector: Injector::default(),
            sent: Vec::new(),
        }
    }

    fn leader_time(&self) -> Timestamp {
        Timestamp(u64::try_from(self.now.0.as_micros()).unwrap())
    }

    fn view(&self) -> LogView {
        let tail = self.sequencer.committed();
        LogView { log: tail.log(), term: Term(1), tail: tail.position(), floor: self.floor }
    }

    fn send(&mut self, frame: Frame) {
        self.sent.push(frame.clone());
        if let Some(link) = &mut self.link {
            link.push_back(frame);
        }
    }

    fn commit(&mut self, operations: &[Operation]) {
        for &operation in operations {
            if let Ok(event) = self.sequencer.propose(operation) {
                self.truth.insert((self.view().log, event.index), event.value);
            }
        }
        if let Some(batch) = self.sequencer.seal(self.leader_time()) {
            self.sequencer.commit();
            self.history.push(batch.clone());
            self.send(Frame::Batch(batch));
        }
    }

    fn heartbeat(&mut self) {
        let view = self.view();
        self.send(Frame::Heartbeat(Heartbeat {
            term: view.term,
            tail: view.tail.index,
            floor: view.floor,
            leader_time: self.leader_time(),
        }));
    }

    /// Answers a request as a leader does.
    fn subscribe(&mut self, request: Subscribe) {
        if self.injector.is_down() {
            return self.replica.handle_closed(self.now);
        }
        let view = self.view();
        let digest_there = request.resume.and_then(|resume| {
            let at = resume.position.index;
            let ends = self.history.iter().map(Batch::end).chain([Position::origin(view.log), view.tail]);
            ends.into_iter().find(|end| end.index == at).map(|end| end.digest)
        });
        let verdict = view.verdict(request.resume, digest_there.into());
        self.link = Some(VecDeque::new());
        self.injector.begin_stream();
        self.send(Frame::Welcome(Welcome {
            log: view.log,
            term: view.term,
            tail: view.tail.index,
            floor: view.floor,
            heartbeat_interval: Duration::from_secs(1),
            durability: Durability::Memory,
            leader_time: self.leader_time(),
            verdict,
            damaged: false,
            stream: StreamId(1),
        }));
        match (verdict, request.resume) {
            (Verdict::Resumed, Some(resume)) => {
                let missing = self.history.iter().filter(|batch| batch.first() > resume.position.index);
                for batch in missing.cloned().collect::<Vec<_>>() {
                    self.send(Frame::Batch(batch));
                }
            }
            _ => {
                let snapshot = self.sequencer.committed();
                self.send(Frame::Snapshot(SnapshotFrame { term: view.term, snapshot }));
            }
        }
    }

    /// Lets the replica act, and checks it.
    fn settle(&mut self) {
        while let Some(action) = self.replica.poll_action() {
            match action {
                Action::Disconnect => {
                    self.link = None;
                    self.injector.begin_stream();
                }
                Action::Connect(request) => self.subscribe(request),
            }
        }
        while self.replica.poll_notice().is_some() {}
        if let Some(held) = self.replica.snapshot() {
            let truth = self.truth.get(&(held.log(), held.position().index));
            assert_eq!(truth, Some(&held.value()), "the replica holds what no leader had: {held:?}");
        }
    }

    fn deliver(&mut self) {
        if let Some(frame) = self.link.as_mut().and_then(VecDeque::pop_front) {
            self.injector.handle_frame(frame);
        }
        while let Some(frame) = self.injector.poll_frame() {
            self.replica.handle_frame(frame, self.now);
            self.settle();
        }
        if self.injector.is_cut() {
            self.cut();
        }
        self.settle();
    }

    fn cut(&mut self) {
        self.injector.begin_stream();
        if self.link.take().is_some() {
            self.replica.handle_closed(self.now);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.replica.handle_timeout(self.now);
        self.settle();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit(operations) => self.commit(&operations),
            Step::Heartbeat => self.heartbeat(),
            Step::Deliver(count) => (0..count % 8).for_each(|_| self.deliver()),
            Step::Drop => {
                self.link.as_mut().and_then(VecDeque::pop_front);
            }
            Step::Duplicate => {
                if let Some(link) = &mut self.link
                    && let Some(frame) = link.front().cloned()
                {
                    link.push_front(frame);
                }
            }
            Step::Reorder(by) => {
                if let Some(link) = &mut self.link
                    && link.len() > 1
                {
                    let other = 1 + usize::from(by) % (link.len() - 1);
                    link.swap(0, other);
                }
            }
            Step::Replay(which) => {
                if let Some(link) = &mut self.link
                    && !self.sent.is_empty()
                {
                    link.push_front(self.sent[usize::from(which) % self.sent.len()].clone());
                }
            }
            Step::Inject(fault) => self.injector.inject(fault),
            Step::Down(true) => {
                self.injector.take_down();
                self.cut();
            }
            Step::Down(false) => self.injector.bring_up(),
            Step::NewLog(events) => {
                let log = LogId(self.view().log.0 + 1);
                self.sequencer = Sequencer::new(Term(1), Snapshot::take(log, Position::origin(log), 0), []);
                self.truth.insert((log, Index::ZERO), 0);
                self.history.clear();
                self.floor = Index::ZERO;
                self.cut();
                for n in 0..events {
                    self.commit(&[Operation::Add(i64::from(n))]);
                }
            }
            Step::Compact => {
                self.history.clear();
                self.floor = self.view().tail.index;
            }
            Step::Wait(millis) => self.wait(Duration::from_millis(u64::from(millis) % 4_000)),
        }
        self.settle();
    }

    /// Nothing is lost after this: a minute of heartbeats must be enough for anything.
    fn heal(&mut self) {
        self.injector = Injector::default();
        for _ in 0..600 {
            self.heartbeat();
            while self.link.as_ref().is_some_and(|link| !link.is_empty()) {
                self.deliver();
            }
            self.wait(Duration::from_millis(100));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_replica_never_holds_what_no_leader_had_and_converges_once_the_link_heals(
        seed: u64,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(seed);
        for step in steps {
            world.step(step);
        }
        world.heal();
        prop_assert_eq!(world.replica.state(), State::Live);
        prop_assert_eq!(world.replica.snapshot(), Some(world.sequencer.committed()));
    }
}
