//! A number of the leader's that the page may know only in part.

use engine::replica::Lag;

/// A number of the leader's, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// There is no stream that would tell it.
    #[default]
    Not,
    /// It may be more by now.
    AtLeast(u64),
    /// The leader said so just now.
    Exactly(u64),
}

impl Known {
    /// `count`, which is as exact as `lag` is.
    #[must_use]
    pub fn of(lag: Option<Lag>, count: u64) -> Self {
        match lag {
            None => Self::Not,
            Some(Lag { exact: false, .. }) => Self::AtLeast(count),
            Some(Lag { exact: true, .. }) => Self::Exactly(count),
        }
    }
}
