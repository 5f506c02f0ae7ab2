//! Pages of history as a client reads them.

use engine::{HistoryPage, Snapshot};
use prost::Message;
use wire::pb;

use crate::samples;

/// Any bytes, and a valid page that was altered.
///
/// # Panics
///
/// If a page does not survive being encoded again, or an alteration of what a digest covers is not found.
pub fn check(input: &[u8]) {
    understand(input);
    let (before, page) = samples::page();
    let sample = pb::ReadEventsResponse::from(page.clone()).encode_to_vec();
    if let Some(altered) = understand(&samples::altered(&sample, input)) {
        compare(&altered, &page, before);
    }
}

fn understand(bytes: &[u8]) -> Option<HistoryPage> {
    let page = HistoryPage::try_from(pb::ReadEventsResponse::decode(bytes).ok()?).ok()?;
    let encoded = pb::ReadEventsResponse::from(page.clone()).encode_to_vec();
    let again = pb::ReadEventsResponse::decode(encoded.as_slice()).map(HistoryPage::try_from);
    assert_eq!(again, Ok(Ok(page.clone())));
    if let Some(before) = page.before {
        assert!(page.replay(before).count() <= page.operations.len() + 1);
    }
    let authors = page.authors.each().take(page.operations.len());
    assert!(authors.enumerate().all(|(offset, author)| author == page.authors.author_of(offset)));
    Some(page)
}

/// Up to the last end of a batch that is the same on both, a page that replays has the same events.
fn compare(altered: &HistoryPage, page: &HistoryPage, before: Snapshot) {
    let replayed: Vec<_> = altered.replay(before).map_while(Result::ok).collect();
    let proved = replayed.iter().rposition(|(event, _)| {
        let index = event.index;
        let ends = [altered, page].map(|page| page.batch_of(index).filter(|batch| batch.end.index == index));
        ends[0].is_some() && ends[0].map(|batch| batch.end) == ends[1].map(|batch| batch.end)
    });
    let events: Vec<_> = page.replay(before).map_while(Result::ok).collect();
    if let Some(last) = proved {
        assert_eq!(replayed[..=last], events[..=last]);
    }
}
