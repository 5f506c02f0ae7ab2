//! Counts calls, and writes those that fail to the log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use prost::Message;
use sequencer::metrics::seconds;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::{info, warn};

use crate::rpc::edge::Form;

/// Names a request, in the request and in its answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client.
const MAX_ID: usize = 64;

/// How many failed calls are written to the log in a second. The metrics count all.
const LOGGED_A_SECOND: u64 = 50;

/// Counts calls. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    answered: Family<Vec<(&'static str, String)>, Counter>,
    refused: Family<Vec<(&'static str, String)>, Counter>,
    submits: Histogram,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `package.Service/Method` of every call that there is. All others count as one.
    known: BTreeSet<String>,
    /// The first part of the ids that are given out.
    run: u32,
    given: AtomicU64,
    logged: Throttle,
}

impl Calls {
    pub(super) fn new() -> Self {
        let shared =
            Shared { known: known_calls(), run: rand::random(), given: AtomicU64::new(0), logged: Throttle::new() };
        Self {
            answered: Family::default(),
            refused: Family::default(),
            submits: Histogram::new(seconds()),
            shared: Arc::new(shared),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Calls, by the code with which the answer began. Streams begin with OK";
        registry.register("calls", help, self.answered.clone());
        registry.register("refusals", "Calls that were refused, by reason", self.refused.clone());
        let help = "Time from the arrival of a Submit until its answer";
        registry.register("submit_duration_seconds", help, self.submits.clone());
    }

    fn count(&self, path: &str, headers: &HeaderMap, took: Duration) -> Option<(Status, String)> {
        let path = path.trim_start_matches('/');
        let method = if self.shared.known.contains(path) { path } else { "other" };
        if method.ends_with("/Submit") {
            self.submits.observe(took.as_secs_f64());
        }
        let status = Status::from_header_map(headers).filter(|status| status.code() != Code::Ok);
        let code = status.as_ref().map_or(Code::Ok, Status::code);
        self.answered.get_or_create(&vec![("method", method.to_owned()), ("code", name(code))]).inc();
        let status = status?;
        // Reasons are ours: a call that has one was refused by this program.
        let reason = status.get_details_error_info().map_or_else(|| "NONE".to_owned(), |info| info.reason);
        self.refused.get_or_create(&vec![("reason", reason.clone())]).inc();
        Some((status, reason))
    }
}

/// Counts a request if it is a call, gives it an id, and writes it to the log if it fails.
pub(crate) async fn observe(State(calls): State<Calls>, mut request: Request, next: Next) -> Response {
    if Form::of_request(request.headers()).is_none() {
        return next.run(request).await;
    }
    let began = Instant::now();
    let id = calls.shared.id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some((status, reason)) = calls.count(&path, response.headers(), began.elapsed())
        && let Some(not_logged) = calls.shared.logged.take(Instant::now())
    {
        let (code, message) = (status.code(), status.message());
        let request = id.to_str().unwrap_or_default();
        let not_logged = (not_logged > 0).then_some(not_logged);
        match code {
            Code::Internal | Code::DataLoss | Code::Unknown | Code::Unavailable => {
                warn!(request, path, ?code, reason, not_logged, "a call failed: {message}");
            }
            _ => info!(request, path, ?code, reason, not_logged, "a call was refused: {message}"),
        }
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

impl Shared {
    /// The client's id of a request, or a new one.
    fn id(&self, headers: &HeaderMap) -> HeaderValue {
        let usable =
            |id: &&HeaderValue| (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
        headers.get(REQUEST_ID).filter(usable).cloned().unwrap_or_else(|| {
            let id = format!("{:08x}-{}", self.run, self.given.fetch_add(1, Ordering::Relaxed));
            HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static(""))
        })
    }
}

/// `package.Service/Method` of every call in our own descriptors.
fn known_calls() -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(wire::DESCRIPTORS).unwrap_or_default().file;
    let services = files.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
    let calls = services.flat_map(|(package, service)| {
        service.method.iter().map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
    });
    calls.collect()
}

/// The code's name, as other servers of gRPC give it to Prometheus.
fn name(code: Code) -> String {
    if code == Code::Ok { "OK".to_owned() } else { format!("{code:?}") }
}

/// Lets [`LOGGED_A_SECOND`] through in each second, and counts the others.
#[derive(Debug)]
struct Throttle {
    began: Instant,
    /// The second, since the beginning, in the upper half; how many came in it in the lower half.
    state: AtomicU64,
    stopped: AtomicU64,
}

impl Throttle {
    fn new() -> Self {
        Self { began: Instant::now(), state: AtomicU64::new(0), stopped: AtomicU64::new(0) }
    }

    /// How many were stopped since the last that was let through; `None` if this one is stopped.
    fn take(&self, now: Instant) -> Option<u64> {
        let second = now.saturating_duration_since(self.began).as_secs() << 32;
        let next = |state: u64| Some(if state >> 32 == second >> 32 { state + 1 } else { second + 1 });
        let before = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        let count = next(before).unwrap_or_default() & u64::from(u32::MAX);
        if count > LOGGED_A_SECOND {
            self.stopped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.stopped.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_failed_calls_a_second_are_logged_and_the_next_line_says_how_many_were_not() {
        let throttle = Throttle::new();
        let second = |number: u64| throttle.began + Duration::from_secs(number);
        for _ in 0..LOGGED_A_SECOND {
            assert_eq!(throttle.take(second(3)), Some(0));
        }
        assert_eq!((throttle.take(second(3)), throttle.take(second(3))), (None, None));
        assert_eq!((throttle.take(second(4)), throttle.take(second(4))), (Some(2), Some(0)));
    }

    #[test]
    fn a_clients_id_is_kept_if_it_fits_on_a_line_and_others_get_one_each() {
        let calls = Calls::new();
        let id = |sent: &[u8]| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(sent).unwrap())]);
            calls.shared.id(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(id(b"a-1"), "a-1");
        let long = vec![b'x'; MAX_ID + 1];
        let made = [
            id(b""),
            id(b"a b"),
            id("ä".as_bytes()),
            id(&long),
            calls.shared.id(&HeaderMap::new()).to_str().unwrap().to_owned(),
        ];
        let different: BTreeSet<_> = made.iter().collect();
        assert_eq!(different.len(), made.len(), "{made:?}");
        assert!(made.iter().all(|id| id.starts_with(&format!("{:08x}-", calls.shared.run))), "{made:?}");
    }

    #[test]
    fn calls_that_do_not_exist_count_as_one() {
        let calls = Calls::new();
        for path in ["/calculator.v1.CalculatorService/Submit", "/nobody/Knows", "/other/Unknown", "/"] {
            calls.count(path, &HeaderMap::new(), Duration::ZERO);
        }
        let counted = |method: &str| {
            calls.answered.get_or_create(&vec![("method", method.to_owned()), ("code", "OK".to_owned())]).get()
        };
        assert_eq!((counted("calculator.v1.CalculatorService/Submit"), counted("other")), (1, 3));
        assert!(calls.shared.known.contains("grpc.health.v1.Health/Check") || calls.shared.known.len() >= 9);
    }
}
