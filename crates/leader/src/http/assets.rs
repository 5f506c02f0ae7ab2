//! The page, embedded into the binary in two compressed forms.
//!
//! They were compressed when the page was built. The plain form is larger than both together and hardly anybody wants it, so
//! it is made from the other one when somebody does.

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use rust_embed::{EmbeddedFile, RustEmbed};
use tower::ServiceBuilder;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::http::access::{Access, guard_page};
use crate::rpc::edge::no_such_service;

/// The output of `cargo xtask web`. A debug build reads the files from the folder at each request.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// Allows scripts, styles and connections of our own origin only, and none inside the page's text. WebAssembly needs
/// `wasm-unsafe-eval`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
     object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
);

const INDEX: &str = "index.html";
const NOT_BUILT: &str = "This binary was built without the page. Run `cargo xtask web` and build the leader again.\n";
const NOT_FOUND: &str = "There is nothing here. The page is at /.\n";
const OUTDATED: &str = "This file belongs to another version of the page. Reload the page.\n";

/// For names that change with the contents.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Serves the page and its files. Requests that match no other route also arrive here.
pub(super) fn router(access: Arc<Access>) -> Router {
    let constant = SetResponseHeaderLayer::overriding;
    let layers = ServiceBuilder::new()
        .layer(constant(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(constant(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(constant(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")));
    Router::new()
        .fallback(serve)
        .layer(layers)
        .layer(from_fn(no_such_service))
        .layer(from_fn_with_state(access, guard_page))
}

async fn serve(method: Method, uri: Uri, request: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let name = match uri.path().trim_start_matches('/') {
        "" => INDEX,
        name => name,
    };
    let forms = Dist::get(&format!("{name}.br")).zip(Dist::get(&format!("{name}.gz")));
    match forms {
        Some((brotli, gzip)) => file_response(name, brotli, gzip, &request),
        None if name == INDEX => (StatusCode::SERVICE_UNAVAILABLE, NOT_BUILT).into_response(),
        None if is_hashed(name) => (StatusCode::NOT_FOUND, OUTDATED).into_response(),
        None => (StatusCode::NOT_FOUND, NOT_FOUND).into_response(),
    }
}

/// The file in the form that the client accepts, or "not modified" if the browser has it.
fn file_response(name: &str, brotli: EmbeddedFile, gzip: EmbeddedFile, request: &HeaderMap) -> Response {
    let tag: String = gzip.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // A weak tag, because it is the same for all forms.
    let tag = format!("W/\"{tag}\"");
    let cache = if is_hashed(name) { FOREVER } else { "no-cache" };
    let caching = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, cache), (header::VARY, "accept-encoding")];
    let known = request.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = [(header::CONTENT_TYPE, media_type(name))];
    match Form::accepted(request) {
        Some(Form::Brotli) => (caching, kind, [(header::CONTENT_ENCODING, "br")], brotli.data).into_response(),
        Some(Form::Gzip) => (caching, kind, [(header::CONTENT_ENCODING, "gzip")], gzip.data).into_response(),
        Some(Form::Plain) => match inflate(&gzip.data) {
            Ok(plain) => (caching, kind, plain).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        },
        None => {
            (StatusCode::NOT_ACCEPTABLE, caching, "The page has the forms br, gzip and identity.\n").into_response()
        }
    }
}

fn inflate(gzip: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut plain)?;
    Ok(plain)
}

/// How a file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Brotli,
    Gzip,
    Plain,
}

impl Form {
    /// The smallest of those that the client likes best; `None` if it accepts none. A client that says nothing, or nothing
    /// that can be understood, gets the plain form.
    fn accepted(request: &HeaderMap) -> Option<Self> {
        let mut lines =
            request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok()).peekable();
        if lines.peek().is_none() {
            return Some(Self::Plain);
        }
        let accepted: Vec<(&str, u16)> = lines.flat_map(|line| line.split(',')).filter_map(coding).collect();
        let weight = |name: &str| {
            let of =
                |name| accepted.iter().find(|(coding, _)| coding.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight);
            of(name).or_else(|| of("*"))
        };
        // The plain form is accepted unless it is refused, but liked least.
        let forms =
            [(Self::Plain, weight("identity").or(Some(1))), (Self::Gzip, weight("gzip")), (Self::Brotli, weight("br"))];
        let liked = forms.into_iter().filter_map(|(form, weight)| Some((form, weight.filter(|weight| *weight > 0)?)));
        // Of those that are liked equally, the last.
        liked.max_by_key(|(_, weight)| *weight).map(|(form, _)| form)
    }
}

/// A coding and its weight in thousandths: `gzip;q=0.8`. Without a weight it is 1.
fn coding(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))) {
        Some(weight) => weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?,
        None => 1.0_f32,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1,000")]
    Some((name, (weight * 1_000.0).round() as u16))
}

/// Whether the name has 16 hexadecimal digits of the contents' hash: `web.0123456789abcdef.js`.
fn is_hashed(name: &str) -> bool {
    name.split('.').any(|part| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        // Browsers compile it while it arrives only under this name.
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(line: &str) -> Option<Form> {
        let request = [(header::ACCEPT_ENCODING, line.parse().unwrap())];
        Form::accepted(&HeaderMap::from_iter(request))
    }

    #[test]
    fn the_smallest_form_that_the_client_accepts_is_sent() {
        for (line, form) in [
            ("gzip, deflate, br, zstd", Some(Form::Brotli)),
            ("gzip, deflate", Some(Form::Gzip)),
            ("GZIP", Some(Form::Gzip)),
            ("deflate", Some(Form::Plain)),
            ("", Some(Form::Plain)),
            ("*", Some(Form::Brotli)),
            ("identity", Some(Form::Plain)),
        ] {
            assert_eq!(accepted(line), form, "{line}");
        }
        assert_eq!(Form::accepted(&HeaderMap::new()), Some(Form::Plain));
    }

    #[test]
    fn what_the_client_likes_better_or_refuses_is_respected() {
        for (line, form) in [
            ("br;q=0.5, gzip", Some(Form::Gzip)),
            ("br; q=0.001, gzip;q=0", Some(Form::Brotli)),
            ("br;q=0, *", Some(Form::Gzip)),
            ("br;q=0, gzip;q=0", Some(Form::Plain)),
            ("gzip;q=0.5, identity", Some(Form::Plain)),
            ("*;q=0", None),
            ("identity;q=0", None),
            ("gzip;q=nonsense", Some(Form::Plain)),
        ] {
            assert_eq!(accepted(line), form, "{line}");
        }
    }

    #[test]
    fn names_with_a_hash_are_known() {
        for name in ["web.0123456789abcdef.js", "icons/a.ffffffffffffffff.svg"] {
            assert!(is_hashed(name), "{name}");
        }
        for name in ["index.html", "web.js", "web.0123.js", "web.0123456789abcdeg.js"] {
            assert!(!is_hashed(name), "{name}");
        }
    }
}
