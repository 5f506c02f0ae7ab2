//! `ListReplicas`: the replicas that follow, and their last reports.

use engine::Standing;
use wire::pb;

use super::{Calculator, millis};
use crate::roster::Member;

pub(super) fn answer(calculator: &Calculator) -> pb::ListReplicasResponse {
    pb::ListReplicasResponse { replicas: calculator.roster.list().into_iter().map(replica_status).collect() }
}

fn replica_status(member: Member) -> pb::ReplicaStatus {
    let standing = member.position.map_or(Standing::Unknown, |(_, verdict)| verdict.into());
    pb::ReplicaStatus {
        replica: Some(member.identity.into()),
        connected: member.connected,
        position: member.position.map(|(at, _)| at.into()),
        standing: pb::Standing::from(standing).into(),
        lag_ms: u32::try_from(member.lag.as_millis()).unwrap_or(u32::MAX),
        last_heard_ms: millis(member.last_heard),
    }
}
