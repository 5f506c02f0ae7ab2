//! The running digest that proves two logs equal.
//!
//! The digest after an event is XXH3-64, seeded with the digest before it, over 25 bytes: the event's index (u64), the
//! operation's [code](crate::Operation::code) (one byte), its argument (i64, 0 where there is none) and the value it
//! yielded (i64), all little-endian. Before the first event it is XXH3-64, seeded with 0, over the log id (u128,
//! little-endian). Each digest seeds the next, so equal digests at an index mean the same log and the same prefix, except for
//! a collision with probability 2^-64. Two logs that begin with the same operations differ from the start, so no batch of one
//! fits the other. The digest guards against faults, not against forgery: XXH3 is not a cryptographic hash.
//!
//! ```
//! use engine::{Digest, Index, LogId, Operation};
//!
//! let start = Digest::of_log(LogId(7));
//! let first = start.after(Index(1), Operation::Add(5), 5);
//! let altered = start.after(Index(1), Operation::Add(6), 6);
//! // The difference never heals: every later digest differs as well.
//! let (second, other) = (
//!     first.after(Index(2), Operation::Multiply(0), 0),
//!     altered.after(Index(2), Operation::Multiply(0), 0),
//! );
//! assert_ne!(second, other);
//! ```

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Digest, Index, LogId, Operation, Position};

impl Digest {
    /// The digest before the first event of `log`.
    #[must_use]
    pub fn of_log(log: LogId) -> Self {
        Self(xxh3_64_with_seed(&log.0.to_le_bytes(), 0))
    }

    /// The digest after the event at `index`, given this digest before it.
    #[must_use]
    #[inline]
    pub fn after(self, index: Index, operation: Operation, value: i64) -> Self {
        let mut bytes = [0_u8; 25];
        bytes[0..8].copy_from_slice(&index.0.to_le_bytes());
        bytes[8] = operation.code();
        bytes[9..17].copy_from_slice(&operation.argument().unwrap_or(0).to_le_bytes());
        bytes[17..25].copy_from_slice(&value.to_le_bytes());
        Self(xxh3_64_with_seed(&bytes, self.0))
    }
}

/// The checksum of a snapshot: XXH3-64, seeded with the digest at its position, over the log id (u128), the index
/// (u64) and the value (i64), little-endian. The digest alone does not prove the value that stands beside it.
#[must_use]
pub(crate) fn snapshot_checksum(log: LogId, position: Position, value: i64) -> u64 {
    let mut bytes = [0_u8; 32];
    bytes[0..16].copy_from_slice(&log.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&position.index.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&value.to_le_bytes());
    xxh3_64_with_seed(&bytes, position.digest.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_known_log_never_changes() {
        // Stored logs and replicas of other versions depend on these very numbers.
        let start = Digest::of_log(LogId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
        let first = start.after(Index(1), Operation::Add(5), 5);
        let second = first.after(Index(2), Operation::PowerOfTwo, 25);
        assert_eq!(
            [start, first, second].map(|digest| digest.to_string()),
            ["d2ca2bedd5432bde", "359ac3bc2297ccdb", "463c03ef51254070"]
        );
    }

    #[test]
    fn each_part_of_an_event_changes_the_digest() {
        let digest = Digest(7).after(Index(3), Operation::Add(2), 9);
        assert_ne!(digest, Digest(8).after(Index(3), Operation::Add(2), 9));
        assert_ne!(digest, Digest(7).after(Index(4), Operation::Add(2), 9));
        assert_ne!(digest, Digest(7).after(Index(3), Operation::Subtract(2), 9));
        assert_ne!(digest, Digest(7).after(Index(3), Operation::Add(3), 9));
        assert_ne!(digest, Digest(7).after(Index(3), Operation::Add(2), 10));
    }
}
