//! The session loop on a link that a test scripts, in simulated time.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::frame::SnapshotFrame;
use engine::replica::{Answer, Notice, State};
use engine::{
    Batch, Durability, Frame, Heartbeat, Index, LogId, Operation, Position, Replica, Resume, Snapshot, SnapshotReason,
    Standing, StreamId, Subscribe, Term, Timestamp, Verdict, Welcome,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::link::{Answered, Report, Reporter};
use crate::{Arrivals, Link, LinkError, Observer, follow};

const LOG: LogId = LogId(5);
const SECOND: Duration = Duration::from_secs(1);

/// How the leader behaves, and what it saw.
#[derive(Debug)]
struct Leader {
    began: Instant,
    /// By how much its clock was set forward, in microseconds.
    set: i64,
    /// How long it takes to open a stream, and how many bytes arrive in each second of that time.
    opening: (Duration, usize),
    /// How long it takes to answer the first reports.
    answers_after: Vec<Duration>,
    /// How it judges reports.
    standing: Standing,
    /// When it wants the next one.
    again: Option<Duration>,
    streams: u64,
    reports: Vec<(Duration, Report)>,
}

type Shared = Arc<Mutex<Leader>>;

fn leader() -> Shared {
    Arc::new(Mutex::new(Leader {
        began: Instant::now(),
        set: 0,
        opening: (Duration::ZERO, 0),
        answers_after: Vec::new(),
        standing: Standing::InStep,
        again: None,
        streams: 0,
        reports: Vec::new(),
    }))
}

impl Leader {
    fn time(&self) -> Timestamp {
        let elapsed = u64::try_from(self.began.elapsed().as_micros()).unwrap();
        Timestamp((1_790_000_000_000_000 + elapsed).checked_add_signed(self.set).unwrap())
    }
}

/// Sends what comes on a stream after the opening.
type Play = fn(Shared, Stream) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The leader's end of a stream.
struct Stream {
    frames: mpsc::UnboundedSender<Frame>,
    arrivals: Arrivals,
    end: Position,
}

impl Stream {
    fn heartbeat(&self, leader: &Shared) {
        let leader_time = leader.lock().unwrap().time();
        let tail = self.end.index;
        let _ = self.frames.send(Frame::Heartbeat(Heartbeat { term: Term(1), tail, floor: Index::ZERO, leader_time }));
    }

    fn batch(&mut self, leader: &Shared) {
        let first = self.end.index.next();
        let (operations, time) = (vec![Operation::Add(0)], leader.lock().unwrap().time());
        let digest = self.end.digest.after(first, Operation::Add(0), 0);
        self.end = Position { index: first, digest };
        let _ = self.frames.send(Frame::Batch(Batch::new(Term(1), first, operations, digest, time).unwrap()));
    }
}

struct Played {
    leader: Shared,
    play: Play,
}

struct Frames(mpsc::UnboundedReceiver<Frame>);

impl futures_util::Stream for Frames {
    type Item = Result<Frame, LinkError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

impl Link for Played {
    type Frames = Frames;
    type Reporter = Reports;

    async fn subscribe(&mut self, _request: Subscribe, arrivals: &Arrivals) -> Result<Frames, LinkError> {
        let (stream, (takes, bytes)) = {
            let mut leader = self.leader.lock().unwrap();
            leader.streams += 1;
            (StreamId(leader.streams), leader.opening)
        };
        let answers_at = Instant::now() + takes;
        while Instant::now() < answers_at {
            sleep(SECOND.min(answers_at - Instant::now())).await;
            arrivals.add(bytes);
        }
        let leader_time = self.leader.lock().unwrap().time();
        let (frames, received) = mpsc::unbounded_channel();
        let end = Position::origin(LOG);
        let welcome = Welcome {
            log: LOG,
            term: Term(1),
            tail: Index::ZERO,
            floor: Index::ZERO,
            heartbeat_interval: SECOND,
            durability: Durability::Memory,
            leader_time,
            verdict: Verdict::Snapshot(SnapshotReason::Fresh),
            damaged: false,
            stream,
        };
        let snapshot = SnapshotFrame { term: Term(1), snapshot: Snapshot::take(LOG, end, 0) };
        frames.send(Frame::Welcome(welcome)).unwrap();
        frames.send(Frame::Snapshot(snapshot)).unwrap();
        tokio::spawn((self.play)(Arc::clone(&self.leader), Stream { frames, arrivals: arrivals.clone(), end }));
        Ok(Frames(received))
    }

    fn reporter(&self) -> Reports {
        Reports(Arc::clone(&self.leader))
    }
}

struct Reports(Shared);

impl Reporter for Reports {
    async fn report(&mut self, report: Report) -> Result<Answered, LinkError> {
        let takes = {
            let mut leader = self.0.lock().unwrap();
            let at = leader.began.elapsed();
            leader.reports.push((at, report));
            let nth = leader.reports.len() - 1;
            leader.answers_after.get(nth).copied().unwrap_or(Duration::from_millis(2))
        };
        sleep(takes / 2).await;
        let (leader_time, standing, report_again) = {
            let leader = self.0.lock().unwrap();
            (leader.time(), leader.standing, leader.again)
        };
        sleep(takes / 2).await;
        let answer = Answer { log: LOG, term: Term(1), tail: report.at.position.index, leader_time };
        Ok(Answered { standing, answer: Some(answer), report_again })
    }
}

/// What a session reported: notices, judgements, and the lag after each applied batch.
#[derive(Default)]
struct Seen {
    notices: Vec<Notice>,
    lags: Vec<Option<Duration>>,
    standings: Vec<Standing>,
    state: Option<State>,
}

impl Observer for Seen {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        if matches!(notice, Notice::Applied { .. }) {
            self.lags.push(replica.lag());
        }
        self.state = Some(replica.state());
        self.notices.push(notice);
    }

    fn standing(&mut self, standing: Standing, _at: Resume) {
        self.standings.push(standing);
    }
}

async fn run(leader: &Shared, play: Play, time: Duration) -> Seen {
    let mut seen = Seen::default();
    let link = Played { leader: Arc::clone(leader), play };
    let _ = timeout(time, follow(Replica::new(1), link, &mut seen)).await;
    seen
}

fn half_a_batch_of_600_bytes_a_second(leader: Shared, mut stream: Stream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        for _ in 0..20 {
            sleep(SECOND).await;
            stream.arrivals.add(600);
        }
        stream.batch(&leader);
        loop {
            stream.heartbeat(&leader);
            sleep(SECOND).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_batch_may_arrive_slowly_but_the_replica_is_not_live_meanwhile() {
    let leader = leader();
    let seen = run(&leader, half_a_batch_of_600_bytes_a_second, 15 * SECOND).await;
    assert_eq!(seen.state, Some(State::CatchingUp));
    let leader = self::leader();
    let seen = run(&leader, half_a_batch_of_600_bytes_a_second, 30 * SECOND).await;
    assert_eq!((leader.lock().unwrap().streams, seen.lags.len(), seen.state), (1, 1, Some(State::Live)));
}

#[tokio::test(start_paused = true)]
async fn a_few_bytes_of_a_proxy_are_no_sign_of_life() {
    let leader = leader();
    let pings: Play = |_, stream| {
        Box::pin(async move {
            let stream = stream;
            loop {
                sleep(SECOND).await;
                stream.arrivals.add(17);
            }
        })
    };
    let seen = run(&leader, pings, 3 * SECOND + Duration::from_millis(100)).await;
    assert!(seen.notices.iter().any(|notice| matches!(notice, Notice::Silent { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_welcome_may_arrive_slowly() {
    for (bytes, streams) in [(600, 1), (0, 4)] {
        let leader = leader();
        leader.lock().unwrap().opening = (20 * SECOND, bytes);
        run(&leader, half_a_batch_of_600_bytes_a_second, 25 * SECOND).await;
        assert!(leader.lock().unwrap().streams.abs_diff(streams) <= 1, "{bytes}: {leader:?}");
    }
}

fn a_batch_a_second(leader: Shared, mut stream: Stream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        loop {
            stream.batch(&leader);
            stream.heartbeat(&leader);
            sleep(SECOND).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn reports_come_every_two_seconds_name_their_stream_and_do_not_wait_for_lost_answers() {
    let leader = leader();
    leader.lock().unwrap().answers_after = vec![Duration::from_millis(2), 1_000 * SECOND];
    run(&leader, a_batch_a_second, 17 * SECOND).await;
    let leader = leader.lock().unwrap();
    let seconds: Vec<u64> = leader.reports.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(seconds, [0, 2, 12, 14, 16]);
    assert!(leader.reports.iter().all(|(_, report)| report.stream == StreamId(1)));
}

#[tokio::test(start_paused = true)]
async fn a_leader_asks_for_reports_within_bounds() {
    for (again, expected) in [(0, 100), (250, 250), (60_000, 10_000)]
        .map(|(a, b): (u64, u64)| (Duration::from_millis(a), Duration::from_millis(b)))
    {
        let leader = leader();
        leader.lock().unwrap().again = Some(again);
        run(&leader, a_batch_a_second, 25 * SECOND).await;
        let reports = leader.lock().unwrap().reports.clone();
        let pauses = reports.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let off = pauses.map(|pause| pause.abs_diff(expected)).max().unwrap();
        assert!(off <= Duration::from_millis(5), "{again:?}: {off:?} off {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_judgement_that_this_version_does_not_know_is_not_passed_on() {
    for (standing, passed_on) in [(Standing::Diverged, true), (Standing::Unknown, false)] {
        let leader = leader();
        leader.lock().unwrap().standing = standing;
        let seen = run(&leader, a_batch_a_second, 3 * SECOND).await;
        assert_eq!(leader.lock().unwrap().reports.len(), 2);
        assert_eq!(seen.standings, if passed_on { vec![standing; 2] } else { Vec::new() });
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_stalled_welcome_the_lag_is_right_with_the_first_answer() {
    let leader = leader();
    leader.lock().unwrap().opening = (4 * SECOND, 0);
    let seen = run(&leader, a_batch_a_second, 10 * SECOND).await;
    assert_eq!(leader.lock().unwrap().streams, 1);
    let right = |lag: &Option<Duration>| lag.is_some_and(|lag| lag < Duration::from_millis(5));
    assert!(seen.lags.len() > 4 && seen.lags[1..].iter().all(right), "{:?}", seen.lags);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_makes_no_lag_for_longer_than_ten_seconds() {
    for hours in [-1, 1] {
        let leader = leader();
        let setter = {
            let leader = Arc::clone(&leader);
            async move {
                sleep(Duration::from_millis(5_500)).await;
                leader.lock().unwrap().set = hours * 3_600_000_000;
            }
        };
        let (seen, ()) = tokio::join!(run(&leader, a_batch_a_second, 20 * SECOND), setter);
        let right = |lag: &Option<Duration>| lag.is_some_and(|lag| lag < Duration::from_millis(5));
        assert!(seen.lags.iter().rev().take(4).all(right), "{hours}: {:?}", seen.lags);
        let wrong = seen.lags.iter().filter(|lag| !right(lag)).count();
        assert!((1..=3).contains(&wrong), "{hours}: {:?}", seen.lags);
        assert_eq!((leader.lock().unwrap().streams, seen.state), (1, Some(State::Live)));
    }
}
