//! A number of the leader, of which the page may know only a lower bound.

use engine::replica::Lag;

/// A number of the leader, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Not known: no stream tells it.
    #[default]
    Not,
    /// At least this much; it may be more by now.
    AtLeast(u64),
    /// Exactly this much, as the leader just said.
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
