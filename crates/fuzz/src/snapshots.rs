//! Snapshots as a replica receives them.

use engine::frame::SnapshotFrame;
use engine::{Digest, Index, Position, Snapshot};
use prost::Message;
use wire::convert::log_id;
use wire::pb;

use crate::samples;

/// Any bytes, and a snapshot that was altered.
///
/// # Panics
///
/// If a snapshot with a wrong checksum is accepted, or one with the right checksum is refused.
pub fn check(input: &[u8]) {
    for snapshot in [samples::middle(), samples::tail()] {
        let sample = pb::Snapshot::from(SnapshotFrame { term: samples::TERM, snapshot });
        let altered = judge(&samples::altered(&sample.encode_to_vec(), input));
        if let Some((altered, checksum)) = altered {
            // A single checksum fits a single state.
            assert!(altered == snapshot || checksum != sample.checksum, "{altered:?} has the checksum of {snapshot:?}");
        }
    }
    judge(input);
}

/// The snapshot, and the checksum that came with it.
fn judge(bytes: &[u8]) -> Option<(Snapshot, u64)> {
    let message = pb::Snapshot::decode(bytes).ok()?;
    let position = Position { index: Index(message.index), digest: Digest(message.digest) };
    let fitting = log_id(&message.log_id).ok().map(|log| Snapshot::take(log, position, message.value));
    let fitting = fitting.filter(|snapshot| snapshot.checksum() == message.checksum);
    let believed = SnapshotFrame::try_from(message.clone()).ok();
    assert_eq!(believed.map(|frame| frame.snapshot), fitting);
    assert_eq!(believed.map(|frame| frame.term.0), fitting.map(|_| message.term));
    Some((fitting?, message.checksum))
}
