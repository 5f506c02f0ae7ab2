//! What makes two replicas different.

use std::hash::{Hash, Hasher};

use super::{Link, Replica, Session};

/// Covers the fields that decide how a replica handles its next input. Leaves out when things happened and what is only
/// reported: with these, a search of all states would take equal states for different ones.
impl Hash for Replica {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            held,
            dropped: _,
            seen_term,
            link,
            backoff: _,
            disconnect,
            connect,
            notices,
            clock: _,
            tail,
            applied_at: _,
        } = self;
        (held, seen_term, tail, disconnect, connect, notices).hash(hasher);
        std::mem::discriminant(link).hash(hasher);
        match link {
            Link::Connecting { since: _, last_bytes: _, asked } => asked.hash(hasher),
            Link::Open(session) => session.hash(hasher),
            Link::Stale { until: _ } | Link::Waiting { until: _ } => {}
        }
    }
}

impl Hash for Session {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { welcome, awaits_snapshot, last_bytes: _, last_frame: _, timeliness, resync, connecting_since: _ } =
            self;
        (welcome.log, welcome.term, welcome.tail, welcome.floor, welcome.heartbeat_interval).hash(hasher);
        (awaits_snapshot, timeliness.late, resync.is_some()).hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::time::Duration;

    use super::Replica;
    use crate::replica::table::{replica_in, welcome};
    use crate::{Frame, LogId, Moment, Position, Snapshot, Verdict, Welcome};

    fn hash(replica: &Replica) -> u64 {
        let mut hasher = DefaultHasher::new();
        replica.hash(&mut hasher);
        hasher.finish()
    }

    /// A replica of log 1 that holds `value` and asked for a stream after `attempts` that failed.
    fn asking(seed: u64, value: i64, attempts: u32) -> Replica {
        let log = LogId(1);
        let mut replica = Replica::restore(seed, Snapshot::take(log, Position::origin(log), value));
        for attempt in 0..=attempts {
            let now = Moment(Duration::from_secs(60) * attempt);
            replica.handle_closed(now);
            replica.handle_timeout(now.plus(Duration::from_secs(30)));
            while replica.poll_action().is_some() {}
            while replica.poll_notice().is_some() {}
        }
        replica
    }

    #[test]
    fn when_something_happened_makes_no_difference_and_what_is_held_does() {
        assert_eq!(hash(&asking(1, 7, 0)), hash(&asking(2, 7, 3)));
        assert_ne!(hash(&asking(1, 7, 0)), hash(&asking(1, 8, 0)));
        let mut gave_up = asking(1, 7, 0);
        gave_up.handle_closed(Moment::default());
        assert_ne!(hash(&asking(1, 7, 0)), hash(&gave_up));
    }

    #[test]
    fn what_a_stream_has_come_to_makes_a_difference() {
        let (awaits, _) = replica_in("awaiting snapshot");
        let states = ["catching up", "live", "late"].map(|state| hash(&replica_in(state).0));
        assert!(states.iter().all(|state| *state != hash(&awaits)));
        assert!(states[0] != states[1] && states[1] != states[2]);
        // The same position and state, on streams with other heartbeats.
        let welcomed = |seconds| {
            let (mut replica, now) = replica_in("connecting");
            let heartbeat_interval = Duration::from_secs(seconds);
            let welcome = Welcome { heartbeat_interval, ..welcome(Verdict::Resumed) };
            replica.handle_frame(Frame::Welcome(welcome), now);
            while replica.poll_notice().is_some() {}
            hash(&replica)
        };
        assert_eq!(welcomed(1), welcomed(1));
        assert_ne!(welcomed(1), welcomed(9));
    }
}
