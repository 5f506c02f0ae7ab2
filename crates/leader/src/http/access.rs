//! Decides which requests of browsers are answered.
//!
//! Any page that a person opens can send requests to every address that the browser reaches, this leader's included. Two
//! rules keep such pages out:
//!
//! - The *host* rule: the browser must call the leader by a name that no other site can have. Otherwise a site whose name
//!   resolves to this machine (DNS rebinding) would count as the leader's own page.
//! - The *origin* rule: calls from pages of other sites are refused. Browsers reveal such calls: they send a preflight,
//!   because gRPC's content types need one, and name the page's site in `Sec-Fetch-Site`.
//!
//! `Origin` is not compared with `Host`: behind a proxy that sets its own `Host`, they differ for the leader's own page.
//!
//! The rules apply to browsers only. Other programs run no code of pages.

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

/// The headers that a page of an allowed site may send and read.
const ALLOWED_HEADERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-request-id"),
    header::CONTENT_TYPE,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("grpc-timeout"),
];
const EXPOSED_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// How many characters of a name or origin an error message repeats.
const SHOWN: usize = 100;

/// A name under which browsers may call the leader, beside the loopback names and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// The text is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("give only the name, such as calc.example.com, without http://, port or path")]
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

/// The text is not an origin.
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
        // Browsers omit the scheme's default port.
        let port = authority.strip_prefix(host).filter(|port| *port != default_port).unwrap_or_default();
        HeaderValue::from_str(&format!("{scheme}://{host}{port}")).map(Self).map_err(|_| InvalidOrigin)
    }
}

/// What the operator allows beside the defaults.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Names of the leader.
    pub hosts: Vec<HostName>,
    /// Sites whose pages may call.
    pub origins: Vec<Origin>,
}

/// Why a browser is not answered, and the flag that allows it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// The request names no host, or not a valid one.
    #[error("the request names no valid host, which this leader requires from browsers")]
    NoHost,
    /// The request uses a host name that another site could own.
    #[error(
        "this leader does not answer browsers under the name {0:?}, because another site could own that name. If it is a \
         name of this leader, start it with `--host {0}`; or open it by its IP address or as localhost"
    )]
    Host(String),
    /// The call comes from a page of another site.
    #[error(
        "this leader does not answer pages of other sites, such as {0}. To allow this site, start the leader with \
         `--allow-origin {0}`"
    )]
    Origin(String),
    /// The call comes from a page without an origin, such as a file or a sandboxed frame.
    #[error("this leader does not answer pages that send no origin; open the leader's own page instead")]
    NoOrigin,
}

impl Access {
    /// Judges a request. A request for the page always counts as a browser's.
    ///
    /// # Errors
    ///
    /// [`Denial`] if the request is a browser's and breaks a rule.
    pub fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap, for_page: bool) -> Result<(), Denial> {
        let fetch_metadata = |name: &HeaderName| name.as_str().starts_with("sec-fetch-");
        if !for_page && !headers.contains_key(header::ORIGIN) && !headers.keys().any(fetch_metadata) {
            return Ok(());
        }
        self.judge_host(uri, headers)?;
        // GET and HEAD change nothing, and links on other sites may lead to the page.
        if method == Method::GET || method == Method::HEAD { Ok(()) } else { self.judge_origin(method, headers) }
    }

    /// HTTP/2 and proxies may name the host in the URI, in a header, or in both. Each must be a name of this leader.
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

    /// Whether `host` is a name of this leader. Addresses and loopback names always are: no other site can own them.
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
        // The leader's own page never sends a preflight, and its calls are same-origin.
        let preflight = method == Method::OPTIONS;
        let foreign = |site: &HeaderValue| *site != "same-origin" && *site != "none";
        if several || preflight || headers.get_all("sec-fetch-site").iter().any(foreign) {
            let origin = origin.and_then(|origin| origin.to_str().ok()).map(shown);
            // Names the origin only if `--allow-origin` would accept it.
            let named = origin.filter(|origin| origin.parse::<Origin>().is_ok());
            return Err(named.map_or(Denial::NoOrigin, Denial::Origin));
        }
        Ok(())
    }

    /// The CORS headers for the allowed sites; `None` if there are none.
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
    /// Answers a call with a status, and any other request with a page.
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

/// Refuses requests that break a rule of [`Access`].
pub(crate) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    judged(&access, request, next, false).await
}

/// The same as [`guard`], for routes of the page.
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

/// The normalised host in `host[:port]`. `None` if the host is empty or the text has other parts.
fn host_of(authority: &str) -> Option<String> {
    let parsed: Authority = authority.parse().ok()?;
    let host = parsed.host();
    let port = authority.strip_prefix(host)?;
    let port_is_one =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let host = normal(host);
    (port_is_one && !host.is_empty()).then_some(host)
}

/// The lower-case host without a dot at its end, which names the same host.
fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A part of a request, made safe for a message.
fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(SHOWN).collect()
}

#[cfg(test)]
#[path = "access/tests.rs"]
mod tests;
