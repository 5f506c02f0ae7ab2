//! The page, embedded into the binary.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use rust_embed::{EmbeddedFile, RustEmbed};
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::http::access::{Access, guard_page};
use crate::rpc::edge::no_such_service;

/// The output of `cargo xtask web`. A debug build reads the files from the folder at each request.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// Allows scripts and connections of our own origin only. WebAssembly needs `wasm-unsafe-eval`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
);

const NOT_BUILT: &str = "This binary was built without the page. Run `cargo xtask web` and build the leader again.\n";

/// Serves the page and its files, compressed. Only static files are compressed: a stream would be compressed once for each
/// subscriber. Requests that match no other route also arrive here.
pub(super) fn router(access: Arc<Access>) -> Router {
    let constant = SetResponseHeaderLayer::overriding;
    let layers = ServiceBuilder::new()
        .layer(CompressionLayer::new())
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
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    match Dist::get(path) {
        Some(file) => file_response(file, &request),
        None if path == "index.html" => (StatusCode::SERVICE_UNAVAILABLE, NOT_BUILT).into_response(),
        None => (StatusCode::NOT_FOUND, "There is nothing here. The page is at /.\n").into_response(),
    }
}

/// The file, or "not modified" if the browser has it. File names stay the same, so browsers must ask each time.
fn file_response(file: EmbeddedFile, request: &HeaderMap) -> Response {
    let tag: String = file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // A weak tag, because compression changes the bytes but not the contents.
    let tag = format!("W/\"{tag}\"");
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    let known = request.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = [(header::CONTENT_TYPE, file.metadata.mimetype().to_owned())];
    (caching, kind, file.data).into_response()
}
