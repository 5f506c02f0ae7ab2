//! `ReportProgress`: compares a replica's position with the log.

use std::time::Duration;

use engine::{Resume, Standing, StreamId, Verdict};
use tonic::{Code, Status};
use wire::convert::log_id_bytes;
use wire::status::{invalid, with_retry};
use wire::{Identity, pb};

use super::Calculator;
use super::status::read_status;
use crate::clock;
use crate::roster::Reported;

/// When to repeat a report that was not looked up. Replicas send the next one then anyway.
const LOOK_UP_RETRY: Duration = Duration::from_secs(2);

pub(super) async fn answer(
    calculator: &Calculator,
    request: pb::ReportProgressRequest,
) -> Result<pb::ReportProgressResponse, Status> {
    let identity =
        Identity::try_from(request.replica.unwrap_or_default()).map_err(|error| invalid(&error.to_string()))?;
    let position = request.position.ok_or_else(|| invalid("position is not set"))?;
    let at = Resume::try_from(position).map_err(|error| invalid(&error.to_string()))?;
    calculator.membership.heard(&identity, StreamId(request.stream_id));
    let verdict = judge(calculator, &identity, at).await?;
    let lag = Duration::from_millis(request.lag_ms.into());
    let published = calculator.feed.published();
    let behind = published.tail.position().index.events_since(at.position.index);
    calculator.membership.report(&identity, Reported { at, value: request.value, verdict, lag, behind });
    let again = calculator.watchers.report_again(calculator.membership.streams());
    Ok(pb::ReportProgressResponse {
        standing: pb::Standing::from(Standing::from(verdict)).into(),
        tail: published.tail.position().index.0,
        log_id: log_id_bytes(published.tail.log()),
        term: published.term.0,
        leader_time_us: clock::now().0,
        report_again_ms: again.map_or(0, |again| u32::try_from(again.as_millis()).unwrap_or(u32::MAX)),
    })
}

/// Judges the position from memory, or else from the store, but then only for replicas that have a stream.
async fn judge(calculator: &Calculator, identity: &Identity, at: Resume) -> Result<Verdict, Status> {
    if let Some(verdict) = calculator.feed.judge_from_memory(at) {
        return Ok(verdict);
    }
    let Some(_look) = calculator.membership.look_up(identity) else {
        let message = "the position is not among the newest events; older ones are looked up for replicas that have a \
                       stream, at most twice a second";
        return Err(with_retry(Code::ResourceExhausted, "NOT_LOOKED_UP", &[], Some(LOOK_UP_RETRY), message));
    };
    calculator.feed.judge(at).await.map_err(|error| read_status(&error))
}
