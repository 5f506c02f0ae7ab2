//! Which requests of browsers are answered.
//!
//! Any page that a person opens can send requests to any address that the person's browser reaches, this leader's among
//! them. Two rules keep such pages out. Under the *host* rule a browser is answered only if it calls the leader by a name
//! that no other site can have: a site whose name leads to this machine (DNS rebinding) would otherwise count as the
//! leader's own page. Under the *origin* rule a call from the page of another site is refused. Browsers announce such a
//! call twice: they ask for permission first, because no gRPC content type is one that a page may send without, and say
//! in `Sec-Fetch-Site` where the page is from.
//!
//! `Origin` and `Host` are not compared: behind a proxy that puts in a `Host` of its own they differ for the leader's own
//! page.
//!
//! Programs other than browsers are not concerned: they do not run what strangers wrote.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri};
use thiserror::Error;
use tonic::Code;
use tower_http::cors::CorsLayer;
use wire::status::status;

use crate::rpc::edge::Form;

/// What a page of another site may send, and read, if it is allowed to call.
const ALLOWED_HEADERS: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("grpc-timeout"),
];
const EXPOSED_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// How much of a name or origin is repeated in a refusal.
const SHOWN: usize = 100;

/// A name under which browsers may call the leader, beside the loopback names and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// A text that is not a host's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("give the name alone, such as calc.example.com, without http://, port or path")]
pub struct InvalidHostName;

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = normal(text);
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(valid) { Err(InvalidHostName) } else { Ok(Self(name)) }
    }
}

/// A site whose pages may call the leader: its scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// A text that is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("give what browsers send as Origin, such as https://example.com or http://127.0.0.1:3000, without a path")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_end_matches('/').to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(InvalidOrigin),
        };
        let parsed: Authority = authority.parse().map_err(|_| InvalidOrigin)?;
        let host = parsed.host();
        if host.is_empty() || authority.contains('@') {
            return Err(InvalidOrigin);
        }
        // Browsers leave the scheme's own port out.
        let port = authority.strip_prefix(host).filter(|port| *port != default_port).unwrap_or_default();
        HeaderValue::from_str(&format!("{scheme}://{host}{port}")).map(Self).map_err(|_| InvalidOrigin)
    }
}

/// What the operator allows beside what is always allowed.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Names of the leader.
    pub hosts: Vec<HostName>,
    /// Sites whose pages may call.
    pub origins: Vec<Origin>,
}

/// Why a browser is not answered, and which flag changes it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// It does not say which host it calls, or not clearly.
    #[error("the request does not name a host that can be understood, which this leader needs to know from a browser")]
    NoHost,
    /// It calls the leader by a name that anybody could have.
    #[error(
        "this leader does not answer browsers under the name {0:?}, because another site could have led them here. If \
         it is a name of this leader, start it with `--host {0}`; or open it under its IP address or as localhost"
    )]
    Host(String),
    /// The page that calls is of another site.
    #[error(
        "this leader does not answer pages of other sites, such as {0}. If they may call it, start it with \
         `--allow-origin {0}`"
    )]
    Origin(String),
    /// The page that calls is of a site that it does not name, as one in a file or a sandbox.
    #[error("this leader does not answer pages that do not say which site they are from; open its own page instead")]
    NoOrigin,
}

impl Access {
    /// Judges a request. One for the page is a browser's, whatever it says.
    ///
    /// # Errors
    ///
    /// [`Denial`] if it is a browser's and must not be answered.
    pub fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap, for_page: bool) -> Result<(), Denial> {
        let fetch_metadata = |name: &HeaderName| name.as_str().starts_with("sec-fetch-");
        if !for_page && !headers.contains_key(header::ORIGIN) && !headers.keys().any(fetch_metadata) {
            return Ok(());
        }
        self.judge_host(uri, headers)?;
        // Nothing happens on GET and HEAD, and a link on another site may lead to the page.
        if method == Method::GET || method == Method::HEAD { Ok(()) } else { self.judge_origin(method, headers) }
    }

    /// HTTP/2 and proxies may name the host in the URI, and in a header as well: all have to be names of this leader.
    fn judge_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Denial> {
        let in_uri = uri.authority().map(|authority| Ok(authority.as_str()));
        let in_headers = headers.get_all(header::HOST).iter().map(HeaderValue::to_str);
        let mut named = false;
        for authority in in_uri.into_iter().chain(in_headers) {
            let host = authority.ok().and_then(host_of).ok_or(Denial::NoHost)?;
            if !self.is_own(&host) {
                let host = shown(&host);
                return Err(if host.parse::<HostName>().is_ok() { Denial::Host(host) } else { Denial::NoHost });
            }
            named = true;
        }
        if named { Ok(()) } else { Err(Denial::NoHost) }
    }

    /// No other site can have a loopback name or lead a name to be an address.
    fn is_own(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || host.parse::<Ipv4Addr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.hosts.iter().any(|own| own.0 == host)
    }

    fn judge_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Denial> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next();
        let several = origins.next().is_some();
        if !several && origin.is_some_and(|origin| self.origins.iter().any(|allowed| allowed.0 == *origin)) {
            return Ok(());
        }
        // The leader's own page never asks for permission, and its calls come from the same origin.
        let asks = method == Method::OPTIONS;
        let foreign = |site: &HeaderValue| *site != "same-origin" && *site != "none";
        if several || asks || headers.get_all("sec-fetch-site").iter().any(foreign) {
            let origin = origin.and_then(|origin| origin.to_str().ok()).map(shown);
            // Only one that the flag takes is worth naming.
            let named = origin.filter(|origin| origin.parse::<Origin>().is_ok());
            return Err(named.map_or(Denial::NoOrigin, Denial::Origin));
        }
        Ok(())
    }

    /// Tells browsers what the allowed sites may do; nothing if there are none.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        if self.origins.is_empty() {
            return None;
        }
        let origins: Vec<_> = self.origins.iter().map(|origin| origin.0.clone()).collect();
        let layer = CorsLayer::new().allow_origin(origins).allow_methods([Method::POST]);
        Some(layer.allow_headers(ALLOWED_HEADERS).expose_headers(EXPOSED_HEADERS))
    }
}

impl Denial {
    /// A status to a call, a page to everything else.
    fn answer(&self, form: Option<Form>) -> Response {
        if let Some(form) = form {
            let (reason, metadata) = match self {
                Self::NoHost => ("HOST_NOT_ALLOWED", vec![]),
                Self::Host(host) => ("HOST_NOT_ALLOWED", vec![("host", host.clone())]),
                Self::Origin(origin) => ("ORIGIN_NOT_ALLOWED", vec![("origin", origin.clone())]),
                Self::NoOrigin => ("ORIGIN_NOT_ALLOWED", vec![]),
            };
            return form.answer(status(Code::PermissionDenied, reason, &metadata, &self.to_string()));
        }
        let text = format!("Not allowed: {self}.\n");
        let headers =
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
        (StatusCode::FORBIDDEN, headers, text).into_response()
    }
}

/// Refuses what [`Access`] refuses.
pub(crate) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    judged(&access, request, next, false).await
}

/// Refuses what [`Access`] refuses of requests for the page.
pub(crate) async fn guard_page(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let for_page = request.method() == Method::GET || request.method() == Method::HEAD;
    judged(&access, request, next, for_page).await
}

async fn judged(access: &Access, request: Request, next: Next, for_page: bool) -> Response {
    match access.judge(request.method(), request.uri(), request.headers(), for_page) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.answer(Form::of_request(request.headers())),
    }
}

/// The host in `host[:port]`, in its normal form. `None` if it is empty or there is more.
fn host_of(authority: &str) -> Option<String> {
    let parsed: Authority = authority.parse().ok()?;
    let host = parsed.host();
    let port = authority.strip_prefix(host)?;
    let port_is_one =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let host = normal(host);
    (port_is_one && !host.is_empty()).then_some(host)
}

/// Names mean the same in any case, and with a dot at the end.
fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A part of a request as it may stand in a text.
fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(SHOWN).collect()
}

#[cfg(test)]
#[path = "access/tests.rs"]
mod tests;
