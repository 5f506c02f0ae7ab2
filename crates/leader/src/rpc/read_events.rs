//! `ReadEvents`: a page of history.

use engine::{Authors, Batch, BatchEnd, Frame, HistoryPage, Index, Position, Snapshot};
use store::{Corrupt, LogReader, ReadError, StoredBatch};
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
    let size = match usize::try_from(request.page_size) {
        Ok(0) => DEFAULT_PAGE,
        Ok(size) => size.min(MAX_PAGE),
        Err(_) => return Err(invalid("page_size must not be negative")),
    };
    let page = match request.first_index {
        0 => read_oldest(&*calculator.log, size).await,
        first => read_page(&*calculator.log, Index(first), size).await,
    };
    let mut page = page.map_err(|error| read_status(&error))?;
    let published = calculator.feed.published();
    (page.tail, page.floor) = (published.tail.position().index, published.floor);
    Ok(page.into())
}

/// At most `size` of the oldest events. Reads again if the floor rises meanwhile.
async fn read_oldest(log: &dyn LogReader, size: usize) -> Result<HistoryPage, ReadError> {
    let mut first = log.floor().next();
    loop {
        match read_page(log, first, size).await {
            Err(ReadError::Compacted(compacted)) => first = compacted.floor.next(),
            read => return read,
        }
    }
}

/// At most `size` events from `first` on; without tail and floor.
async fn read_page(log: &dyn LogReader, first: Index, size: usize) -> Result<HistoryPage, ReadError> {
    let mut operations = Vec::new();
    let mut batches = Vec::new();
    let mut authors = Vec::new();
    let mut first_batch = None;
    while operations.len() < size {
        let next = first.plus(operations.len() as u64);
        let found = log.read(next, READ_BYTES).await?;
        if found.is_empty() {
            break;
        }
        for stored in found {
            let next = first.plus(operations.len() as u64);
            let room = size - operations.len();
            if room == 0 {
                break;
            }
            let batch = decode(stored)?;
            // The first batch may begin before `first`.
            let skip = usize::try_from(next.events_since(batch.first())).unwrap_or(usize::MAX);
            operations.extend(batch.operations().iter().skip(skip).take(room));
            authors.push((batch.authors().clone(), skip, batch.operations().len().saturating_sub(skip).min(room)));
            batches.push(BatchEnd { end: batch.end(), term: batch.term(), committed_at: batch.committed_at() });
            first_batch.get_or_insert(batch);
        }
    }
    let before = state_before(log, first, first_batch.as_ref()).await?;
    let authors = authors.iter().flat_map(|(authors, skip, take)| authors.each().skip(*skip).take(*take));
    let authors = Authors::of(authors);
    Ok(HistoryPage { first, operations, before, batches, authors, tail: Index::ZERO, floor: Index::ZERO })
}

/// The state before the event at `first`, which is in `batch` or beyond the tail. `None` if it cannot be known: the batch
/// before is damaged, or was compacted away meanwhile.
async fn state_before(log: &dyn LogReader, first: Index, batch: Option<&Batch>) -> Result<Option<Snapshot>, ReadError> {
    let before = Index(first.0 - 1);
    let known = match log.snapshot_at(before).await {
        Ok(known) => known,
        Err(ReadError::Compacted(_) | ReadError::Corrupt(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    if known.position().index == before {
        return Ok(Some(known));
    }
    let Some(batch) = batch.filter(|batch| batch.first() == known.position().index.next()) else { return Ok(None) };
    let mut digest = known.position().digest;
    let part = batch.events(known.value()).take_while(|event| event.index <= before).map(|event| {
        digest = digest.after(event.index, event.operation, event.value);
        (Position { index: event.index, digest }, event.value)
    });
    let end = part.last().filter(|(end, _)| end.index == before);
    Ok(end.map(|(end, value)| Snapshot::take(known.log(), end, value)))
}

fn decode(stored: StoredBatch) -> Result<Batch, Corrupt> {
    let StoredBatch { first, mut frame, .. } = stored;
    match decode_next(&mut frame) {
        Ok(Some(Frame::Batch(batch))) => Ok(batch),
        Ok(_) => Err(Corrupt { index: first, what: "the stored bytes are not a batch".to_owned() }),
        Err(error) => Err(Corrupt { index: first, what: error.to_string() }),
    }
}
