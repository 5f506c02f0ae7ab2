//! A stream from a leader to a replica, and the frames on their way.

use std::collections::VecDeque;
use std::rc::Rc;

use engine::leader::Subscription;
use engine::{Frame, Injector, LinkFault, Term};

/// One stream.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Stream {
    /// The leader that serves it.
    pub(crate) from: Term,
    /// `None` once nothing more is sent.
    pub(crate) subscription: Option<Subscription>,
    /// Frames on their way, the next one first.
    pub(crate) frames: VecDeque<Rc<Frame>>,
    /// It broke, and the replica is not told.
    pub(crate) hangs: bool,
}

impl Stream {
    pub(crate) fn new(from: Term, frames: Vec<Frame>, subscription: Option<Subscription>) -> Self {
        Self { from, subscription, frames: frames.into_iter().map(Rc::new).collect(), hangs: false }
    }

    /// Whether the replica will learn that nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.subscription.is_none() && !self.hangs
    }

    /// It breaks: what is on the way is lost.
    pub(crate) fn cut(&mut self, silently: bool) {
        self.subscription = None;
        self.frames.clear();
        self.hangs = silently;
    }

    /// Alters the next frame, which is a batch.
    pub(crate) fn alter(&mut self) {
        if let Some(front) = self.frames.front_mut() {
            let mut injector = Injector::default();
            injector.inject(LinkFault::Alter);
            injector.handle_frame(Frame::clone(front));
            if let Some(altered) = injector.poll_frame() {
                *front = Rc::new(altered);
            }
        }
    }
}
