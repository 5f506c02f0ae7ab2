//! What bounds a world: how often each thing may happen.

/// What may happen only so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The leader makes up an operation.
    Draw,
    /// The leader sends a heartbeat.
    Heartbeat,
    /// The store compacts its oldest batch away.
    Compaction,
    /// The link loses a frame.
    Drop,
    /// The link delivers a frame twice.
    Repeat,
    /// The link exchanges two frames.
    Exchange,
    /// The link alters a batch.
    Alter,
    /// A stream breaks, and the replica learns it.
    Cut,
    /// A stream breaks, and nobody learns it.
    Hang,
    /// A replica's process is killed and starts again.
    ReplicaRestart,
    /// A call or its answer is late or lost.
    Unanswered,
    /// A person waits for an operation no more.
    GiveUp,
    /// The client is gone, and comes back with what it saved.
    Reload,
    /// A leader's process is killed.
    Crash,
    /// A leader is told to stop.
    Stop,
    /// A second leader starts while the first one runs.
    TakeOver,
    /// The store takes nothing, and says so.
    FullStore,
    /// The store fails when a commit may have been written.
    UnknownOutcome,
    /// The machine loses power.
    PowerLoss,
}

/// One more than the last of [`Kind`].
const KINDS: usize = Kind::PowerLoss as usize + 1;

/// Kinds from here on are failures.
const FIRST_FAILURE: usize = Kind::Drop as usize;

/// How often things may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    left: [u8; KINDS],
    /// Of all failures together.
    failures: u8,
}

impl Budget {
    pub(crate) fn new(limits: &[(Kind, u8)], failures: u8) -> Self {
        let mut left = [0; KINDS];
        for (kind, limit) in limits {
            left[*kind as usize] = *limit;
        }
        Self { left, failures }
    }

    pub(crate) fn allows(&self, kind: Kind) -> bool {
        self.left[kind as usize] > 0 && (self.failures > 0 || !kind.is_failure())
    }

    /// Notes that `kind` happened, which [`allows`](Self::allows) must have allowed.
    pub(crate) fn spend(&mut self, kind: Kind) {
        self.left[kind as usize] -= 1;
        if kind.is_failure() {
            self.failures -= 1;
        }
        if self.failures == 0 {
            // States that differ in what cannot happen any more are the same.
            self.left[FIRST_FAILURE..].fill(0);
        }
    }

    /// Nothing but the ordinary goes on.
    pub(crate) fn calm() -> Self {
        Self { left: [0; KINDS], failures: 0 }
    }
}

impl Kind {
    fn is_failure(self) -> bool {
        self as usize >= FIRST_FAILURE
    }
}
