//! Raw requests of browsers: by DNS rebinding, from other sites, through proxies.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod common;

use common::raw::{Answer, framed, http1, http2};
use common::{TestLeader, config};
use engine::Operation;
use leader::config::{Config, Generator};
use leader::http::access::Access;
use tonic::Code;
use wire::pb;

const SUBMIT: &str = "/calculator.v1.CalculatorService/Submit";

fn strict() -> Config {
    config(Generator::Off)
}

fn with_flags() -> Config {
    let access =
        Access { hosts: vec!["calc.example".parse().unwrap()], origins: vec!["https://app.example".parse().unwrap()] };
    Config { access, ..strict() }
}

async fn submit(leader: &TestLeader, host: &str, more: &str) -> Answer {
    let body = framed(&pb::SubmitRequest::from(engine::Submission::from(Operation::Add(1))));
    let media_type = if more.contains("Content-Type") { "" } else { "\r\nContent-Type: application/grpc-web+proto" };
    let head = format!("POST {SUBMIT} HTTP/1.1\r\nHost: {host}{media_type}{more}");
    http1(leader.address, &head, &body).await
}

async fn tail(leader: &TestLeader) -> u64 {
    leader.calls_client().await.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().tail
}

const REFUSED_HOST: (Code, &str) = (Code::PermissionDenied, "HOST_NOT_ALLOWED");
const REFUSED_ORIGIN: (Code, &str) = (Code::PermissionDenied, "ORIGIN_NOT_ALLOWED");

fn refused(answer: &Answer, by: (Code, &str)) {
    assert_eq!(answer.error(), (by.0, by.1.to_owned()), "{answer:?}");
}

#[tokio::test]
async fn a_rebound_name_reaches_neither_the_page_nor_the_calls() {
    let leader = TestLeader::start(strict()).await;
    let port = leader.address.port();
    let rebound = format!("evil.example:{port}");
    for path in ["/", "/index.html", "/app.js", "/nothing", "/healthz"] {
        let metadata = if path == "/healthz" { "\r\nSec-Fetch-Site: same-origin" } else { "" };
        let answer = http1(leader.address, &format!("GET {path} HTTP/1.1\r\nHost: {rebound}{metadata}"), b"").await;
        assert_eq!(answer.http, 403, "{path}");
        assert!(answer.text().contains("`--host evil.example`"), "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    for headers in [format!("\r\nOrigin: http://{rebound}"), "\r\nSec-Fetch-Site: same-origin".to_owned()] {
        let answer = submit(&leader, &rebound, &headers).await;
        refused(&answer, REFUSED_HOST);
        assert!(answer.status().message().contains("--host evil.example"), "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/grpc-web+proto");
    }
    // HTTP/2 carries the name in the URI.
    let body = framed(&pb::SubmitRequest::from(engine::Submission::from(Operation::Add(1))));
    let headers = [("content-type", "application/grpc"), ("origin", "http://evil.example")];
    let answer = http2(leader.address, "POST", &format!("http://{rebound}{SUBMIT}"), &headers, &body).await;
    refused(&answer, REFUSED_HOST);
    let both = [headers[0], headers[1], ("host", "localhost")];
    let answer = http2(leader.address, "POST", &format!("http://{rebound}{SUBMIT}"), &both, &body).await;
    refused(&answer, REFUSED_HOST);
    let absolute = format!("GET http://{rebound}/ HTTP/1.1\r\nHost: localhost");
    assert_eq!(http1(leader.address, &absolute, b"").await.http, 403);
    assert_eq!(http1(leader.address, "GET / HTTP/1.0", b"").await.http, 403, "no Host");
    assert_eq!(tail(&leader).await, 0);
    leader.stop().await;
}

#[tokio::test]
async fn browsers_may_use_loopback_names_addresses_and_flagged_hosts_and_native_clients_any_name() {
    let leader = TestLeader::start(with_flags()).await;
    let port = leader.address.port();
    let mut done = 0;
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "LOCALHOST.".to_owned(),
        "a.localhost".to_owned(),
        "[::1]:1".to_owned(),
        "192.168.7.7".to_owned(),
        "Calc.Example".to_owned(),
    ] {
        let page = http1(leader.address, &format!("GET / HTTP/1.1\r\nHost: {host}"), b"").await;
        assert!(page.http == 200 || page.http == 503, "{host}: {page:?}");
        let headers = format!("\r\nOrigin: http://{host}\r\nSec-Fetch-Site: same-origin");
        assert_eq!(submit(&leader, &host, &headers).await.status().code(), Code::Ok, "{host}");
        done += 1;
    }
    assert_eq!(submit(&leader, "leader:8080", "").await.status().code(), Code::Ok);
    let health = http1(leader.address, "GET /healthz HTTP/1.1\r\nHost: leader", b"").await;
    assert_eq!(health.http, 200);
    assert_eq!(tail(&leader).await, done + 1);
    leader.stop().await;
}

#[tokio::test]
async fn pages_of_other_sites_cannot_call() {
    let leader = TestLeader::start(strict()).await;
    let host = leader.address.to_string();
    for site in ["cross-site", "same-site"] {
        let headers = format!("\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: {site}");
        let answer = submit(&leader, &host, &headers).await;
        refused(&answer, REFUSED_ORIGIN);
        assert!(answer.status().message().contains("--allow-origin https://evil.example"), "{answer:?}");
    }
    // Content types that a browser sends without a preflight.
    for media_type in ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"] {
        let headers = format!("\r\nOrigin: https://evil.example\r\nContent-Type: {media_type}");
        assert_eq!(submit(&leader, &host, &headers).await.http, 415, "{media_type}");
    }
    // It sends a preflight before all others.
    let answer = preflight(&leader, "https://evil.example").await;
    assert_eq!(answer.http, 403);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(tail(&leader).await, 0);
    leader.stop().await;
}

async fn preflight(leader: &TestLeader, origin: &str) -> Answer {
    let head = format!(
        "OPTIONS {SUBMIT} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type,x-grpc-web",
        leader.address
    );
    http1(leader.address, &head, b"").await
}

#[tokio::test]
async fn pages_of_allowed_sites_may_call_and_read_the_answers() {
    let leader = TestLeader::start(with_flags()).await;
    let answer = preflight(&leader, "https://app.example").await;
    assert_eq!(answer.http, 200, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    for name in ["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout"] {
        assert!(answer.header("access-control-allow-headers").contains(name), "{name}: {answer:?}");
    }
    assert!(answer.header("vary").contains("origin"), "{answer:?}");
    assert_eq!(preflight(&leader, "https://evil.example").await.http, 403);

    let cross = "\r\nOrigin: https://app.example\r\nSec-Fetch-Site: cross-site";
    let answer = submit(&leader, &leader.address.to_string(), cross).await;
    assert_eq!(answer.status().code(), Code::Ok, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert!(answer.header("vary").contains("origin"), "{answer:?}");
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(answer.header("access-control-expose-headers").contains(name), "{name}: {answer:?}");
    }
    refused(&submit(&leader, "evil.example", cross).await, REFUSED_HOST);
    leader.stop().await;
}

#[tokio::test]
async fn a_page_behind_a_proxy_that_sends_its_own_host_works() {
    let leader = TestLeader::start(strict()).await;
    let host = leader.address.to_string();
    // Browsers send fetch metadata to https and loopback addresses only, so one request is without.
    for headers in
        ["\r\nOrigin: https://public.example\r\nSec-Fetch-Site: same-origin", "\r\nOrigin: http://public.example"]
    {
        assert_eq!(submit(&leader, &host, headers).await.status().code(), Code::Ok, "{headers}");
    }
    // A proxy that passes the public name on needs the flag, and the answer says so.
    let headers = "\r\nOrigin: https://public.example\r\nSec-Fetch-Site: same-origin";
    let answer = submit(&leader, "public.example", headers).await;
    assert!(answer.status().message().contains("--host public.example"), "{answer:?}");
    leader.stop().await;
}
