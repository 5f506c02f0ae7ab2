//! Every fault that a user can inject heals: the replica ends where the leader is. The leader is a small one in this process,
//! and time is simulated.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use engine::frame::SnapshotFrame;
use engine::leader::{LogView, Sequencer};
use engine::replica::{Answer, Notice, State};
use engine::{
    Batch, Durability, Frame, Heartbeat, Index, LinkFault, LogId, Operation, Position, Replica, Snapshot, Standing,
    StreamId, Struck, Subscribe, Term, Timestamp, Verdict, Welcome,
};
use follower::link::{Answered, Report, Reporter};
use follower::{Arrivals, FaultyLink, Freezer, Link, LinkError, Observer, SharedInjector, follow};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const LOG: LogId = LogId(5);
const SECOND: Duration = Duration::from_secs(1);

/// A leader that commits an event every 100 ms.
struct Leader {
    began: Instant,
    sequencer: Sequencer,
    history: Vec<Batch>,
    streams: Vec<mpsc::UnboundedSender<Frame>>,
}

type SharedLeader = Arc<Mutex<Leader>>;

fn start_leader() -> SharedLeader {
    let start = Snapshot::take(LOG, Position::origin(LOG), 0);
    let sequencer = Sequencer::new(Term(1), start, []);
    let leader = Leader { began: Instant::now(), sequencer, history: Vec::new(), streams: Vec::new() };
    let leader = Arc::new(Mutex::new(leader));
    let leads = Arc::clone(&leader);
    tokio::spawn(async move {
        for tenth in 1_u64.. {
            sleep(SECOND / 10).await;
            let mut leader = leads.lock().unwrap();
            leader.commit();
            if tenth.is_multiple_of(10) {
                leader.heartbeat();
            }
        }
    });
    leader
}

impl Leader {
    fn time(&self) -> Timestamp {
        Timestamp(1_790_000_000_000_000 + u64::try_from(self.began.elapsed().as_micros()).unwrap())
    }

    fn view(&self) -> LogView {
        let tail = self.sequencer.committed().position();
        LogView { log: LOG, term: Term(1), tail, floor: Index::ZERO }
    }

    fn send(&mut self, frame: &Frame) {
        self.streams.retain(|stream| stream.send(frame.clone()).is_ok());
    }

    fn commit(&mut self) {
        self.sequencer.propose(Operation::Add(3)).unwrap();
        let batch = self.sequencer.seal(self.time()).unwrap();
        self.sequencer.commit();
        self.history.push(batch.clone());
        self.send(&Frame::Batch(batch));
    }

    fn heartbeat(&mut self) {
        let LogView { term, tail, floor, .. } = self.view();
        let leader_time = self.time();
        self.send(&Frame::Heartbeat(Heartbeat { term, tail: tail.index, floor, leader_time }));
    }

    fn subscribe(&mut self, request: Subscribe) -> mpsc::UnboundedReceiver<Frame> {
        let view = self.view();
        let held = request.resume.map_or(Index::ZERO, |resume| resume.position.index);
        let mut ends = self.history.iter().map(Batch::end).chain([Position::origin(LOG)]);
        let known = ends.find(|end| end.index == held).map(|end| end.digest);
        let verdict = view.verdict(request.resume, known.into());
        let (stream, frames) = mpsc::unbounded_channel();
        let welcome = Frame::Welcome(Welcome {
            log: LOG,
            term: view.term,
            tail: view.tail.index,
            floor: view.floor,
            heartbeat_interval: SECOND,
            durability: Durability::Memory,
            leader_time: self.time(),
            verdict,
            damaged: false,
            stream: StreamId(1),
        });
        stream.send(welcome).unwrap();
        if verdict == Verdict::Resumed {
            let missing = self.history.iter().filter(|batch| batch.first() > held);
            missing.for_each(|batch| stream.send(Frame::Batch(batch.clone())).unwrap());
        } else {
            let snapshot = self.sequencer.committed();
            stream.send(Frame::Snapshot(SnapshotFrame { term: view.term, snapshot })).unwrap();
        }
        self.streams.push(stream);
        frames
    }
}

/// A way to that leader, 5 ms long.
struct TestLink(SharedLeader);

impl Link for TestLink {
    type Frames = Frames;
    type Reporter = Reports;

    async fn subscribe(&mut self, request: Subscribe, _arrivals: &Arrivals) -> Result<Frames, LinkError> {
        sleep(Duration::from_millis(5)).await;
        Ok(Frames(self.0.lock().unwrap().subscribe(request)))
    }

    fn reporter(&self) -> Reports {
        Reports(Arc::clone(&self.0))
    }
}

struct Frames(mpsc::UnboundedReceiver<Frame>);

impl futures_util::Stream for Frames {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

struct Reports(SharedLeader);

impl Reporter for Reports {
    async fn report(&mut self, _report: Report) -> Result<Answered, LinkError> {
        let leader = self.0.lock().unwrap();
        let LogView { log, term, tail, .. } = leader.view();
        let answer = Answer { log, term, tail: tail.index, leader_time: leader.time() };
        Ok(Answered { standing: Standing::InStep, answer: Some(answer), report_again: None })
    }
}

/// What happened, in order.
#[derive(Default)]
struct Seen {
    words: Vec<&'static str>,
    errors: Vec<String>,
    state: Option<State>,
    held: Option<Snapshot>,
}

#[derive(Clone, Default)]
struct SharedSeen(Arc<Mutex<Seen>>);

impl Observer for SharedSeen {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        let mut seen = self.0.lock().unwrap();
        seen.state = Some(replica.state());
        seen.held = replica.snapshot();
        seen.words.push(match notice {
            Notice::Gap { .. } => "gap",
            Notice::Duplicate { .. } => "duplicate",
            Notice::Diverged(_) => "diverged",
            Notice::LinkLost => "link lost",
            Notice::Silent { .. } => "silent",
            Notice::SnapshotLoaded { .. } => "snapshot",
            Notice::CaughtUp(_) => "caught up",
            Notice::StateChanged { from: State::Live, to: State::CatchingUp } => "late",
            _ => return,
        });
    }

    fn link_failed(&mut self, error: &LinkError) {
        self.0.lock().unwrap().errors.push(error.to_string());
    }
}

/// A replica that follows the leader, and everything that can be done to it.
struct World {
    leader: SharedLeader,
    injector: SharedInjector,
    freezer: Freezer,
    seen: SharedSeen,
    task: Option<JoinHandle<()>>,
}

impl World {
    /// Nobody follows yet.
    fn new() -> Self {
        Self {
            leader: start_leader(),
            injector: SharedInjector::default(),
            freezer: Freezer::default(),
            seen: SharedSeen::default(),
            task: None,
        }
    }

    /// A replica that is live for a second, between two events of the leader.
    async fn begin() -> Self {
        let mut world = Self::new();
        world.follow();
        sleep(SECOND + SECOND / 20).await;
        assert_eq!(world.words(), ["snapshot", "caught up"]);
        world
    }

    /// Starts a replica that holds nothing, in place of the one that follows.
    fn follow(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let link = FaultyLink::new(TestLink(Arc::clone(&self.leader)), self.injector.clone());
        let (freezer, mut seen) = (self.freezer.clone(), self.seen.clone());
        self.task =
            Some(tokio::spawn(async move { match freezer.run(follow(Replica::new(1), link, &mut seen)).await {} }));
    }

    /// What happened since this was last asked.
    fn words(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.seen.0.lock().unwrap().words)
    }

    fn held(&self) -> Option<Snapshot> {
        self.seen.0.lock().unwrap().held
    }

    fn struck(&self) -> Option<Struck> {
        self.injector.lock().poll_struck()
    }

    /// Waits until the replica has had time to heal, and checks that it holds what the leader holds.
    async fn assert_heals(&self) {
        sleep(10 * SECOND).await;
        assert_eq!(self.seen.0.lock().unwrap().state, Some(State::Live));
        assert_eq!(self.held(), Some(self.leader.lock().unwrap().sequencer.committed()));
        assert!(self.injector.lock().is_idle());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_batch_heals_without_a_snapshot() {
    let world = World::begin().await;
    let next = world.held().unwrap().position().index.next();
    world.injector.lock().inject(LinkFault::Lose);
    world.assert_heals().await;
    assert_eq!(world.words(), ["gap", "caught up"]);
    assert!(matches!(world.struck(), Some(Struck::Lost(batch)) if batch.first() == next));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_batch_changes_nothing() {
    let world = World::begin().await;
    world.injector.lock().inject(LinkFault::Repeat);
    world.assert_heals().await;
    assert_eq!(world.words(), ["duplicate"]);
    assert!(matches!(world.struck(), Some(Struck::Repeated(_))));
}

#[tokio::test(start_paused = true)]
async fn exchanged_batches_heal_without_a_snapshot() {
    let world = World::begin().await;
    world.injector.lock().inject(LinkFault::Exchange);
    world.assert_heals().await;
    assert_eq!(world.words(), ["gap", "caught up"]);
    assert!(matches!(world.struck(), Some(Struck::HeldBack(_))));
    assert!(matches!(world.struck(), Some(Struck::Exchanged { held, by }) if by.first() == held.last().next()));
}

#[tokio::test(start_paused = true)]
async fn an_altered_batch_heals_with_a_snapshot() {
    let world = World::begin().await;
    world.injector.lock().inject(LinkFault::Alter);
    world.assert_heals().await;
    assert_eq!(world.words(), ["diverged", "snapshot", "caught up"]);
    let Some(Struck::Altered { sent, arrived }) = world.struck() else { panic!("nothing was altered") };
    assert_eq!((sent.operations(), arrived.operations()), (&[Operation::Add(3)][..], &[Operation::Add(4)][..]));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_down_ends_the_stream_at_once_and_heals_without_a_snapshot_when_it_is_up() {
    let world = World::begin().await;
    world.injector.lock().take_down();
    // No frame comes in this time.
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.words(), ["link lost"]);
    sleep(5 * SECOND - Duration::from_millis(1)).await;
    let tries = world.words();
    assert!(tries.len() > 2 && tries.iter().all(|word| *word == "link lost"), "{tries:?}");
    let errors = std::mem::take(&mut world.seen.0.lock().unwrap().errors);
    assert_eq!(errors.len(), 1 + tries.len(), "each attempt fails");
    assert!(errors.iter().all(|error| error == "the link was cut on purpose"), "{errors:?}");
    world.injector.lock().bring_up();
    world.assert_heals().await;
    assert_eq!(world.words(), ["caught up"]);
    assert_eq!([world.struck(), world.struck()], [Some(Struck::TakenDown), Some(Struck::BroughtUp)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_before_a_batch_heals_without_a_snapshot() {
    let world = World::begin().await;
    world.injector.lock().inject(LinkFault::Cut);
    world.assert_heals().await;
    assert_eq!(world.words(), ["link lost", "caught up"]);
    assert!(matches!(world.struck(), Some(Struck::Cut(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_opens_after_the_link_was_taken_down_is_cut() {
    let mut world = World::new();
    world.follow();
    // The answer is on its way.
    sleep(Duration::from_millis(2)).await;
    world.injector.lock().take_down();
    sleep(SECOND).await;
    assert_eq!(world.held(), None);
    world.injector.lock().bring_up();
    sleep(SECOND / 20 - Duration::from_millis(2)).await;
    world.assert_heals().await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_replica_reads_what_waited_and_asks_for_nothing() {
    let world = World::begin().await;
    let before = world.held();
    world.freezer.freeze();
    sleep(5 * SECOND).await;
    assert_eq!((world.held(), world.words()), (before, Vec::new()));
    world.freezer.thaw();
    world.assert_heals().await;
    assert_eq!(world.words(), ["late"], "it was late for a moment");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_state_heals_with_a_snapshot() {
    let mut world = World::begin().await;
    world.follow();
    world.assert_heals().await;
    assert_eq!(world.words(), ["snapshot", "caught up"]);
}
