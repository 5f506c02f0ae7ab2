//! A link whose faults its user chooses, to test replicas and to show how they heal.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use engine::{Frame, Injector, Subscribe};
use futures_util::Stream;

use crate::{Arrivals, Link, LinkError};

/// Puts an [`Injector`] between another link and the replica.
///
/// ```no_run
/// use engine::LinkFault;
/// use follower::{FaultyLink, SharedInjector, connect};
/// use wire::Identity;
///
/// let injector = SharedInjector::default();
/// let link = FaultyLink::new(connect("localhost:8080", Identity::default())?, injector.clone());
/// // While `follow` runs with this link, the next batch is lost: the replica finds a gap and resumes.
/// injector.lock().inject(LinkFault::Lose);
/// # drop(link);
/// # Ok::<(), follower::InvalidAddress>(())
/// ```
#[derive(Debug)]
pub struct FaultyLink<L> {
    link: L,
    injector: SharedInjector,
}

/// The injector of a [`FaultyLink`], through which tests and pages choose the faults. All clones share one injector.
#[derive(Clone, Debug, Default)]
pub struct SharedInjector(Arc<Mutex<Injector>>);

impl SharedInjector {
    /// The injector, for as long as the guard is held. No stream passes frames on meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, Injector> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> FaultyLink<L> {
    /// Passes the frames of `link` through `injector`.
    pub fn new(link: L, injector: SharedInjector) -> Self {
        Self { link, injector }
    }
}

impl<L: Link> Link for FaultyLink<L> {
    type Frames = FaultyFrames<L::Frames>;
    type Reporter = L::Reporter;

    async fn subscribe(&mut self, request: Subscribe, arrivals: &Arrivals) -> Result<Self::Frames, LinkError> {
        let frames = self.link.subscribe(request, arrivals).await?;
        self.injector.lock().begin_stream();
        Ok(FaultyFrames { frames, injector: self.injector.clone() })
    }

    fn reporter(&self) -> L::Reporter {
        self.link.reporter()
    }
}

/// The frames of one stream of a [`FaultyLink`].
#[derive(Debug)]
pub struct FaultyFrames<S> {
    frames: S,
    injector: SharedInjector,
}

impl<S: Stream<Item = Result<Frame, LinkError>> + Unpin> Stream for FaultyFrames<S> {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let (frame, cut) = {
                let mut injector = self.injector.lock();
                (injector.poll_frame(), injector.is_cut())
            };
            if frame.is_some() || cut {
                return Poll::Ready(frame.map(Ok));
            }
            match ready!(Pin::new(&mut self.frames).poll_next(context)) {
                Some(Ok(frame)) => self.injector.lock().handle_frame(frame),
                error_or_end => return Poll::Ready(error_or_end),
            }
        }
    }
}
