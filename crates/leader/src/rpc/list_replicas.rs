//! `ListReplicas`: the replicas that follow, and their last reports.

use wire::pb;

use super::Calculator;

pub(super) fn answer(calculator: &Calculator) -> pb::ListReplicasResponse {
    let named = calculator.membership.list().into_iter().filter(|row| !row.identity.id.is_empty());
    pb::ListReplicasResponse { replicas: named.map(Into::into).collect() }
}
