//! Links between replicas and leaders. They delay and hold frames, break, and are partitioned; in some worlds they also
//! lose, repeat, exchange and alter batches.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine::replica::Answer;
use engine::{Frame, Injector, LinkFault, Standing, StreamId, Subscribe};
use feed::{Cursor, Delivery};
use follower::link::{Answered, Report, Reporter};
use follower::{Arrivals, Link, LinkError};
use futures_util::Stream;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Status;
use wire::frame::decode_next;

use crate::env::Env;
use crate::executor::TaskId;
use crate::history::Seen;
use crate::leaders::{Leaders, Life};

/// Frames in flight to one replica. At this many, the leader's side waits.
const IN_FLIGHT: usize = 8;

type Frames = mpsc::Sender<Result<Frame, LinkError>>;

pub(crate) struct Network {
    env: Rc<Env>,
    leaders: Rc<Leaders>,
    replicas: RefCell<Vec<Duration>>,
    clients: RefCell<Duration>,
    streams: RefCell<BTreeMap<TaskId, Open>>,
    /// Streams that broke silently. Keeping the sender keeps the replica's end open.
    hanging: RefCell<Vec<Frames>>,
}

struct Open {
    replica: usize,
    life: Life,
    frames: Frames,
}

impl Network {
    pub(crate) fn new(env: &Rc<Env>, leaders: &Rc<Leaders>, replicas: usize) -> Rc<Self> {
        Rc::new(Self {
            env: Rc::clone(env),
            leaders: Rc::clone(leaders),
            replicas: RefCell::new(vec![Duration::ZERO; replicas]),
            clients: RefCell::default(),
            streams: RefCell::default(),
            hanging: RefCell::default(),
        })
    }

    /// Blocks all traffic to and from a replica until `until`.
    pub(crate) fn partition(&self, replica: usize, until: Duration) {
        if let Some(partitioned) = self.replicas.borrow_mut().get_mut(replica) {
            *partitioned = until;
        }
    }

    pub(crate) fn partition_clients(&self, until: Duration) {
        self.clients.replace(until);
    }

    pub(crate) fn heal(&self) {
        self.replicas.borrow_mut().fill(Duration::ZERO);
        self.clients.replace(Duration::ZERO);
    }

    fn is_partitioned(&self, replica: usize, now: Duration) -> bool {
        self.replicas.borrow().get(replica).is_some_and(|until| now < *until)
    }

    pub(crate) fn are_clients_partitioned(&self, now: Duration) -> bool {
        now < *self.clients.borrow()
    }

    /// Breaks a replica's streams. If `silently`, the replica sees no end of stream.
    pub(crate) fn cut(&self, replica: usize, silently: bool) {
        self.env.trace(&format!("replica {replica}'s connection breaks (silently: {silently})"));
        self.drop_streams(|open| open.replica == replica, silently);
    }

    pub(crate) fn drop_streams_of(&self, life: Life, silently: bool) {
        self.drop_streams(|open| open.life == life, silently);
    }

    fn drop_streams(&self, which: impl Fn(&Open) -> bool, silently: bool) {
        let tasks: Vec<TaskId> =
            self.streams.borrow().iter().filter(|(_, open)| which(open)).map(|(task, _)| *task).collect();
        for task in tasks {
            self.env.abort(task);
            let open = self.streams.borrow_mut().remove(&task);
            if let Some(open) = open.filter(|_| silently) {
                self.hanging.borrow_mut().push(open.frames);
            }
        }
    }
}

/// Draws a message's delay: mostly up to 8 ms, sometimes up to 800 ms.
pub(crate) fn latency(random: &mut StdRng) -> Duration {
    let micros =
        if random.random_bool(0.03) { random.random_range(0..=800_000) } else { random.random_range(0..=8_000) };
    Duration::from_micros(micros)
}

pub(crate) struct SimLink {
    network: Rc<Network>,
    replica: usize,
    random: StdRng,
    /// The leader that the newest stream comes from.
    life: Life,
}

impl SimLink {
    pub(crate) fn new(network: &Rc<Network>, replica: usize) -> Self {
        Self { network: Rc::clone(network), replica, random: network.env.random(), life: 0 }
    }

    /// Picks the newest leader, or now and then one that was replaced and still runs.
    fn route(&mut self) -> Option<Life> {
        let lives = self.network.leaders.lives();
        if lives.len() > 1 && self.random.random_bool(0.4) {
            let at = self.random.random_range(0..lives.len());
            return lives.get(at).copied();
        }
        lives.last().copied()
    }
}

fn unreachable_leader() -> LinkError {
    LinkError::Call(Status::unavailable("connection refused").into())
}

impl Link for SimLink {
    type Frames = SimFrames;
    type Reporter = SimReporter;

    async fn subscribe(&mut self, request: Subscribe, _arrivals: &Arrivals) -> Result<SimFrames, LinkError> {
        sleep(latency(&mut self.random)).await;
        while self.network.is_partitioned(self.replica, self.network.env.now()) {
            sleep(Duration::from_millis(50)).await;
        }
        let life = self.route().ok_or_else(unreachable_leader)?;
        let feed = self.network.leaders.feed(life).ok_or_else(unreachable_leader)?;
        let opening = feed
            .subscribe(request.resume, StreamId::default(), self.network.env.timestamp())
            .await
            .map_err(|_| unreachable_leader())?;
        if self.network.leaders.is_dead(life) {
            return Err(unreachable_leader());
        }
        let asked = request.resume.map_or_else(|| "nothing".to_owned(), |resume| resume.position.to_string());
        self.network
            .env
            .trace(&format!("replica {} asks leader {life} from {asked}: {:?}", self.replica, opening.verdict));
        self.life = life;
        let (frames, received) = mpsc::channel(IN_FLIGHT);
        let pump = Pump {
            network: Rc::clone(&self.network),
            replica: self.replica,
            random: self.network.env.random(),
            frames: frames.clone(),
            injector: Injector::default(),
        };
        let task = self.network.env.spawn(pump.run(opening.frames, opening.cursor));
        let open = Open { replica: self.replica, life, frames };
        self.network.streams.borrow_mut().insert(task, open);
        Ok(SimFrames { received, network: Rc::clone(&self.network), task })
    }

    fn reporter(&self) -> SimReporter {
        SimReporter { network: Rc::clone(&self.network), replica: self.replica, life: self.life }
    }
}

pub(crate) struct SimFrames {
    received: mpsc::Receiver<Result<Frame, LinkError>>,
    network: Rc<Network>,
    task: TaskId,
}

impl Stream for SimFrames {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.received.poll_recv(context)
    }
}

impl Drop for SimFrames {
    fn drop(&mut self) {
        self.network.env.abort(self.task);
        let open = self.network.streams.borrow_mut().remove(&self.task);
        drop(open);
    }
}

struct Pump {
    network: Rc<Network>,
    replica: usize,
    random: StdRng,
    frames: Frames,
    injector: Injector,
}

impl Pump {
    async fn run(mut self, opening: Bytes, mut cursor: Cursor) {
        let mut bytes = opening;
        loop {
            sleep(latency(&mut self.random)).await;
            while self.network.is_partitioned(self.replica, self.network.env.now()) {
                sleep(Duration::from_millis(20)).await;
            }
            while let Ok(Some(frame)) = decode_next(&mut bytes) {
                self.inject_into(frame);
                while let Some(frame) = self.injector.poll_frame() {
                    if self.frames.send(Ok(frame)).await.is_err() {
                        return;
                    }
                }
            }
            bytes = match cursor.next().await {
                Ok(Delivery::Frames(bytes)) => bytes,
                Ok(Delivery::Goodbye(mut bytes)) => {
                    if let Ok(Some(frame)) = decode_next(&mut bytes) {
                        let _ = self.frames.send(Ok(frame)).await;
                    }
                    break;
                }
                Err(_) => break,
            };
        }
        // Removing the stream closes the replica's end of the channel.
        let task = self
            .network
            .streams
            .borrow()
            .iter()
            .find_map(|(task, open)| open.frames.same_channel(&self.frames).then_some(*task));
        if let Some(task) = task {
            let open = self.network.streams.borrow_mut().remove(&task);
            drop(open);
        }
    }

    /// Hands a frame to the injector, with a fault now and then.
    fn inject_into(&mut self, frame: Frame) {
        if matches!(frame, Frame::Batch(_))
            && self.injector.is_idle()
            && let Some(fault) = self.draw_fault()
        {
            self.injector.inject(fault);
        }
        self.injector.handle_frame(frame);
    }

    fn draw_fault(&mut self) -> Option<LinkFault> {
        let nature = self.network.env.nature();
        if self.network.env.is_calm() || !self.random.random_bool(0.02) {
            return None;
        }
        if nature.altering_links && (!nature.scrambling_links || self.random.random_bool(0.5)) {
            return Some(LinkFault::Alter);
        }
        let scrambles = [LinkFault::Lose, LinkFault::Repeat, LinkFault::Exchange];
        nature.scrambling_links.then(|| scrambles[self.random.random_range(0..scrambles.len())])
    }
}

pub(crate) struct SimReporter {
    network: Rc<Network>,
    replica: usize,
    life: Life,
}

impl Reporter for SimReporter {
    async fn report(&mut self, Report { at, .. }: Report) -> Result<Answered, LinkError> {
        sleep(Duration::from_millis(3)).await;
        if self.network.is_partitioned(self.replica, self.network.env.now()) {
            return std::future::pending().await;
        }
        let feed = self.network.leaders.feed(self.life).ok_or_else(unreachable_leader)?;
        let standing = feed.judge(at).await.map(Standing::from).map_err(|_| unreachable_leader())?;
        let published = feed.published();
        let answer = Answer {
            log: published.tail.log(),
            term: published.term,
            tail: published.tail.position().index,
            leader_time: self.network.env.timestamp(),
        };
        if standing == Standing::Diverged
            && let Some(replica) = self.network.env.history.borrow_mut().seen.get_mut(self.replica)
        {
            replica.push(Seen::ReportedDiverged(at.position));
        }
        Ok(Answered { standing, answer: Some(answer), report_again: None })
    }
}
