//! Frames as they travel: encoded once, as complete gRPC messages.
//!
//! An encoded frame is a `SubscribeResponse` after gRPC's five-byte prefix: a zero for "not compressed", then the length,
//! big-endian. gRPC over HTTP/2 and gRPC-Web frame a message in the same way, so the same bytes serve both, and a run of
//! frames is a valid part of either stream. Only the welcome and, where it needs one, the snapshot are encoded for a
//! single subscriber.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use engine::{Batch, Frame};
use prost::Message;
use thiserror::Error;

use crate::convert::DecodeError;
use crate::pb;

/// gRPC's prefix: one byte of flags, four of length.
const PREFIX: usize = 5;

/// Encodes a frame with its gRPC prefix.
#[must_use]
pub fn encode(frame: &Frame) -> Bytes {
    encode_message(&pb::SubscribeResponse::from(frame))
}

/// Encodes a batch as a frame, with its gRPC prefix. This happens once for each batch.
///
/// ```
/// use engine::{Batch, Digest, Frame, Index, Operation, Term, Timestamp};
/// use wire::frame::{encode, encode_batch};
///
/// let batch = Batch::new(Term(1), Index(1), vec![Operation::Add(5)], Digest(9), Timestamp(0))?;
/// assert_eq!(encode_batch(&batch), encode(&Frame::Batch(batch)));
/// # Ok::<(), engine::EmptyBatch>(())
/// ```
#[must_use]
pub fn encode_batch(batch: &Batch) -> Bytes {
    let frame = pb::subscribe_response::Frame::Batch(batch.into());
    encode_message(&pb::SubscribeResponse { frame: Some(frame) })
}

/// Encodes a message of a stream with its gRPC prefix.
#[must_use]
pub fn encode_message(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    // No message comes near 4 GiB.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

/// Why bytes are not a run of encoded frames.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The bytes end inside a frame.
    #[error("the frame is cut off: {missing} bytes are missing")]
    Truncated {
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// The prefix has flags other than "not compressed".
    #[error("the frame's flags are {0:#04x}, expected 0 (not compressed)")]
    Flags(u8),
    /// The message is not protobuf.
    #[error("the frame is not a SubscribeResponse: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The message breaks a rule of the protocol.
    #[error(transparent)]
    Content(#[from] DecodeError),
}

/// Takes the first frame off `bytes`; `None` when they are empty.
///
/// ```
/// use engine::{Frame, Goodbye, GoodbyeReason};
/// use wire::frame::{FrameError, decode_next, encode};
///
/// let frame =
///     Frame::Goodbye(Goodbye { reason: GoodbyeReason::Overloaded, retry_after: std::time::Duration::from_secs(1) });
/// let encoded = encode(&frame);
/// let mut two = [&encoded[..], &encoded[..]].concat().into();
/// assert_eq!(decode_next(&mut two), Ok(Some(frame.clone())));
/// assert_eq!(decode_next(&mut two), Ok(Some(frame)));
/// assert_eq!(decode_next(&mut two), Ok(None));
///
/// let mut cut_off = encoded.slice(..encoded.len() - 1);
/// assert_eq!(decode_next(&mut cut_off), Err(FrameError::Truncated { missing: 1 }));
/// ```
///
/// # Errors
///
/// [`FrameError`]. What is left of `bytes` is then useless.
pub fn decode_next(bytes: &mut Bytes) -> Result<Option<Frame>, FrameError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() < PREFIX {
        return Err(FrameError::Truncated { missing: PREFIX - bytes.len() });
    }
    let flags = bytes.get_u8();
    if flags != 0 {
        return Err(FrameError::Flags(flags));
    }
    let length = bytes.get_u32() as usize;
    if bytes.len() < length {
        return Err(FrameError::Truncated { missing: length - bytes.len() });
    }
    let message = pb::SubscribeResponse::decode(bytes.split_to(length))?;
    Ok(Some(Frame::try_from(message)?))
}

#[cfg(test)]
mod tests {
    use engine::author::MAX_AUTHOR_BYTES;
    use engine::leader::MAX_BATCH_EVENTS;
    use engine::{Authors, Digest, Identity, Index, Operation, Term, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::convert::arbitrary::frame;

    proptest! {
        #[test]
        fn a_run_of_frames_survives_the_wire(frames in prop::collection::vec(frame(), 0..8)) {
            let mut bytes: Bytes = frames.iter().flat_map(encode).collect();
            let mut decoded = Vec::new();
            while let Some(frame) = decode_next(&mut bytes).unwrap() {
                decoded.push(frame);
            }
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut bytes = Bytes::from(bytes);
            while let Ok(Some(_)) = decode_next(&mut bytes) {}
        }

        #[test]
        fn a_frame_that_is_cut_off_is_an_error(frame in frame(), cut: prop::sample::Index) {
            let whole = encode(&frame);
            let mut part = whole.slice(..cut.index(whole.len() - 1) + 1);
            if part.len() < whole.len() {
                let truncated = matches!(decode_next(&mut part), Err(FrameError::Truncated { .. }));
                prop_assert!(truncated);
            }
        }
    }

    #[test]
    fn the_largest_new_batch_takes_a_link_of_4_kilobytes_a_second_less_than_four_seconds() {
        let operations = vec![Operation::Divide(i64::MIN); MAX_BATCH_EVENTS];
        let end = Index(u64::MAX - MAX_BATCH_EVENTS as u64);
        let batch = Batch::new(Term(u64::MAX), end, operations, Digest(u64::MAX), Timestamp(u64::MAX)).unwrap();
        // As many authors as fit.
        let mut authors = Authors::default();
        let by = |offset: usize| Identity { id: format!("{offset:064}"), ..Identity::default() };
        let added = (0..MAX_BATCH_EVENTS).take_while(|offset| authors.add(*offset, Some(&by(*offset)))).count();
        assert!(added < MAX_BATCH_EVENTS && authors.cost() > MAX_AUTHOR_BYTES - 100);
        let batch = batch.with_authors(authors);
        let bytes = encode_batch(&batch).len();
        assert!(bytes < 4 * 4_000, "{bytes} bytes");
    }
}
