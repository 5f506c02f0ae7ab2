//! `Goodbye`, and its enum `GoodbyeReason`.

use std::time::Duration;

use engine::{Goodbye, GoodbyeReason};

use super::millis;
use crate::pb;

impl From<Goodbye> for pb::Goodbye {
    fn from(goodbye: Goodbye) -> Self {
        Self { reason: pb::GoodbyeReason::from(goodbye.reason).into(), retry_after_ms: millis(goodbye.retry_after) }
    }
}

impl From<pb::Goodbye> for Goodbye {
    fn from(goodbye: pb::Goodbye) -> Self {
        Self { reason: goodbye.reason().into(), retry_after: Duration::from_millis(goodbye.retry_after_ms.into()) }
    }
}

impl From<GoodbyeReason> for pb::GoodbyeReason {
    fn from(reason: GoodbyeReason) -> Self {
        match reason {
            GoodbyeReason::ShuttingDown => Self::ShuttingDown,
            GoodbyeReason::Overloaded => Self::Overloaded,
            GoodbyeReason::SteppedDown => Self::SteppedDown,
            GoodbyeReason::Unknown => Self::Unspecified,
        }
    }
}

impl From<pb::GoodbyeReason> for GoodbyeReason {
    fn from(reason: pb::GoodbyeReason) -> Self {
        match reason {
            pb::GoodbyeReason::ShuttingDown => Self::ShuttingDown,
            pb::GoodbyeReason::Overloaded => Self::Overloaded,
            pb::GoodbyeReason::SteppedDown => Self::SteppedDown,
            pb::GoodbyeReason::Unspecified => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_a_newer_leader_still_says_goodbye() {
        let newer = pb::Goodbye { reason: 99, retry_after_ms: 5 };
        let unknown = Goodbye { reason: GoodbyeReason::Unknown, retry_after: Duration::from_millis(5) };
        assert_eq!(Goodbye::from(newer), unknown);
    }
}
