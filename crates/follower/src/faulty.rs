//! A link whose faults its user chooses, to test replicas and to show how they heal.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use engine::{Frame, Injector, Subscribe};
use futures_util::Stream;
use futures_util::task::AtomicWaker;

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
/// // The stream ends, and the replica finds no leader until the link is brought up again.
/// injector.lock().take_down();
/// injector.lock().bring_up();
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
pub struct SharedInjector(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    injector: Mutex<Injector>,
    /// Waits for the next frame of the stream.
    stream: AtomicWaker,
}

impl SharedInjector {
    /// The injector, for as long as the guard is held. No stream passes frames on meanwhile. A stream that was cut ends when
    /// the guard is dropped, also while the leader sends nothing.
    pub fn lock(&self) -> InjectorGuard<'_> {
        InjectorGuard { injector: self.injector(), stream: &self.0.stream }
    }

    fn injector(&self) -> MutexGuard<'_, Injector> {
        self.0.injector.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Exclusive access to the injector of a [`SharedInjector`].
#[derive(Debug)]
pub struct InjectorGuard<'a> {
    injector: MutexGuard<'a, Injector>,
    stream: &'a AtomicWaker,
}

impl Deref for InjectorGuard<'_> {
    type Target = Injector;

    fn deref(&self) -> &Injector {
        &self.injector
    }
}

impl DerefMut for InjectorGuard<'_> {
    fn deref_mut(&mut self) -> &mut Injector {
        &mut self.injector
    }
}

impl Drop for InjectorGuard<'_> {
    fn drop(&mut self) {
        if self.injector.is_cut() {
            self.stream.wake();
        }
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
        if self.injector.injector().is_down() {
            return Err(LinkError::CutOnPurpose);
        }
        let frames = self.link.subscribe(request, arrivals).await?;
        // If the link was taken down meanwhile, the new stream is cut as well.
        self.injector.injector().begin_stream();
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
        // Registered before the injector is looked at, so that no cut is missed in between.
        self.injector.0.stream.register(context.waker());
        loop {
            let (frame, cut) = {
                let mut injector = self.injector.injector();
                (injector.poll_frame(), injector.is_cut())
            };
            if let Some(frame) = frame {
                return Poll::Ready(Some(Ok(frame)));
            }
            if cut {
                return Poll::Ready(Some(Err(LinkError::CutOnPurpose)));
            }
            match ready!(Pin::new(&mut self.frames).poll_next(context)) {
                Some(Ok(frame)) => self.injector.injector().handle_frame(frame),
                error_or_end => return Poll::Ready(error_or_end),
            }
        }
    }
}
