//! The peer of a connection: what it has sent so far, and whether its host still answers.

use std::future::Future;
use std::io;
use std::net::IpAddr;
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

use crate::http::client::TrustedProxies;
use crate::http::limits::Limits;
use crate::http::readers::Place;
use crate::http::tcp;
use crate::rpc::edge::Form;

tokio::task_local! {
    /// Cuts the call that this task runs. Over HTTP/1.1, which has one call at a time, it cuts the connection.
    static CUT: Arc<Notify>;
}

/// The peer of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    limits: Limits,
    /// Weak, so that the connection closes when its owner drops it.
    socket: Weak<TcpStream>,
    /// Cuts the connection.
    cut: Arc<Notify>,
    /// Set when a call was cut. The reader of one dead stream most likely reads no other, so the connection is cut after its
    /// last call.
    suspect: AtomicBool,
    /// A std lock: held for a few assignments, or a system call that does not block.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Calls in progress. A call ends with the last byte of its answer.
    calls: usize,
    /// When the connection was accepted, or its last call ended.
    idle_since: Instant,
    /// When the first byte of the current head arrived. For the first head, when the connection was accepted.
    head_since: Option<Instant>,
    /// Known from the first call on. Before it, every byte counts as part of a head.
    version: Option<Version>,
    /// Since when bytes have waited for an acknowledgment.
    awaited_since: Option<Instant>,
    unacknowledged: Duration,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Keep it, and judge it again at this time.
    Keep(Instant),
    /// Ask it to close: it is idle or its head is late.
    Close,
    /// Cut it: its host is gone.
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

    /// Runs `serving` until it ends or the connection is cut; returns `None` if it was cut.
    pub(crate) async fn until_cut<F: Future>(&self, serving: F) -> Option<F::Output> {
        cuttable(Arc::clone(&self.cut), serving).await
    }

    /// Decides what to do with the connection now.
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
        // Over HTTP/2, bytes outside a call may also be pings or settings.
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a future until it ends or `cut` is notified; returns `None` if it was cut.
async fn cuttable<F: Future>(cut: Arc<Notify>, future: F) -> Option<F::Output> {
    let notified = Arc::clone(&cut);
    CUT.scope(cut, async move {
        tokio::select! {
            biased;
            () = notified.notified() => None,
            done = future => Some(done),
        }
    })
    .await
}

/// Runs each call of an HTTP/2 connection as a task that can be cut at any await, even while the call waits for its reader's
/// window and polls nothing else.
#[derive(Clone, Debug)]
pub(crate) struct CallTasks(pub(crate) Arc<Place>);

impl<F> hyper::rt::Executor<F> for CallTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, call: F) {
        // Boxed, because what may be cut takes its own size several times.
        self.0.spawn(cuttable(Arc::default(), Box::pin(call)));
    }
}

/// A call in progress.
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

/// Counts a call until it is dropped.
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

/// Serves a connection's calls: counts them, bounds the time for their bodies, and adds a [`Caller`] to each request.
#[derive(Clone)]
pub(crate) struct Calls<S> {
    pub(crate) app: S,
    pub(crate) peer: Arc<Peer>,
    pub(crate) place: Arc<Place>,
    pub(crate) whose: Whose,
}

/// Whose calls a connection carries.
#[derive(Clone, Debug)]
pub(crate) struct Whose {
    /// The connection's other end.
    pub(crate) address: IpAddr,
    pub(crate) proxies: TrustedProxies,
}

// Not tower's trait: hyper-util's adapter calls it only inside the call's task, when it is too late to choose its threads.
impl<S, B> hyper::service::Service<Request<B>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        // hyper spawns the call's task after this, by `CallTasks`.
        self.place.called(request.uri().path());
        let (app, peer) = (self.app.clone(), Arc::clone(&self.peer));
        let under_way = UnderWay::new(Arc::clone(&peer), request.version());
        let deadline = Instant::now() + peer.limits.body;
        let form = Form::of_request(request.headers());
        let client = self.whose.proxies.client(self.whose.address, request.headers());
        Box::pin(async move {
            let late = Arc::new(AtomicBool::new(false));
            let body_of = |body| Body::new(TimelyBody { body, deadline, timer: None, late: Arc::clone(&late) });
            let mut request = request.map(body_of);
            request.extensions_mut().insert(client);
            if let Ok(cut) = CUT.try_with(Arc::clone) {
                request.extensions_mut().insert(Caller(Arc::new(Call { peer, cut })));
            }
            let mut response = app.oneshot(request).await?;
            if let (true, Some(form)) = (late.load(Ordering::Relaxed), form) {
                // Layers in between may have turned the error into another answer.
                response = form.answer(late_body());
            }
            Ok(response.map(|body| Body::new(CountedBody { body, _under_way: under_way })))
        })
    }
}

/// A request's body that fails if it arrives too late.
struct TimelyBody<B> {
    body: B,
    deadline: Instant,
    /// `None` until needed: most bodies arrive with their heads.
    timer: Option<Pin<Box<Sleep>>>,
    /// Set when the body was late.
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
    let message = "the request's body did not arrive in time";
    status(Code::DeadlineExceeded, "REQUEST_TOO_SLOW", &[], message)
}

/// An answer's body. Its call is in progress until it is dropped.
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

/// Reads and writes a connection. It shares the socket with [`Peer`].
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
