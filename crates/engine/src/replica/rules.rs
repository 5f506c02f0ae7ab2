//! What each kind of frame does.

use std::time::Duration;

use super::{
    Divergence, Held, LeaderClock, Link, MAX_HEARTBEAT_INTERVAL, MAX_RETRY_AFTER, Notice, Replica, Resync, Session,
    Timeliness, Violation,
};
use crate::fault::{self, Fault};
use crate::frame::SnapshotFrame;
use crate::{Batch, Goodbye, Heartbeat, Index, Moment, SnapshotReason, Subscribe, Verdict, Welcome};

impl Replica {
    pub(super) fn handle_welcome(&mut self, welcome: Welcome, now: Moment) {
        let Link::Connecting { since, asked, .. } = self.link else {
            return;
        };
        if self.is_stale_leader(welcome.log, welcome.term, now) {
            return;
        }
        if !is_possible(&welcome, asked) {
            return self.violated(Violation::ImpossibleWelcome, now);
        }
        let resumed = welcome.verdict == Verdict::Resumed;

        if self.seen_term != Some((welcome.log, welcome.term)) {
            // Another leader may be on another machine, with a clock of its own.
            self.clock = LeaderClock::default();
        }
        self.seen_term = Some((welcome.log, welcome.term));
        self.tail = welcome.tail;
        if self.clock.handle_exchange(welcome.leader_time, since, now) {
            self.applied_at = None;
        }
        if let Some(held) = self.held.filter(|held| held.log != welcome.log) {
            self.notices.push_back(Notice::NewLog { old: held.log, new: welcome.log });
        }
        match welcome.verdict {
            // A compacted prefix is still true: it is kept until the snapshot replaces it.
            Verdict::Resumed | Verdict::Snapshot(SnapshotReason::Compacted) => {}
            Verdict::Snapshot(reason) => {
                if reason == SnapshotReason::Diverged {
                    self.notices.push_back(Notice::Diverged(Divergence::Verdict { at: self.position() }));
                }
                self.drop_held(reason);
            }
        }
        let resync = Resync {
            from: asked.resume,
            verdict: welcome.verdict,
            damaged: welcome.damaged,
            dropped: None,
            snapshot: None,
            events: 0,
            took: Duration::ZERO,
        };
        let session = Session {
            welcome,
            awaits_snapshot: !resumed,
            last_bytes: now,
            last_frame: now,
            timeliness: Timeliness::new(welcome.leader_time, now),
            resync: Some(resync),
            connecting_since: since,
        };
        self.enter(Link::Open(session));
        self.notices.push_back(Notice::Welcomed(welcome));
        self.judge_timeliness(now);
    }

    pub(super) fn handle_snapshot(&mut self, SnapshotFrame { term, snapshot }: SnapshotFrame, now: Moment) {
        let Link::Open(session) = &mut self.link else {
            return;
        };
        if snapshot.log() != session.welcome.log {
            return self.violated(Violation::ForeignSnapshot { log: snapshot.log() }, now);
        }
        let (awaited, floor) = (std::mem::take(&mut session.awaits_snapshot), session.welcome.floor);
        if self.is_stale_leader(snapshot.log(), term, now) {
            return;
        }
        let position = snapshot.position();
        if awaited && position.index < floor {
            return self.violated(Violation::SnapshotBelowFloor { at: position.index, floor }, now);
        }
        if let Some(held) = self.held {
            if position.index == held.position.index && position.digest != held.position.digest {
                let divergence =
                    Divergence::Digest { at: position.index, own: held.position.digest, leader: position.digest };
                return self.diverged(divergence, now);
            }
            // An awaited one (`compacted`) lies above the floor, and the floor above what is held.
            if !awaited && position.index <= held.position.index {
                self.notices.push_back(Notice::Duplicate { first: position.index, last: position.index });
                return;
            }
        }
        self.see_term(snapshot.log(), term);
        self.hold(snapshot);
        if let Link::Open(Session { resync: Some(resync), .. }) = &mut self.link {
            resync.snapshot = Some(position);
            resync.events = 0;
        }
        self.notices.push_back(Notice::SnapshotLoaded { snapshot });
        self.hold_as_of(None, now);
    }

    pub(super) fn handle_batch(&mut self, batch: Batch, now: Moment) {
        let Link::Open(session) = &self.link else {
            return;
        };
        if session.awaits_snapshot {
            return self.gap(Index::ZERO, batch.first(), false, now);
        }
        let Some(held) = self.held else {
            return self.gap(Index::ZERO, batch.first(), false, now);
        };
        let expected = held.position.index.next();
        if batch.last() < expected && !fault::active(Fault::ApplyDuplicates) {
            self.notices.push_back(Notice::Duplicate { first: batch.first(), last: batch.last() });
            return;
        }
        // A batch that starts earlier and ends later has other bounds than what was applied. A resume repairs that.
        if batch.first() != expected && !fault::active(Fault::SkipGapCheck) && !fault::active(Fault::ApplyDuplicates) {
            return self.gap(expected, batch.first(), false, now);
        }
        // History may be of any earlier term, but along a log terms never go back.
        if batch.term() < held.term && !fault::active(Fault::AcceptLowerTerm) {
            return self.stale_leader(held.term, batch.term(), now);
        }
        match batch.replay(held.value, held.position.digest) {
            Err(refusal) => self.diverged(Divergence::Refused { first: batch.first(), refusal }, now),
            Ok((_, own)) if own != batch.digest() && !fault::active(Fault::SkipDigestCheck) => {
                self.diverged(Divergence::Digest { at: batch.last(), own, leader: batch.digest() }, now);
            }
            Ok((value, _)) if fault::active(Fault::ApplyInPart) => {
                let all_but_one = batch.operations().len() - 1;
                let value = batch.events(held.value).take(all_but_one).last().map_or(value, |event| event.value);
                self.apply(held, batch, value, now);
            }
            Ok((value, _)) => self.apply(held, batch, value, now),
        }
    }

    fn apply(&mut self, held: Held, batch: Batch, value: i64, now: Moment) {
        let events = batch.operations().len() as u64;
        self.see_term(held.log, batch.term());
        self.held = Some(Held { value, position: batch.end(), term: batch.term(), ..held });
        self.tail = self.tail.max(batch.last());
        self.applied_at = Some((batch.committed_at(), now));
        self.backoff.reset();
        let Link::Open(session) = &mut self.link else {
            return;
        };
        if let Some(resync) = &mut session.resync {
            resync.events += events;
        }
        // The commit times of history say nothing about lateness. At the welcome's tail, the state is as new as the welcome.
        let as_of = (batch.last() > session.welcome.tail).then(|| batch.committed_at());
        self.notices.push_back(Notice::Applied { value_before: held.value, batch });
        self.hold_as_of(as_of, now);
    }

    pub(super) fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now: Moment) {
        let Link::Open(session) = &self.link else {
            return;
        };
        let (log, awaits_snapshot) = (session.welcome.log, session.awaits_snapshot);
        if self.is_stale_leader(log, heartbeat.term, now) {
            return;
        }
        // Everything up to the heartbeat's tail was sent before it, so what is missing now is lost.
        let applied = self.position().index;
        if awaits_snapshot || heartbeat.tail > applied {
            return self.gap(applied.next(), heartbeat.tail.next(), true, now);
        }
        // It was sent before something that is held: a repetition, which says nothing about the present.
        if heartbeat.tail < applied {
            return;
        }
        self.see_term(log, heartbeat.term);
        self.backoff.reset();
        if self.clock.handle_heartbeat(heartbeat.leader_time, now) {
            self.applied_at = None;
        }
        self.hold_as_of(Some(heartbeat.leader_time), now);
    }

    pub(super) fn handle_goodbye(&mut self, goodbye: Goodbye, now: Moment) {
        self.notices.push_back(Notice::Goodbye(goodbye));
        self.disconnect = true;
        self.wait(goodbye.retry_after.min(MAX_RETRY_AFTER), now);
    }
}

/// Whether a welcome can be the answer to the request. Another one would break the order of the positions.
fn is_possible(welcome: &Welcome, asked: Subscribe) -> bool {
    let (floor, tail) = (welcome.floor, welcome.tail);
    let same_log = asked.resume.filter(|resume| resume.log == welcome.log);
    let applied = same_log.map(|resume| resume.position.index);
    let possible = match welcome.verdict {
        Verdict::Resumed => applied.is_some_and(|applied| floor <= applied && applied <= tail),
        Verdict::Snapshot(SnapshotReason::Compacted) => applied.is_some_and(|applied| applied < floor),
        Verdict::Snapshot(_) => true,
    };
    let heartbeat = welcome.heartbeat_interval;
    possible && floor <= tail && !heartbeat.is_zero() && heartbeat <= MAX_HEARTBEAT_INTERVAL
}
