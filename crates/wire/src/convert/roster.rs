//! `WatchReplicasResponse`, `ReplicaStatus` and `GeneratorStatus`.

use std::time::Duration;

use engine::{Index, Operation, Resume, Snapshot, Standing, Term, Timestamp, Verdict};

use super::{DecodeError, Missing, millis};
use crate::roster::{GeneratorStatus, Roster, RosterRow};
use crate::{Identity, pb};

impl From<Roster> for pb::WatchReplicasResponse {
    fn from(roster: Roster) -> Self {
        let Roster { tail, term, floor, leader_time, newest, connected, replicas, not_shown, generator } = roster;
        Self {
            tail: Some(Resume { log: tail.log(), position: tail.position() }.into()),
            value: tail.value(),
            term: term.0,
            floor: floor.0,
            leader_time_us: leader_time.0,
            newest: newest.into_iter().map(Into::into).collect(),
            connected,
            replicas: replicas.into_iter().map(Into::into).collect(),
            not_shown,
            generator: generator.map(Into::into),
        }
    }
}

impl TryFrom<pb::WatchReplicasResponse> for Roster {
    type Error = DecodeError;

    fn try_from(roster: pb::WatchReplicasResponse) -> Result<Self, Self::Error> {
        let Resume { log, position } = roster.tail.ok_or(Missing("tail"))?.try_into()?;
        // An operation that this version does not know hides those before it: the last one is that of the tail.
        let mut newest = Vec::new();
        for operation in roster.newest {
            match Operation::try_from(operation) {
                Ok(operation) => newest.push(operation),
                Err(_) => newest.clear(),
            }
        }
        Ok(Self {
            tail: Snapshot::take(log, position, roster.value),
            term: Term(roster.term),
            floor: Index(roster.floor),
            leader_time: Timestamp(roster.leader_time_us),
            newest,
            connected: roster.connected,
            replicas: roster.replicas.into_iter().map(RosterRow::try_from).collect::<Result<_, _>>()?,
            not_shown: roster.not_shown,
            generator: roster.generator.map(Into::into),
        })
    }
}

impl From<RosterRow> for pb::ReplicaStatus {
    fn from(row: RosterRow) -> Self {
        let (verdict, reason) = match row.verdict {
            None => (pb::Verdict::Unspecified, pb::SnapshotReason::Unspecified),
            Some(Verdict::Resumed) => (pb::Verdict::Resumed, pb::SnapshotReason::Unspecified),
            Some(Verdict::Snapshot(reason)) => (pb::Verdict::Snapshot, reason.into()),
        };
        Self {
            replica: Some(row.identity.into()),
            connected: row.connected,
            position: row.position.map(Into::into),
            standing: pb::Standing::from(row.standing).into(),
            lag_ms: millis(row.lag),
            last_heard_ms: long_millis(row.last_heard),
            value: row.value,
            sent_index: row.sent.0,
            original: row.original,
            // 0 means that there is no stream.
            streaming_ms: row.streaming.map_or(0, |streaming| long_millis(streaming).max(1)),
            verdict: verdict.into(),
            snapshot_reason: reason.into(),
            streams: row.streams,
        }
    }
}

impl TryFrom<pb::ReplicaStatus> for RosterRow {
    type Error = DecodeError;

    fn try_from(status: pb::ReplicaStatus) -> Result<Self, Self::Error> {
        let verdict = match status.verdict() {
            pb::Verdict::Unspecified => None,
            pb::Verdict::Resumed => Some(Verdict::Resumed),
            pb::Verdict::Snapshot => Some(Verdict::Snapshot(status.snapshot_reason().into())),
        };
        let standing: Standing = status.standing().into();
        Ok(Self {
            original: status.original,
            connected: status.connected,
            value: status.value,
            standing,
            lag: Duration::from_millis(status.lag_ms.into()),
            last_heard: Duration::from_millis(status.last_heard_ms),
            sent: Index(status.sent_index),
            streaming: (status.streaming_ms > 0).then(|| Duration::from_millis(status.streaming_ms)),
            verdict,
            streams: status.streams,
            position: status.position.map(Resume::try_from).transpose()?,
            identity: Identity::try_from(status.replica.unwrap_or_default())?,
        })
    }
}

impl From<GeneratorStatus> for pb::GeneratorStatus {
    fn from(status: GeneratorStatus) -> Self {
        let GeneratorStatus { paused, rate, max_rate, controllable, ended } = status;
        Self { paused, rate, max_rate, controllable, ended }
    }
}

impl From<pb::GeneratorStatus> for GeneratorStatus {
    fn from(status: pb::GeneratorStatus) -> Self {
        let pb::GeneratorStatus { paused, rate, max_rate, controllable, ended } = status;
        Self { paused, rate, max_rate, controllable, ended }
    }
}

fn long_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use engine::{Digest, LogId, Position, SnapshotReason};

    use super::*;
    use crate::ReplicaKind;

    fn roster() -> Roster {
        let position = Position { index: Index(7), digest: Digest(9) };
        let ms = Duration::from_millis;
        let row = |name: &str, verdict| RosterRow {
            identity: Identity { id: "7f".to_owned(), name: name.to_owned(), kind: ReplicaKind::Browser },
            original: false,
            connected: true,
            position: Some(Resume { log: LogId(1), position }),
            value: Some(-5),
            standing: Standing::Diverged,
            lag: ms(3),
            last_heard: ms(90_000_000_000),
            sent: Index(6),
            streaming: Some(ms(1)),
            verdict,
            streams: 2,
        };
        let original =
            RosterRow { original: true, position: None, value: None, streaming: None, ..row("original-1", None) };
        let diverged = Some(Verdict::Snapshot(SnapshotReason::Diverged));
        Roster {
            tail: Snapshot::take(LogId(1), position, -5),
            term: Term(2),
            floor: Index(1),
            leader_time: Timestamp(4),
            newest: vec![Operation::SquareRoot, Operation::Add(5)],
            connected: 3,
            replicas: vec![row("a", Some(Verdict::Resumed)), row("b", diverged), original],
            not_shown: 1,
            generator: Some(GeneratorStatus { rate: 0.5, max_rate: 1e3, controllable: true, ..Default::default() }),
        }
    }

    #[test]
    fn a_roster_survives_the_wire() {
        let whole = roster();
        assert_eq!(Roster::try_from(pb::WatchReplicasResponse::from(whole.clone())), Ok(whole));
        let bare = Roster { newest: Vec::new(), replicas: Vec::new(), generator: None, ..roster() };
        assert_eq!(Roster::try_from(pb::WatchReplicasResponse::from(bare.clone())), Ok(bare));
    }

    #[test]
    fn a_stream_that_has_just_begun_is_not_taken_for_none() {
        let mut young = roster().replicas.swap_remove(0);
        young.streaming = Some(Duration::ZERO);
        assert_eq!(pb::ReplicaStatus::from(young).streaming_ms, 1);
    }

    #[test]
    fn what_a_newer_leader_says_is_left_out_and_the_rest_is_read() {
        let mut newer = pb::WatchReplicasResponse::from(roster());
        newer.newest.insert(1, pb::Operation::default());
        newer.replicas[0].verdict = 99;
        newer.replicas[0].standing = 99;
        let read = Roster::try_from(newer).unwrap();
        assert_eq!(read.newest, [Operation::Add(5)]);
        assert_eq!((read.replicas[0].verdict, read.replicas[0].standing), (None, Standing::Unknown));
    }

    #[test]
    fn a_malformed_roster_is_refused() {
        let without_tail = pb::WatchReplicasResponse { tail: None, ..roster().into() };
        assert_eq!(Roster::try_from(without_tail), Err(Missing("tail").into()));
        let mut long = pb::WatchReplicasResponse::from(roster());
        long.replicas[0].replica = Some(pb::Replica { name: "n".repeat(65), ..Default::default() });
        assert!(matches!(Roster::try_from(long), Err(DecodeError::Identity(_))));
    }
}
