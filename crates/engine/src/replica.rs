//! The replica's half of the protocol.
//!
//! A driver tells a [`Replica`] what happened (`handle_*`). Then it carries out the actions
//! ([`poll_action`](Replica::poll_action)), reports the notices ([`poll_notice`](Replica::poll_notice)), and calls
//! [`handle_timeout`](Replica::handle_timeout) no later than [`poll_timeout`](Replica::poll_timeout) says.
//!
//! `snapshot <= applied <= tail` always holds: the state that the replica started from, the end of what it applied, and
//! the newest event of the leader that it knows of.
#![doc = include_str!("replica/table.md")]

mod backoff;
mod clock;
mod hash;
mod notice;
mod progress;
#[cfg(test)]
mod properties;
mod rules;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use backoff::Backoff;
use clock::LeaderClock;
pub use notice::{Divergence, Notice, Resync, Violation};
use progress::Timeliness;
pub use progress::{Answer, FRAME_TIMEOUT, LATE, Lag, PROMPT, TAIL_KNOWN_FOR};

use crate::fault::{self, Fault};
use crate::{
    Dropped, Frame, Index, LogId, Moment, Position, Resume, Snapshot, SnapshotReason, Subscribe, Term, Timestamp,
    Welcome,
};

/// How many heartbeat intervals may pass without a byte before the link counts as stale.
pub const STALE_AFTER_HEARTBEATS: u32 = 3;

/// How long a leader may take to send its welcome, if no byte of its answer arrives meanwhile.
pub const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a leader may take to send its welcome, even if bytes of its answer keep arriving.
pub const SLOW_WELCOME_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest heartbeat interval that a replica accepts. With a longer one it would notice a dead link too late.
pub const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(300);

/// The longest time for which a goodbye can send a replica away.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What a replica is doing, in the words that users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Asked for the stream; no welcome yet.
    Connecting,
    /// Welcomed, and not yet at the tail that the welcome named; or the link is slower than the log, so that frames arrive
    /// late.
    CatchingUp,
    /// Holds everything that the leader had committed a moment ago.
    Live,
    /// Received no byte for three heartbeat intervals; closed the link and will reconnect.
    Stale,
    /// Not connected; waits before the next attempt.
    Waiting,
}

impl State {
    /// The state in one word, for logs and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Waiting => "waiting",
        }
    }
}

/// What the replica asks its driver to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Open a stream with this request, and pass its frames to the replica.
    Connect(Subscribe),
    /// Close the stream; pass no more of its frames.
    Disconnect,
}

/// Keeps one value in step with a leader's log. See the [module](self) for the rules.
#[derive(Clone, Debug)]
pub struct Replica {
    held: Option<Held>,
    /// The first state that was dropped since the replica was last live.
    dropped: Option<Dropped>,
    /// The highest term seen, and its log: terms of different logs do not compare.
    seen_term: Option<(LogId, Term)>,
    link: Link,
    backoff: Backoff,
    /// At most one each: a `Disconnect` is always carried out before a `Connect`.
    disconnect: bool,
    connect: Option<Subscribe>,
    /// The driver drains it after each call; one call adds at most four.
    notices: VecDeque<Notice>,
    clock: LeaderClock,
    tail: Index,
    /// When the newest applied batch was committed, and when it was applied.
    applied_at: Option<(Timestamp, Moment)>,
}

/// The state that the replica holds.
#[derive(Clone, Copy, Debug, Hash)]
struct Held {
    log: LogId,
    value: i64,
    position: Position,
    /// The index of the snapshot that this state grew from.
    snapshot: Index,
    /// The term of the last applied batch. Terms never go back along a log.
    term: Term,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has few replicas, and a link is open most of its time")]
enum Link {
    Connecting { since: Moment, last_bytes: Moment, asked: Subscribe },
    Open(Session),
    Stale { until: Moment },
    Waiting { until: Moment },
}

/// One stream from its welcome on.
#[derive(Clone, Debug)]
struct Session {
    welcome: Welcome,
    /// A snapshot must come next.
    awaits_snapshot: bool,
    last_bytes: Moment,
    last_frame: Moment,
    timeliness: Timeliness,
    /// `None` once caught up.
    resync: Option<Resync>,
    connecting_since: Moment,
}

impl Replica {
    /// A replica that holds nothing. `seed` decides the jitter of its reconnects and nothing else.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            held: None,
            dropped: None,
            seen_term: None,
            link: Link::Waiting { until: Moment::default() },
            backoff: Backoff::new(seed),
            disconnect: false,
            connect: None,
            notices: VecDeque::new(),
            clock: LeaderClock::default(),
            tail: Index::ZERO,
            applied_at: None,
        }
    }

    /// A replica that kept `state` from an earlier life and will ask to resume from it.
    #[must_use]
    pub fn restore(seed: u64, state: Snapshot) -> Self {
        let mut replica = Self::new(seed);
        replica.hold(state);
        replica
    }

    // Inputs.

    /// A frame arrived on the stream.
    pub fn handle_frame(&mut self, frame: Frame, now: Moment) {
        match &mut self.link {
            Link::Connecting { .. } => match frame {
                Frame::Welcome(welcome) => self.handle_welcome(welcome, now),
                Frame::Goodbye(goodbye) => self.handle_goodbye(goodbye, now),
                Frame::Snapshot(_) | Frame::Batch(_) | Frame::Heartbeat(_) => {
                    self.violated(Violation::NoWelcomeFirst, now);
                }
            },
            Link::Open(session) => {
                session.last_bytes = now;
                session.last_frame = now;
                match frame {
                    Frame::Welcome(_) => self.violated(Violation::SecondWelcome, now),
                    Frame::Snapshot(snapshot) => self.handle_snapshot(snapshot, now),
                    Frame::Batch(batch) => self.handle_batch(batch, now),
                    Frame::Heartbeat(heartbeat) => self.handle_heartbeat(heartbeat, now),
                    Frame::Goodbye(goodbye) => self.handle_goodbye(goodbye, now),
                }
            }
            // A late frame of a link that was already closed.
            Link::Stale { .. } | Link::Waiting { .. } => {}
        }
        self.assert_order();
    }

    /// The stream ended without a goodbye, or could not be opened.
    pub fn handle_closed(&mut self, now: Moment) {
        if matches!(self.link, Link::Connecting { .. } | Link::Open(_)) {
            self.notices.push_back(Notice::LinkLost);
            // The stream is closed already.
            self.wait(Duration::ZERO, now);
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Calling early does nothing.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.poll_timeout() > now {
            return;
        }
        match &self.link {
            Link::Connecting { .. } => {
                self.notices.push_back(Notice::NoWelcome);
                self.give_up(now);
            }
            Link::Open(_) => self.handle_session_timeout(now),
            Link::Stale { .. } | Link::Waiting { .. } => {
                let asked = Subscribe { resume: self.resume(), dropped: self.dropped };
                self.connect = Some(asked);
                self.enter(Link::Connecting { since: now, last_bytes: now, asked });
            }
        }
    }

    // Outputs.

    /// The next action to carry out; `None` when there is no more.
    pub fn poll_action(&mut self) -> Option<Action> {
        if std::mem::take(&mut self.disconnect) {
            return Some(Action::Disconnect);
        }
        self.connect.take().map(Action::Connect)
    }

    /// The next notice to report; `None` when there is no more.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Moment {
        match &self.link {
            Link::Connecting { since, last_bytes, .. } => {
                last_bytes.plus(WELCOME_TIMEOUT).min(since.plus(SLOW_WELCOME_TIMEOUT))
            }
            Link::Open(session) => self.session_timeout(session),
            Link::Stale { until } | Link::Waiting { until } => *until,
        }
    }

    // State.

    /// The state that this replica holds; `None` before its first snapshot and after a divergence.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.held.map(|held| Snapshot::take(held.log, held.position, held.value))
    }

    /// The value, if one is held.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        self.held.map(|held| held.value)
    }

    /// The end of what was applied; index 0 if nothing is held.
    #[must_use]
    pub fn position(&self) -> Position {
        self.held.map_or_else(Position::default, |held| held.position)
    }

    /// What the replica is doing.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.link {
            Link::Connecting { .. } => State::Connecting,
            Link::Open(session) if session.resync.is_some() || session.timeliness.late => State::CatchingUp,
            Link::Open(_) => State::Live,
            Link::Stale { .. } => State::Stale,
            Link::Waiting { .. } => State::Waiting,
        }
    }

    /// The welcome of the present stream.
    #[must_use]
    pub fn welcome(&self) -> Option<&Welcome> {
        match &self.link {
            Link::Open(session) => Some(&session.welcome),
            _ => None,
        }
    }

    /// The newest event of the leader that this replica knows of.
    #[must_use]
    pub fn tail(&self) -> Index {
        self.tail
    }

    /// The highest term seen in the log that this replica holds.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        let held = self.held?;
        self.seen_term.filter(|(log, _)| *log == held.log).map(|(_, term)| term)
    }

    fn resume(&self) -> Option<Resume> {
        self.held.map(|held| Resume { log: held.log, position: held.position })
    }

    // Transitions.

    fn hold(&mut self, snapshot: Snapshot) {
        let position = snapshot.position();
        self.held = Some(Held {
            log: snapshot.log(),
            value: snapshot.value(),
            position,
            snapshot: position.index,
            term: Term::default(),
        });
        self.tail = self.tail.max(position.index);
    }

    fn drop_held(&mut self, reason: SnapshotReason) {
        if let Some(held) = self.held.take() {
            self.dropped.get_or_insert(Dropped { reason, at: held.position });
        }
    }

    fn is_stale_leader(&mut self, log: LogId, term: Term, now: Moment) -> bool {
        match self.seen_term {
            Some((seen_log, seen)) if seen_log == log && term < seen && !fault::active(Fault::AcceptLowerTerm) => {
                self.stale_leader(seen, term, now);
                true
            }
            _ => false,
        }
    }

    fn see_term(&mut self, log: LogId, term: Term) {
        match &mut self.seen_term {
            Some((seen_log, seen)) if *seen_log == log => *seen = term.max(*seen),
            seen => *seen = Some((log, term)),
        }
    }

    fn stale_leader(&mut self, seen: Term, got: Term, now: Moment) {
        self.notices.push_back(Notice::StaleLeader { seen, got });
        self.give_up(now);
    }

    fn gap(&mut self, expected: Index, got: Index, by_heartbeat: bool, now: Moment) {
        self.notices.push_back(Notice::Gap { expected, got, by_heartbeat });
        self.give_up(now);
    }

    fn diverged(&mut self, divergence: Divergence, now: Moment) {
        self.drop_held(SnapshotReason::Diverged);
        self.notices.push_back(Notice::Diverged(divergence));
        self.give_up(now);
    }

    fn violated(&mut self, violation: Violation, now: Moment) {
        self.notices.push_back(Notice::Violated(violation));
        self.give_up(now);
    }

    fn give_up(&mut self, now: Moment) {
        self.disconnect = true;
        self.wait(Duration::ZERO, now);
    }

    fn wait(&mut self, at_least: Duration, now: Moment) {
        // Jitter is added, so that replicas that got the same time do not return at the same moment.
        let until = now.plus(at_least).plus(self.backoff.next_delay());
        self.enter(Link::Waiting { until });
    }

    fn enter(&mut self, link: Link) {
        let from = self.state();
        self.link = link;
        self.tell_change(from);
    }

    fn tell_change(&mut self, from: State) {
        let to = self.state();
        if from != to {
            self.notices.push_back(Notice::StateChanged { from, to });
        }
    }

    fn assert_order(&self) {
        if let Some(held) = self.held {
            assert!(held.snapshot <= held.position.index, "applied lies before the snapshot");
            assert!(held.position.index <= self.tail, "applied lies beyond the tail");
        }
    }
}
