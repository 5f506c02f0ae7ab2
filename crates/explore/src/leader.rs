//! A leader: the shipped [`Intake`] and [`Subscription`], driven as `sequencer::Committer` and `feed` drive them.
//!
//! Five deliberate faults are in those two and not in `engine`. They are here again, in the same places.

use std::rc::Rc;
use std::time::Duration;

use engine::fault::{self, Fault};
use engine::frame::SnapshotFrame;
use engine::leader::{
    Admission, Intake, KnownDigest, LogView, Rejection, Sealed, Sequencer, Subscription, Taken, ToSend,
};
use engine::{
    Durability, Event, Frame, Goodbye, GoodbyeReason, Heartbeat, Index, Operation, Resume, Snapshot, StreamId,
    Submission, Term, Timestamp, Verdict, Welcome,
};

use crate::log::{AppendError, Commit, LOG, Log, Luck};
use crate::ring::Ring;

/// The one moment at which everything in a world happens, by the leaders' clocks.
const NOW: Timestamp = Timestamp(1_000_000);

/// What a leader tells its replicas.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Names an attempt while somebody may still answer it.
pub(crate) type Attempt = u8;

/// An answer that nobody waits for.
pub(crate) const NOBODY: Attempt = u8::MAX;

/// Why an operation is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum No {
    /// It was refused.
    Rejected(Rejection),
    /// It was not committed: no room, too late, or another one leads.
    NotCommitted,
    /// It may be in the log.
    NotKnown,
}

impl From<Rejection> for No {
    fn from(why: Rejection) -> Self {
        Self::Rejected(why)
    }
}

/// Who is answered, and how.
pub(crate) type Answers = Vec<(Attempt, Result<Event, No>)>;

/// The store refused a batch though it is the next one and nobody else leads: a leader ends without a reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unexplained;

/// A leader's process.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leader {
    term: Term,
    intake: Intake<Attempt, No>,
    /// The attempts that wait for an answer.
    callers: Vec<Attempt>,
    /// Whether something is in the open batch.
    open: bool,
    /// The store has taken it, and the leader does not know it yet.
    under_way: Option<Rc<Commit>>,
    published: Snapshot,
    floor: Index,
    ring: Ring,
    /// Why it ends, and the newest event that it had published then.
    goodbye: Option<(GoodbyeReason, Index)>,
    /// It was told to stop, and takes no more operations.
    refuses: bool,
    /// It may not write any more.
    stopped: bool,
}

impl Leader {
    /// A leader that starts on `log`.
    pub(crate) fn start(log: &mut Log, ring: usize) -> Self {
        let term = log.open();
        let tail = log.tail();
        Self {
            term,
            intake: Intake::new(Sequencer::new(term, tail, log.producers())),
            callers: Vec::new(),
            open: false,
            under_way: None,
            published: tail,
            floor: log.floor().index,
            ring: Ring::new(ring),
            goodbye: None,
            refuses: false,
            stopped: false,
        }
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    pub(crate) fn published(&self) -> Snapshot {
        self.published
    }

    pub(crate) fn floor(&self) -> Index {
        self.floor
    }

    pub(crate) fn has_open_batch(&self) -> bool {
        self.open
    }

    pub(crate) fn is_committing(&self) -> bool {
        self.under_way.is_some()
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.stopped || self.refuses
    }

    pub(crate) fn said_goodbye(&self) -> bool {
        self.goodbye.is_some()
    }

    /// The newest event that was published before the goodbye.
    pub(crate) fn closed_at(&self) -> Option<Index> {
        self.goodbye.map(|(_, tail)| tail)
    }

    pub(crate) fn answers(&self, attempt: Attempt) -> bool {
        self.callers.contains(&attempt)
    }

    /// What is published after the goodbye would reach nobody.
    fn is_closed(&self) -> bool {
        self.goodbye.is_some() && !fault::active(Fault::AcknowledgeAfterGoodbye)
    }

    // The writer.

    /// Whether a call is taken now. While a commit is under way, it waits in the queue.
    pub(crate) fn takes_calls(&self) -> bool {
        self.is_ending() || self.under_way.is_none()
    }

    /// A call arrives.
    pub(crate) fn submit(&mut self, submission: &Submission, attempt: Attempt) -> Answers {
        if self.is_ending() || self.is_closed() {
            return vec![(attempt, Err(No::NotCommitted))];
        }
        match self.intake.submit(submission, attempt) {
            Taken::Answered(attempt, answer) => {
                let committed = self.intake.committed().position().index;
                self.open |= answer.as_ref().is_ok_and(|event| event.index > committed);
                vec![(attempt, answer)]
            }
            Taken::Waits => {
                self.open = true;
                self.callers.push(attempt);
                self.callers.sort_unstable();
                Vec::new()
            }
            Taken::Full(_) => unreachable!("the operations of a small world fit in one batch"),
        }
    }

    /// The generator makes an operation up.
    pub(crate) fn draw(&mut self, operation: Operation) {
        self.open |= self.intake.propose(operation).is_ok();
    }

    pub(crate) fn can_write(&self) -> bool {
        !self.stopped && !self.is_closed() && self.under_way.is_none()
    }

    /// Seals the open batch and hands it to the store.
    pub(crate) fn append(&mut self, log: &mut Log, luck: Luck) -> Result<Answers, Unexplained> {
        self.open = false;
        let Some(Sealed { batch, tail, producers }) = self.intake.seal(NOW) else { return Ok(Vec::new()) };
        let commit = Rc::new(Commit { batch, tail, producers });
        if fault::active(Fault::PublishBeforeDurable) {
            self.publish(&commit, log);
        }
        match log.append(self.term, &commit, luck) {
            Err(AppendError::Fenced) if fault::active(Fault::IgnoreFencing) => self.under_way = Some(commit),
            Ok(()) => self.under_way = Some(commit),
            Err(AppendError::Unavailable) => return Ok(self.fail(&No::NotCommitted)),
            Err(AppendError::Fenced) => {
                self.stopped = true;
                return Ok(self.fail(&No::NotCommitted));
            }
            Err(AppendError::OutcomeUnknown) => {
                self.stopped = !fault::active(Fault::ForgetUnknownOutcome);
                return Ok(self.fail(&No::NotKnown));
            }
            Err(AppendError::NotNext) => return Err(Unexplained),
        }
        Ok(Vec::new())
    }

    /// The store reports the batch as durable: it is published, and who waits is answered.
    pub(crate) fn commit(&mut self, log: &Log) -> Answers {
        let Some(commit) = self.under_way.take() else { return Vec::new() };
        let answers = self.intake.durable();
        self.callers.clear();
        if fault::active(Fault::PublishBeforeDurable) || self.publish(&commit, log) {
            return answers;
        }
        answers.into_iter().map(|(attempt, _)| (attempt, Err(No::NotKnown))).collect()
    }

    /// The store says that another one leads.
    pub(crate) fn lose(&mut self) -> Answers {
        self.stopped = true;
        if self.under_way.take().is_some() {
            self.callers.clear();
            return self.intake.durable().into_iter().map(|(attempt, _)| (attempt, Err(No::NotKnown))).collect();
        }
        self.fail(&No::NotCommitted)
    }

    fn fail(&mut self, why: &No) -> Answers {
        self.open = false;
        self.callers.clear();
        self.intake.failed(why)
    }

    /// It is told to stop.
    pub(crate) fn refuse(&mut self) {
        self.refuses = true;
    }

    // The feed.

    /// Returns whether it was published.
    fn publish(&mut self, commit: &Commit, log: &Log) -> bool {
        if self.is_closed() {
            return false;
        }
        assert_eq!(commit.batch.first(), self.published.position().index.next(), "batches are published in order");
        self.published = commit.tail;
        self.floor = log.floor().index.min(commit.tail.position().index);
        self.ring.push(commit.batch.last(), Frame::Batch(commit.batch.clone()));
        true
    }

    pub(crate) fn beat(&mut self) {
        let tail = self.published.position().index;
        let heartbeat = Heartbeat { term: self.term, tail, floor: self.floor, leader_time: NOW };
        self.ring.push(tail, Frame::Heartbeat(heartbeat));
    }

    /// Nothing more is published. Returns who is answered: what is still open is not committed any more.
    pub(crate) fn say_goodbye(&mut self) -> Answers {
        let reason = if self.stopped { GoodbyeReason::SteppedDown } else { GoodbyeReason::ShuttingDown };
        self.goodbye = Some((reason, self.published.position().index));
        if self.under_way.is_some() || !self.is_closed() {
            return Vec::new();
        }
        self.fail(&No::NotCommitted)
    }

    fn view(&self) -> LogView {
        LogView { log: LOG, term: self.term, tail: self.published.position(), floor: self.floor }
    }

    fn raise_floor(&mut self, log: &Log) {
        self.floor = self.floor.max(log.floor().index.min(self.published.position().index));
    }

    fn digest_at(&mut self, index: Index, log: &Log) -> KnownDigest {
        self.raise_floor(log);
        let tail = self.published.position();
        if index == tail.index {
            return KnownDigest::End(tail.digest);
        }
        if index == Index::ZERO {
            return KnownDigest::End(engine::Digest::of_log(LOG));
        }
        self.ring.digest_at(index).unwrap_or_else(|| log.digest_at(index).into())
    }

    /// Answers a replica that asks for the stream: its first frames, and what serves it from there unless that was all.
    pub(crate) fn subscribe(&mut self, resume: Option<Resume>, log: &Log) -> (Vec<Frame>, Option<Subscription>) {
        if let Some((reason, _)) = self.goodbye {
            return (vec![goodbye(reason)], None);
        }
        let known = resume.map_or(KnownDigest::NoEnd, |resume| self.digest_at(resume.position.index, log));
        let view = self.view();
        let ring_first = engine::leader::RecentFrames::first_event(&self.ring);
        let admission = Subscription::open(&view, resume, known, [], ring_first);
        let Admission { verdict, floor, damaged, mut subscription } = admission;
        let welcome = Welcome {
            log: LOG,
            term: self.term,
            tail: view.tail.index,
            floor,
            heartbeat_interval: HEARTBEAT,
            durability: if log.is_forgetful() { Durability::Os } else { Durability::Fsync },
            leader_time: NOW,
            verdict,
            damaged,
            stream: StreamId::default(),
        };
        let mut frames = vec![Frame::Welcome(welcome)];
        if verdict != Verdict::Resumed {
            frames.push(self.snapshot_frame());
        }
        self.wait(&mut subscription);
        (frames, Some(subscription))
    }

    fn snapshot_frame(&self) -> Frame {
        Frame::Snapshot(SnapshotFrame { term: self.term, snapshot: self.published })
    }

    /// Whether a subscriber can be sent something.
    pub(crate) fn has_something_for(&self, subscription: &Subscription) -> bool {
        self.step(&mut subscription.clone()) != ToSend::Wait
    }

    /// The next frame for a subscriber, which ends with the goodbye; `None` if there is nothing.
    pub(crate) fn send(&mut self, subscription: &mut Subscription, log: &Log) -> Option<Rc<Frame>> {
        loop {
            let frame = match self.step(subscription) {
                ToSend::Ring(number) => {
                    let (frame, after) = self.ring.get(number)?;
                    subscription.sent_frames(number + 1, after);
                    frame
                }
                ToSend::Store(from) => {
                    if from <= log.floor().index {
                        self.raise_floor(log);
                        continue;
                    }
                    let batch = log.read(from).map(|commit| commit.batch.clone())?;
                    if batch.last() > self.published.position().index {
                        return None;
                    }
                    subscription.sent_batches(batch.last());
                    Rc::new(Frame::Batch(batch))
                }
                ToSend::Snapshot => {
                    subscription.sent_snapshot(self.published.position().index);
                    Rc::new(self.snapshot_frame())
                }
                ToSend::Goodbye => return self.goodbye.map(|(reason, _)| Rc::new(goodbye(reason))),
                ToSend::Wait => return None,
            };
            self.wait(subscription);
            return Some(frame);
        }
    }

    fn step(&self, subscription: &mut Subscription) -> ToSend {
        subscription.poll_send(&self.view(), &self.ring, self.goodbye.is_some())
    }

    /// A subscriber that was sent everything takes its place in the ring, as a cursor does that waits.
    fn wait(&self, subscription: &mut Subscription) {
        let mut next = subscription.clone();
        if self.step(&mut next) == ToSend::Wait {
            *subscription = next;
        }
    }
}

fn goodbye(reason: GoodbyeReason) -> Frame {
    Frame::Goodbye(Goodbye { reason, retry_after: Duration::ZERO })
}
