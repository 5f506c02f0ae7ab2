//! A replica, and what it must not do again.

use std::hash::{Hash, Hasher};

use engine::replica::{Action, Notice, State};
use engine::{Frame, Index, Moment, Replica, Snapshot, Subscribe, Term, Verdict};

/// It decides how long the replica waits, which makes no difference here.
const SEED: u64 = 1;

/// The shipped [`Replica`], driven as `follower::session` drives it.
///
/// Time passes only when a deadline does. So whatever arrives, arrives at the very moment of what happened before it, and no
/// two states differ in time alone.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    replica: Replica,
    now: Moment,
    /// The newest event that was ever held in this life.
    pub(crate) newest_held: Index,
    /// The term of the last welcome in this life.
    pub(crate) welcomed: Term,
}

impl Hash for Follower {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.replica, self.newest_held, self.welcomed).hash(hasher);
    }
}

/// What came of an input.
#[derive(Debug, Default)]
pub(crate) struct Reaction {
    pub(crate) notices: Vec<Notice>,
    /// The replica drops its stream.
    pub(crate) disconnects: bool,
    /// The replica asks for a stream.
    pub(crate) connects: Option<Subscribe>,
}

impl Follower {
    /// A replica in a new life, which kept `state` from the last one.
    pub(crate) fn start(state: Option<Snapshot>) -> Self {
        let replica = state.map_or_else(|| Replica::new(SEED), |state| Replica::restore(SEED, state));
        let newest_held = replica.position().index;
        Self { replica, now: Moment::default(), newest_held, welcomed: Term(0) }
    }

    pub(crate) fn state(&self) -> State {
        self.replica.state()
    }

    pub(crate) fn held(&self) -> Option<Snapshot> {
        self.replica.snapshot()
    }

    /// Whether the present stream began where the last one ended.
    pub(crate) fn has_resumed(&self) -> bool {
        self.replica.welcome().is_some_and(|welcome| welcome.verdict == Verdict::Resumed)
    }

    pub(crate) fn handle_frame(&mut self, frame: Frame) -> Reaction {
        self.replica.handle_frame(frame, self.now);
        self.react()
    }

    pub(crate) fn handle_closed(&mut self) -> Reaction {
        self.replica.handle_closed(self.now);
        self.react()
    }

    /// Whether a deadline will pass if nothing happens.
    pub(crate) fn has_deadline(&self) -> bool {
        self.replica.poll_timeout() != Moment(std::time::Duration::MAX)
    }

    /// The next deadline passes.
    pub(crate) fn handle_timeout(&mut self) -> Reaction {
        self.now = self.now.max(self.replica.poll_timeout());
        self.replica.handle_timeout(self.now);
        self.react()
    }

    fn react(&mut self) -> Reaction {
        let mut reaction = Reaction::default();
        while let Some(action) = self.replica.poll_action() {
            match action {
                Action::Disconnect => reaction.disconnects = true,
                Action::Connect(subscribe) => reaction.connects = Some(subscribe),
            }
        }
        reaction.notices.extend(std::iter::from_fn(|| self.replica.poll_notice()));
        reaction
    }
}
