//! `ReadEvents`: a page of history.

use engine::{Frame, Index, Operation};
use store::{Corrupt, LogReader, ReadError};
use tonic::Status;
use wire::frame::decode_next;
use wire::pb;
use wire::status::invalid;

use super::Calculator;
use super::status::read_status;

/// Events on a page if the request does not say.
const DEFAULT_PAGE: usize = 1_000;
const MAX_PAGE: usize = 10_000;
const READ_BYTES: usize = 64 << 10;

pub(super) async fn answer(
    calculator: &Calculator,
    request: pb::ReadEventsRequest,
) -> Result<pb::ReadEventsResponse, Status> {
    let page = match usize::try_from(request.page_size) {
        Ok(0) => DEFAULT_PAGE,
        Ok(size) => size.min(MAX_PAGE),
        Err(_) => return Err(invalid("page_size must not be negative")),
    };
    let (first, operations) = match request.first_index {
        0 => read_oldest(&*calculator.log, page).await?,
        first => {
            let first = Index(first);
            (first, read_operations(&*calculator.log, first, page).await.map_err(|error| read_status(&error))?)
        }
    };
    let published = calculator.feed.published();
    let next = first.plus(operations.len() as u64);
    Ok(pb::ReadEventsResponse {
        first_index: first.0,
        operations: operations.into_iter().map(Into::into).collect(),
        next_index: next.0,
        tail: published.tail.position().index.0,
        floor: published.floor.0,
    })
}

/// At most `page` of the oldest operations, and the index of the first. Reads again if the floor rises meanwhile.
async fn read_oldest(log: &dyn LogReader, page: usize) -> Result<(Index, Vec<Operation>), Status> {
    let mut first = log.floor().next();
    loop {
        match read_operations(log, first, page).await {
            Err(ReadError::Compacted(compacted)) => first = compacted.floor.next(),
            read => return read.map(|operations| (first, operations)).map_err(|error| read_status(&error)),
        }
    }
}

async fn read_operations(log: &dyn LogReader, first: Index, page: usize) -> Result<Vec<Operation>, ReadError> {
    let mut operations = Vec::new();
    while operations.len() < page {
        let next = first.plus(operations.len() as u64);
        let batches = log.read(next, READ_BYTES).await?;
        if batches.is_empty() {
            break;
        }
        for stored in batches {
            let mut frame = stored.frame;
            let decoded =
                decode_next(&mut frame).map_err(|error| Corrupt { index: stored.first, what: error.to_string() })?;
            let Some(Frame::Batch(batch)) = decoded else {
                let what = "the stored bytes are not a batch".to_owned();
                return Err(Corrupt { index: stored.first, what }.into());
            };
            // The first batch may begin before `first`.
            let wanted = first.plus(operations.len() as u64).events_since(batch.first());
            let skip = usize::try_from(wanted).unwrap_or(usize::MAX);
            let room = page - operations.len();
            operations.extend(batch.operations().iter().skip(skip).take(room));
        }
    }
    Ok(operations)
}
