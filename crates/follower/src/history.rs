//! Reads a leader's history.

use std::time::Duration;

use engine::frame::SnapshotFrame;
use engine::{HistoryPage, Index, Snapshot};
use thiserror::Error;
use tonic::Code;
use wire::pb;

use crate::grpc::{Calls, ask, method};
use crate::timer::Clock;
use crate::{CallError, NotAllowed};

/// How long a read waits for its answer. A page of 10,000 events takes some seconds on a slow link.
pub const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Why history was not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It was compacted away.
    #[error("the events up to {floor} were compacted away")]
    Compacted {
        /// Events at or below it are gone.
        floor: Index,
    },
    /// The leader lets read only those with a token.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The leader is older than the call.
    #[error("the leader is of a version that cannot answer this")]
    Unsupported,
    /// The leader's stored history is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The answer breaks the contract.
    #[error("the leader's answer is malformed: {0}")]
    Malformed(String),
    /// The leader cannot read its log now, or the call failed on its way. Try again.
    #[error("{0}")]
    Failed(String),
}

impl Calls {
    /// Reads at most `count` events from `first` on; 0 means the oldest stored event, and 1,000 events. The leader gives at
    /// most 10,000. The page is not checked: [`HistoryPage::replay`] does that.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn read_events(&self, first: Index, count: u32) -> Result<HistoryPage, ReadError> {
        let page_size = i32::try_from(count).unwrap_or(i32::MAX);
        let request = pb::ReadEventsRequest { first_index: first.0, page_size };
        let page: pb::ReadEventsResponse = in_time(ask(&self.transport, method!("ReadEvents"), &request)).await?;
        HistoryPage::try_from(page).map_err(|error| ReadError::Malformed(error.to_string()))
    }

    /// Reads the newest state at or before `at` that the leader holds.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn read_snapshot(&self, at: Index) -> Result<Snapshot, ReadError> {
        let request = pb::ReadSnapshotRequest { index: at.0 };
        let answer: pb::ReadSnapshotResponse = in_time(ask(&self.transport, method!("ReadSnapshot"), &request)).await?;
        let snapshot = answer.snapshot.ok_or_else(|| ReadError::Malformed("snapshot is not set".to_owned()))?;
        let frame = SnapshotFrame::try_from(snapshot).map_err(|error| ReadError::Malformed(error.to_string()))?;
        Ok(frame.snapshot)
    }
}

async fn in_time<A>(call: impl Future<Output = Result<A, CallError>>) -> Result<A, ReadError> {
    let clock = Clock::start();
    tokio::select! {
        answer = call => answer.map_err(ReadError::from),
        () = clock.sleep_until(clock.now().plus(READ_TIMEOUT)) => {
            Err(ReadError::Failed("the leader did not answer in time".to_owned()))
        }
    }
}

/// Decides by the reason in the status, as `calculator.proto` lists them.
impl From<CallError> for ReadError {
    fn from(error: CallError) -> Self {
        if let Some(not_allowed) = error.not_allowed() {
            return Self::NotAllowed(not_allowed);
        }
        match (error.reason.as_str(), error.code) {
            ("COMPACTED", _) => Self::Compacted { floor: Index(error.number("floor")) },
            ("LOG_DAMAGED", _) => Self::Damaged(error.message),
            ("", Code::Unimplemented) => Self::Unsupported,
            _ => Self::Failed(error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use wire::status::status;

    use super::*;

    #[test]
    fn each_reason_is_told_apart() {
        let compacted = status(Code::OutOfRange, "COMPACTED", &[("floor", "15".to_owned())], "gone");
        let damaged = status(Code::DataLoss, "LOG_DAMAGED", &[("index", "2".to_owned())], "event 2 is damaged");
        let unavailable = status(Code::Unavailable, "LOG_UNAVAILABLE", &[], "the disk hangs");
        for (status, expected) in [
            (compacted, ReadError::Compacted { floor: Index(15) }),
            (damaged, ReadError::Damaged("event 2 is damaged".to_owned())),
            (unavailable, ReadError::Failed("the disk hangs".to_owned())),
            (Status::unimplemented(""), ReadError::Unsupported),
            (Status::unavailable("gone"), ReadError::Failed("gone".to_owned())),
        ] {
            assert_eq!(ReadError::from(CallError::from(status)), expected);
        }
    }
}
