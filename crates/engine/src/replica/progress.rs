//! How far behind a replica is, and whether its link moves.

use std::time::Duration;

use super::{Link, Notice, Replica, STALE_AFTER_HEARTBEATS, Session, State};
use crate::fault::{self, Fault};
use crate::{Index, LogId, Moment, Term, Timestamp};

/// A live replica whose newest frame is older than this is catching up.
pub const LATE: Duration = Duration::from_secs(2);

/// A late replica whose newest frame is at most this old is live again.
pub const PROMPT: Duration = Duration::from_secs(1);

/// How long the tail in an answer to a report counts as current.
pub const TAIL_KNOWN_FOR: Duration = Duration::from_secs(2);

/// How long one frame may take, even if its bytes keep arriving: enough for 1 MB on the slowest supported link.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(300);

/// How many events a replica is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lag {
    /// How many events the leader is known to be ahead.
    pub events: u64,
    /// Whether the leader named its tail less than [`TAIL_KNOWN_FOR`] ago. If not, `events` is a lower bound: frames do not
    /// say how many events wait behind them.
    pub exact: bool,
}

/// A leader's answer to a report of progress, without the standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The leader's log.
    pub log: LogId,
    /// The leader's term.
    pub term: Term,
    /// The newest committed event.
    pub tail: Index,
    /// The leader's clock when it answered.
    pub leader_time: Timestamp,
}

/// How up to date a session is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeliness {
    /// Everything that the leader had committed at this time is held, once the replica is at the welcome's tail.
    as_of: Timestamp,
    /// When `as_of` was last updated.
    since: Moment,
    /// Frames arrive too late for *live*.
    pub(super) late: bool,
    /// Until when the tail in the last answer counts as current.
    tail_known_until: Option<Moment>,
}

impl Timeliness {
    pub(super) fn new(as_of: Timestamp, now: Moment) -> Self {
        Self { as_of, since: now, late: false, tail_known_until: None }
    }
}

impl Replica {
    /// Part of a frame arrived, or of the answer to the request. This distinguishes a slow link from a silent one.
    pub fn handle_bytes(&mut self, now: Moment) {
        match &mut self.link {
            Link::Connecting { last_bytes, .. } => *last_bytes = now,
            Link::Open(session) => session.last_bytes = now,
            Link::Stale { .. } | Link::Waiting { .. } => {}
        }
    }

    /// The leader answered a report that was made at `asked`. An answer of another log or leader than the stream's is
    /// ignored.
    pub fn handle_report_answer(&mut self, answer: Answer, asked: Moment, now: Moment) {
        let Link::Open(session) = &mut self.link else { return };
        if (answer.log, answer.term) != (session.welcome.log, session.welcome.term) {
            return;
        }
        // The leader may have written the answer at any moment since the request.
        let until = asked.plus(TAIL_KNOWN_FOR);
        if until > now {
            session.timeliness.tail_known_until = Some(until);
        }
        self.tail = self.tail.max(answer.tail);
        if self.clock.handle_exchange(answer.leader_time, asked, now) {
            self.applied_at = None;
        }
        self.notices.push_back(Notice::LagChanged);
        self.judge_timeliness(now);
        self.assert_order();
    }

    /// How many events the leader is ahead. `None` while there is no stream from it.
    #[must_use]
    pub fn lag_events(&self) -> Option<Lag> {
        let Link::Open(session) = &self.link else { return None };
        let events = self.tail.events_since(self.position().index);
        Some(Lag { events, exact: session.timeliness.tail_known_until.is_some() })
    }

    /// How long after its commit the newest applied batch was applied, by the leader's clock. `None` before the first
    /// batch, and while the leader's clock is not known.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        let (committed_at, applied_at) = self.applied_at?;
        self.clock.age(committed_at, applied_at)
    }

    /// Everything up to `as_of`, by the leader's clock, is held.
    pub(super) fn hold_as_of(&mut self, as_of: Option<Timestamp>, now: Moment) {
        if let Link::Open(session) = &mut self.link {
            session.timeliness.as_of = as_of.unwrap_or(session.timeliness.as_of);
            session.timeliness.since = now;
        }
        self.judge_timeliness(now);
    }

    /// Decides whether what arrives is recent enough for *live*.
    pub(super) fn judge_timeliness(&mut self, now: Moment) {
        let from = self.state();
        let applied = self.position().index;
        let Link::Open(session) = &mut self.link else { return };
        if session.awaits_snapshot || applied < session.welcome.tail {
            return;
        }
        let overdue = session.overdue_after();
        let Timeliness { as_of, since, ref mut late, .. } = session.timeliness;
        // While the clock is not known, the last judgement stands.
        if let Some(delay) = self.clock.age(as_of, since) {
            *late = delay > if *late { PROMPT } else { LATE };
        }
        if self.clock.age(as_of, now).is_some_and(|age| age > overdue) {
            *late = true;
        }
        if !*late && let Some(mut resync) = session.resync.take() {
            resync.took = now.since(session.connecting_since);
            resync.dropped = self.dropped.take();
            self.notices.push_back(Notice::CaughtUp(resync));
        }
        self.tell_change(from);
    }

    /// A deadline of an open stream has passed.
    pub(super) fn handle_session_timeout(&mut self, now: Moment) {
        let Link::Open(session) = &mut self.link else { return };
        if session.silent_at() <= now {
            let silence = now.since(session.last_bytes);
            let until = now.plus(self.backoff.next_delay());
            self.notices.push_back(Notice::Silent { silence });
            self.disconnect = true;
            return self.enter(Link::Stale { until });
        }
        if session.timeliness.tail_known_until.is_some_and(|until| until <= now) {
            session.timeliness.tail_known_until = None;
            self.notices.push_back(Notice::LagChanged);
        }
        self.judge_timeliness(now);
    }

    /// The first deadline of an open stream.
    pub(super) fn session_timeout(&self, session: &Session) -> Moment {
        let mut first = session.silent_at();
        if let Some(until) = session.timeliness.tail_known_until {
            first = first.min(until);
        }
        if self.state() == State::Live
            && let Some(as_of) = self.clock.moment(session.timeliness.as_of)
        {
            // One microsecond more, because late means older than allowed.
            first = first.min(as_of.plus(session.overdue_after()).plus(Duration::from_micros(1)));
        }
        first
    }
}

impl Session {
    fn silence_allowed(&self) -> Duration {
        self.welcome.heartbeat_interval * STALE_AFTER_HEARTBEATS
    }

    /// When the link counts as silent if nothing arrives before.
    fn silent_at(&self) -> Moment {
        if fault::active(Fault::NeverStale) {
            return Moment(Duration::MAX);
        }
        let no_bytes = self.last_bytes.plus(self.silence_allowed());
        no_bytes.min(self.last_frame.plus(self.silence_allowed().max(FRAME_TIMEOUT)))
    }

    /// How old the state may become while no whole frame arrives. This is longer than the limit for a silent link, which
    /// comes first.
    fn overdue_after(&self) -> Duration {
        self.silence_allowed() + LATE
    }
}
