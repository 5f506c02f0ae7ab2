//! `LogPosition`, and the log ids that several messages carry.

use engine::{Digest, Index, LogId, Position, Resume};

use super::LogIdLength;
use crate::pb;

/// A log id as it travels: 16 bytes, big-endian.
///
/// ```
/// use engine::LogId;
/// use wire::convert::{log_id, log_id_bytes};
///
/// let bytes = log_id_bytes(LogId(258));
/// assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
/// assert_eq!(log_id(&bytes), Ok(LogId(258)));
/// ```
#[must_use]
pub fn log_id_bytes(log: LogId) -> Vec<u8> {
    log.0.to_be_bytes().to_vec()
}

/// The log id that travelled as `bytes`.
///
/// # Errors
///
/// [`LogIdLength`] unless there are 16 bytes.
pub fn log_id(bytes: &[u8]) -> Result<LogId, LogIdLength> {
    bytes.try_into().map(|bytes| LogId(u128::from_be_bytes(bytes))).map_err(|_| LogIdLength(bytes.len()))
}

impl From<Resume> for pb::LogPosition {
    fn from(Resume { log, position }: Resume) -> Self {
        Self { log_id: log_id_bytes(log), index: position.index.0, digest: position.digest.0 }
    }
}

impl TryFrom<pb::LogPosition> for Resume {
    type Error = LogIdLength;

    fn try_from(position: pb::LogPosition) -> Result<Self, Self::Error> {
        Ok(Self {
            log: log_id(&position.log_id)?,
            position: Position { index: Index(position.index), digest: Digest(position.digest) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_id_of_the_wrong_length_is_refused() {
        let position = pb::LogPosition { log_id: vec![1, 2, 3], ..Default::default() };
        assert_eq!(Resume::try_from(position).unwrap_err().to_string(), "log_id has 3 bytes, expected 16");
    }
}
