//! The other end of a connection: what it has done so far, and whether it is still there.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::roster::{Caller, Line};
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Frame, SizeHint};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Sleep;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};
use wire::status::status;

use crate::http::limits::Limits;
use crate::http::readers::Place;
use crate::http::tcp;
use crate::rpc::edge::Form;

tokio::task_local! {
    /// What cuts the call whose task this is; on an HTTP/1.1 connection, which has one call at a time, the connection.
    static CUT: Arc<Notify>;
}

/// The other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    limits: Limits,
    /// Only borrowed, to look at: the connection closes when its owner drops it.
    socket: Weak<TcpStream>,
    /// Cuts the connection.
    cut: Arc<Notify>,
    /// A call was cut. Where one is dead the others most likely are, so the connection ends with the last of them.
    suspect: AtomicBool,
    /// A std lock: held for a few assignments, or a system call that does not wait.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Calls under way, until the last byte of their answers is taken.
    calls: usize,
    /// When it was accepted, and later when the last call ended.
    idle_since: Instant,
    /// The first byte since then, on a connection that can only be about to make a call.
    head_since: Option<Instant>,
    /// Until the first call, whatever arrives counts as the beginning of its head.
    version: Option<Version>,
    /// Since when something waits for an acknowledgment, without any.
    awaited_since: Option<Instant>,
    unacknowledged: Duration,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Nothing, and to look again at that time.
    Keep(Instant),
    /// Nothing is under way: ask it to end.
    Close,
    /// Its host is gone.
    Cut,
}

impl Peer {
    pub(crate) fn new(socket: &Arc<TcpStream>, limits: Limits) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            calls: 0,
            idle_since: now,
            head_since: Some(now),
            version: None,
            awaited_since: None,
            unacknowledged: Duration::ZERO,
        };
        Arc::new(Self {
            limits,
            socket: Arc::downgrade(socket),
            cut: Arc::default(),
            suspect: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// Runs what serves the connection, until something cuts it. Returns `None` then.
    pub(crate) async fn until_cut<F: Future>(&self, serving: F) -> Option<F::Output> {
        cuttable(Arc::clone(&self.cut), serving).await
    }

    /// Looks how things stand.
    pub(crate) fn judge(&self) -> Judgement {
        self.look();
        let state = self.state();
        let now = Instant::now();
        if state.calls > 0 {
            if state.unacknowledged >= self.limits.streams.silent {
                return Judgement::Cut;
            }
        } else {
            let head = state.head_since.map(|since| since + self.limits.head);
            let idle = state.idle_since + self.limits.idle;
            if head.is_some_and(|deadline| deadline <= now) || idle <= now {
                return Judgement::Close;
            }
        }
        drop(state);
        let soon = self.limits.head.min(self.limits.idle).min(self.limits.streams.silent) / 6;
        Judgement::Keep(now + soon)
    }

    fn heard(&self) {
        let mut state = self.state();
        // Over HTTP/2 there is more than heads: whoever holds an idle connection open may answer pings.
        if state.calls == 0 && state.version != Some(Version::HTTP_2) {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    fn look(&self) {
        let Some(answers) = self.socket.upgrade().and_then(|socket| tcp::answers(&socket)) else { return };
        let now = Instant::now();
        let mut state = self.state();
        state.unacknowledged = if answers.awaited {
            let since = *state.awaited_since.get_or_insert(now);
            answers.last.min(now.saturating_duration_since(since))
        } else {
            state.awaited_since = None;
            Duration::ZERO
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a future with what cuts it; returns `None` when it was cut.
async fn cuttable<F: Future>(cut: Arc<Notify>, future: F) -> Option<F::Output> {
    let told = Arc::clone(&cut);
    CUT.scope(cut, async move {
        tokio::select! {
            biased;
            () = told.notified() => None,
            done = future => Some(done),
        }
    })
    .await
}

/// Runs each call of an HTTP/2 connection as a task of its own that can be cut, whatever it waits for: one that waits for
/// its reader's window is asked nothing otherwise.
#[derive(Clone, Debug)]
pub(crate) struct CallTasks(pub(crate) Arc<Place>);

impl<F> hyper::rt::Executor<F> for CallTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, call: F) {
        self.0.spawn(cuttable(Arc::default(), call));
    }
}

/// A call under way.
#[derive(Debug)]
struct Call {
    peer: Arc<Peer>,
    cut: Arc<Notify>,
}

impl Line for Call {
    fn look(&self) {
        self.peer.look();
    }

    fn unacknowledged(&self) -> Duration {
        self.peer.state().unacknowledged
    }

    fn cut(&self) {
        self.peer.suspect.store(true, Ordering::Relaxed);
        self.cut.notify_one();
    }
}

/// Counts a call for as long as it lives.
struct UnderWay(Arc<Peer>);

impl UnderWay {
    fn new(peer: Arc<Peer>, version: Version) -> Self {
        let mut state = peer.state();
        state.calls += 1;
        state.head_since = None;
        state.version = Some(version);
        drop(state);
        Self(peer)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.calls = state.calls.saturating_sub(1);
        if state.calls == 0 {
            state.idle_since = Instant::now();
            if self.0.suspect.load(Ordering::Relaxed) {
                self.0.cut.notify_one();
            }
        }
    }
}

/// Serves a connection's calls: counts them, bounds their requests in time, and tells streams whom they serve.
#[derive(Clone)]
pub(crate) struct Calls<S> {
    pub(crate) app: S,
    pub(crate) peer: Arc<Peer>,
    pub(crate) place: Arc<Place>,
}

// Not tower's trait: hyper-util's adapter gets to know of a call only in the call's own task, which is somewhere by then.
impl<S, B> hyper::service::Service<Request<B>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        // hyper spawns the call's task after this.
        self.place.called(request.uri().path());
        let (app, peer) = (self.app.clone(), Arc::clone(&self.peer));
        let under_way = UnderWay::new(Arc::clone(&peer), request.version());
        let deadline = Instant::now() + peer.limits.body;
        let form = Form::of_request(request.headers());
        Box::pin(async move {
            let late = Arc::new(AtomicBool::new(false));
            let body_of = |body| Body::new(TimelyBody { body, deadline, timer: None, late: Arc::clone(&late) });
            let mut request = request.map(body_of);
            if let Ok(cut) = CUT.try_with(Arc::clone) {
                request.extensions_mut().insert(Caller(Arc::new(Call { peer, cut })));
            }
            let mut response = app.oneshot(request).await?;
            if let (true, Some(form)) = (late.load(Ordering::Relaxed), form) {
                // Layers in between have made something else of it.
                response = form.answer(late_body());
            }
            Ok(response.map(|body| Body::new(CountedBody { body, _under_way: under_way })))
        })
    }
}

/// A request's body, which fails if it does not arrive in time.
struct TimelyBody<B> {
    body: B,
    deadline: Instant,
    /// Most bodies arrive with their heads and need none.
    timer: Option<Pin<Box<Sleep>>>,
    /// Set when it failed.
    late: Arc<AtomicBool>,
}

impl<B> http_body::Body for TimelyBody<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = self.deadline;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        ready!(timer.as_mut().poll(context));
        self.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(late_body().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn late_body() -> Status {
    let message = "the request did not arrive in time: its head came, but not all of its body";
    status(Code::DeadlineExceeded, "REQUEST_TOO_SLOW", &[], message)
}

/// An answer's body, during which its call is under way.
struct CountedBody {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's bytes. The socket is shared so that [`Peer`] can look at it.
pub(crate) struct PeerIo {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) peer: Arc<Peer>,
}

impl AsyncRead for PeerIo {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match self.socket.try_read_buf(buffer) {
                Ok(read) => {
                    if read > 0 {
                        self.peer.heard();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl PeerIo {
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match send(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |socket| socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Write))
    }
}
