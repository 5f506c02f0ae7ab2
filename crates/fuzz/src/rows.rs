//! Batches as a disk returns them, read as `verify` and `export` read stored frames.

use bytes::Bytes;
use engine::{Batch, Digest, Frame};
use wire::frame::{decode_next, encode_batch};

use crate::samples;

/// Any bytes after any value and digest, which are the first sixteen bytes; and stored batches that were altered.
///
/// # Panics
///
/// If a batch replays to another end than its events lead to, or one passes for another.
pub fn check(input: &[u8]) {
    if let Some((value, rest)) = input.split_first_chunk()
        && let Some((digest, frame)) = rest.split_first_chunk()
        && let Some(batch) = decode(frame)
    {
        replay(&batch, i64::from_le_bytes(*value), Digest(u64::from_le_bytes(*digest)));
    }
    for (before, batch) in samples::log() {
        let altered = samples::altered(&encode_batch(batch), input);
        let Some(altered) = decode(&altered) else { continue };
        let end = replay(&altered, before.value(), before.position().digest);
        // The row names the place and the digest too, so those have to be the same.
        if altered.first() == batch.first()
            && altered.end() == batch.end()
            && end.is_some_and(|(_, digest)| digest == batch.digest())
        {
            assert_eq!(altered.operations(), batch.operations(), "other events have the same digest");
        }
    }
}

/// The batch, if the bytes are exactly one.
fn decode(bytes: &[u8]) -> Option<Batch> {
    let mut bytes = Bytes::copy_from_slice(bytes);
    match decode_next(&mut bytes) {
        Ok(Some(Frame::Batch(batch))) if bytes.is_empty() => Some(batch),
        _ => None,
    }
}

fn replay(batch: &Batch, value: i64, before: Digest) -> Option<(i64, Digest)> {
    let events: Vec<_> = batch.events(value).collect();
    let indexes = events.iter().map(|event| event.index.0);
    assert!(indexes.eq(batch.first().0..batch.first().0 + events.len() as u64));
    let end = batch.replay(value, before).ok();
    assert_eq!(end.is_some(), events.len() == batch.operations().len());
    let (own_value, own_digest) = events.iter().fold((value, before), |(_, digest), event| {
        (event.value, digest.after(event.index, event.operation, event.value))
    });
    if end.is_some() {
        assert_eq!(end, Some((own_value, own_digest)));
    }
    end
}
