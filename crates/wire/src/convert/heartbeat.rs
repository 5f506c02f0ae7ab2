//! `Heartbeat`.

use engine::{Heartbeat, Index, Term, Timestamp};

use crate::pb;

impl From<Heartbeat> for pb::Heartbeat {
    fn from(heartbeat: Heartbeat) -> Self {
        Self {
            term: heartbeat.term.0,
            tail: heartbeat.tail.0,
            floor: heartbeat.floor.0,
            leader_time_us: heartbeat.leader_time.0,
        }
    }
}

impl From<pb::Heartbeat> for Heartbeat {
    fn from(heartbeat: pb::Heartbeat) -> Self {
        Self {
            term: Term(heartbeat.term),
            tail: Index(heartbeat.tail),
            floor: Index(heartbeat.floor),
            leader_time: Timestamp(heartbeat.leader_time_us),
        }
    }
}
