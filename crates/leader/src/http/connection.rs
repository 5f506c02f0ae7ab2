//! Accepts, tunes and serves connections, and bounds what each may cost.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tracing::{debug, warn};

use crate::http::client::{Admitted, Client, PerClient, TrustedProxies};
use crate::http::limits::Limits;
use crate::http::listen;
use crate::http::peer::{CallTasks, Calls, Judgement, Peer, PeerIo, Whose};
use crate::http::port::{Answers, Port};
use crate::http::readers::Place;
use crate::http::tls::{self, Tls};
use crate::metrics::Connections;

/// Calls that a client may cancel before the server has handled them. With more, the connection counts as an attack.
const CANCELLED_CALLS: usize = 256;

/// Unsent bytes that may wait in the operating system. A slow link needs no more to stay busy, and bytes that wait there
/// arrive late.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;

/// Unsent bytes of one call's answer in memory, beside the span that is being sent. With less than this, the next span of a
/// subscriber is requested.
const SEND_BUFFER: usize = 64 << 10;

/// TCP keepalive for connections on which nothing waits for an acknowledgment. Together, these take as long as a stream may
/// be without progress.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TRIES: u32 = 3;

/// Serves `app` on every connection to `port` until `stopping` gives a grace time. Then waits that long for open connections
/// to end, and cuts the rest. Returns whether all ended in time. `readers` serves connections that carry streams.
pub(crate) async fn accept(
    port: Port,
    app: Router,
    admission: Admission,
    readers: Handle,
    mut stopping: watch::Receiver<Option<Duration>>,
) -> bool {
    let Port { listener, tls, answers } = port;
    let (stop, stopped) = watch::channel(());
    // The operating system's limit of open files bounds the set. Dropping it cuts the connections that are left.
    let mut connections = JoinSet::new();
    let mut failing = false;
    let grace = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    failing = false;
                    let Some(open) = admission.open(address.ip(), answers) else {
                        // Resets the connection, so that nothing of it stays in the system.
                        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                        continue;
                    };
                    let place = Place::new(readers.clone());
                    let tls = tls.as_ref().map(Tls::acceptor);
                    let serving = serve(stream, tls, app.clone(), open, Arc::clone(&place), stopped.clone());
                    // Boxed first: a future that is handed on takes its own size in each that holds it.
                    connections.spawn(move_when_it_reads(place, Box::pin(serving)));
                }
                Err(error) => {
                    // Usually too many open files, so a retry without a pause would only burn processor time.
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, "cannot accept connections: {}", listen::advice(&error));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            grace = grace(&mut stopping) => break grace,
        }
    };
    drop((listener, stop));
    let all_ended = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(grace, all_ended).await.is_ok()
}

/// Which connections are admitted.
pub(crate) struct Admission {
    pub(crate) limits: Limits,
    pub(crate) proxies: TrustedProxies,
    pub(crate) clients: PerClient,
    pub(crate) counted: Connections,
}

/// An admitted connection. It counts as open until this is dropped.
struct Open {
    limits: Limits,
    proxies: TrustedProxies,
    peer: IpAddr,
    counted: Connections,
    /// `None` for a proxy, and for an operator.
    _admitted: Option<Admitted>,
}

impl Admission {
    /// Admits a connection from `peer`, unless a limit is reached. Operators have no limit.
    fn open(&self, peer: IpAddr, answers: Answers) -> Option<Open> {
        let Self { limits, proxies, clients, counted } = self;
        let mut admitted = None;
        if answers == Answers::Everyone {
            if usize::try_from(counted.open.get()).unwrap_or_default() >= limits.connections {
                counted.refused("all");
                return None;
            }
            if !proxies.trust(peer) {
                admitted = clients.admit(Client::at(peer));
                if admitted.is_none() {
                    counted.refused("client");
                    return None;
                }
            }
        }
        counted.accepted.inc();
        counted.open.inc();
        Some(Open { limits: *limits, proxies: proxies.clone(), peer, counted: counted.clone(), _admitted: admitted })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counted.open.dec();
    }
}

/// Waits for the grace time. There is none if the server was dropped.
async fn grace(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    let stop = stopping.wait_for(Option::is_some).await;
    stop.ok().and_then(|grace| *grace).unwrap_or_default()
}

/// Serves a connection here until it opens a stream, and then on the readers.
async fn move_when_it_reads(place: Arc<Place>, mut serving: Pin<Box<impl Future<Output = ()> + Send + 'static>>) {
    tokio::select! {
        biased;
        () = &mut serving => return,
        () = place.reads() => {}
    }
    // Dropping the set cuts the connection.
    let mut moved = JoinSet::new();
    moved.spawn_on(serving, place.readers());
    moved.join_next().await;
}

/// Serves one connection until it ends. Once the sender of `stopped` is dropped, finishes the calls in progress and closes.
async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    app: Router,
    open: Open,
    place: Arc<Place>,
    mut stopped: watch::Receiver<()>,
) {
    if let Err(error) = tune(&stream) {
        debug!(%error, "cannot set socket options");
    }
    let limits = open.limits;
    let socket = Arc::new(stream);
    let peer = Peer::new(&socket, limits);
    let io = PeerIo { socket: Arc::clone(&socket), peer: Arc::clone(&peer) };
    let whose = Whose { address: open.peer, proxies: open.proxies.clone() };
    let calls = Calls { app, peer: Arc::clone(&peer), place: Arc::clone(&place), whose };
    let served = peer.until_cut(Box::pin(async {
        let io = match tls {
            None => Either::Left(io),
            Some(tls) => {
                let secured = tokio::select! {
                    // Boxed, so that a connection in cleartext does not take the room for it.
                    secured = Box::pin(tls::accept(&tls, io)) => secured.map(Box::new),
                    _ = stopped.changed() => return Some(Ok(())),
                    () = until_closing(&peer) => return None,
                };
                match secured {
                    Ok(io) => Either::Right(io),
                    Err(error) => {
                        open.counted.failed_handshakes.inc();
                        return Some(Err(error.into()));
                    }
                }
            }
        };
        serve_http(io, calls, place, &peer, limits, stopped).await
    }));
    match served.await.flatten() {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            if let Some(problem) = error.downcast_ref().and_then(problem) {
                open.counted.failed(problem);
            }
            debug!(%error, "a connection ended with an error");
        }
        None => {
            debug!("cut a connection");
            // Discards unsent bytes, which would otherwise stay in the system's memory until TCP gives up.
            let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
        }
    }
}

/// What was wrong with the requests of a connection; `None` if it only broke.
fn problem(error: &hyper::Error) -> Option<&'static str> {
    if error.is_parse_too_large() {
        Some("head_too_large")
    } else if error.is_parse() {
        Some("malformed")
    } else {
        None
    }
}

/// Waits until the connection is idle for too long, or its host is gone.
async fn until_closing(peer: &Peer) {
    while let Judgement::Keep(next) = peer.judge() {
        sleep_until(next.into()).await;
    }
}

/// Serves the calls of a connection. Returns `None` if it is to be cut.
async fn serve_http(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    calls: Calls<Router>,
    place: Arc<Place>,
    peer: &Peer,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) -> Option<Result<(), axum::BoxError>> {
    let builder = builder(place, &limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), calls));
    let (mut stopping, mut asked_to_end, mut look_at) = (false, false, Instant::now());
    loop {
        tokio::select! {
            ended = connection.as_mut() => return Some(ended),
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(look_at.into()) => match peer.judge() {
                Judgement::Keep(next) => look_at = next,
                Judgement::Close if !asked_to_end => {
                    asked_to_end = true;
                    connection.as_mut().graceful_shutdown();
                    look_at = Instant::now() + limits.closing;
                }
                Judgement::Close | Judgement::Cut => return None,
            },
        }
    }
}

fn builder(place: Arc<Place>, limits: &Limits) -> Builder<CallTasks> {
    let mut builder = Builder::new(CallTasks(place));
    // `Peer` times the heads: hyper's timeout starts only once it has recognised HTTP/1, and it also ends connections that
    // wait for their next call.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(limits.head_bytes as usize);
    builder
        .http2()
        .max_concurrent_streams(limits.calls)
        .max_pending_accept_reset_streams(CANCELLED_CALLS)
        .max_header_list_size(limits.head_bytes)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_TRIES))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use crate::rpc::subscribe::SubscribeService;
    use axum::body::Body;
    use axum::routing::post;
    use http::Request;
    use tokio::net::TcpListener;
    use tonic::transport::Channel;
    use tower::ServiceExt;

    use super::*;
    use crate::http::port::Ports;
    use crate::http::readers::Readers;

    /// How long the stream blocks its thread: longer than any other call takes.
    const BLOCKED: Duration = Duration::from_secs(5);

    async fn call(channel: &Channel, path: &str) -> http::Response<tonic::body::Body> {
        let request = Request::post(path).body(tonic::body::Body::empty()).unwrap();
        channel.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_call_is_answered_while_all_threads_for_streams_are_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (begun, mut blocking) = tokio::sync::mpsc::channel(1);
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let stream = move || async move {
            begun.send(std::thread::current().name().map(str::to_owned)).await.unwrap();
            tokio::task::yield_now().await;
            // Blocks the only thread.
            if released.lock().unwrap().recv_timeout(BLOCKED).is_ok() {
                "released"
            } else {
                "the other call was not served"
            }
        };
        let app = Router::new().route(SubscribeService::PATH, post(stream)).route("/other", post(|| async { "other" }));
        let readers = Readers::with_threads(1).unwrap();
        let (stop, stopping) = watch::channel(None);
        let port = Ports::from(listener).0.remove(0);
        let limits = Limits::default();
        let clients = PerClient::new(limits.per_client);
        let admission = Admission { limits, proxies: Default::default(), clients, counted: Default::default() };
        let accepting = tokio::spawn(accept(port, app, admission, readers.handle(), stopping));

        let connect = || Channel::from_shared(url.clone()).unwrap().connect_lazy();
        let (reading, writing) = (connect(), connect());
        let stream = tokio::spawn(async move {
            let body = Body::new(call(&reading, SubscribeService::PATH).await.into_body());
            axum::body::to_bytes(body, 100).await.unwrap()
        });
        assert_eq!(blocking.recv().await.unwrap().as_deref(), Some("readers"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(call(&writing, "/other").await.status().is_success());
        release.send(()).unwrap();
        assert_eq!(stream.await.unwrap(), "released");
        drop(writing);
        stop.send(Some(Duration::from_secs(5))).unwrap();
        assert!(accepting.await.unwrap(), "a connection had to be cut");
    }
}
