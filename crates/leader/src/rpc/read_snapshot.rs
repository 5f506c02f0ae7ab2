//! `ReadSnapshot`: a state of the past.

use engine::Index;
use engine::frame::SnapshotFrame;
use tonic::Status;
use wire::pb;

use super::Calculator;
use super::status::read_status;

pub(super) async fn answer(
    calculator: &Calculator,
    request: pb::ReadSnapshotRequest,
) -> Result<pb::ReadSnapshotResponse, Status> {
    let state = calculator.log.snapshot_at(Index(request.index)).await.map_err(|error| read_status(&error))?;
    let term = calculator.feed.published().term;
    Ok(pb::ReadSnapshotResponse { snapshot: Some(SnapshotFrame { term, snapshot: state }.into()) })
}
