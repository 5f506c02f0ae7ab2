//! Who may read and write, by token.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::raw::{http1, http2};
use common::{Follower, TestLeader, config, identity};
use engine::{Operation, Replica};
use follower::grpc::SubmitError;
use follower::{Calls, GrpcLink, Options, Token, connect_with};
use leader::config::{Config, Generator};
use leader::http::tokens::Tokens;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

const WRITES: &str = "a-token-that-may-write";
const READS: &str = "a-token-that-may-read";

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

async fn leader(write: Option<&Path>, read: Option<&Path>) -> TestLeader {
    TestLeader::start(Config { tokens: Tokens::load(write, read).unwrap(), ..config(Generator::Off) }).await
}

fn link(leader: &TestLeader, token: &str) -> GrpcLink {
    let options = Options::default();
    options.token.set(token).unwrap();
    connect_with(&leader.url(), identity("a"), &options).unwrap()
}

fn calls(leader: &TestLeader, token: &str) -> Calls {
    link(leader, token).calls()
}

async fn submits(leader: &TestLeader, token: &str) -> bool {
    match calls(leader, token).submit(Operation::Add(1)).await {
        Ok(_) => true,
        Err(SubmitError::NotAllowed(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The code and reason of a status call.
async fn status(leader: &TestLeader, authorization: Option<&str>) -> (Code, String) {
    let mut request = Request::new(pb::GetStatusRequest {});
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", MetadataValue::try_from(authorization).unwrap());
    }
    let answer = CalculatorServiceClient::new(leader.channel().await).get_status(request).await;
    let status = answer.map_or_else(|status| status, |_| tonic::Status::ok(""));
    let error = follower::CallError::from(status.clone());
    (status.code(), error.reason)
}

#[tokio::test]
async fn reading_is_open_and_writing_needs_a_token_if_there_is_a_file_for_writing() {
    let files = Files::new();
    let leader = leader(Some(&files.write("write", WRITES)), None).await;
    assert!(submits(&leader, WRITES).await);
    assert!(!submits(&leader, "").await && !submits(&leader, "a-token-that-may-writ").await);
    assert_eq!(status(&leader, None).await.0, Code::Ok);
    // A page may hold a token of earlier; it still reads.
    assert_eq!(status(&leader, Some("Bearer an-unknown-token-of-old")).await.0, Code::Ok);
    let follower = Follower::start(&leader.url(), "reader");
    follower.recorder.until_index(1).await;
}

#[tokio::test]
async fn every_call_that_changes_something_needs_the_token_and_all_others_the_one_for_reading() {
    let files = Files::new();
    let leader = leader(Some(&files.write("write", WRITES)), Some(&files.write("read", READS))).await;
    let services: prost_types::FileDescriptorSet = prost::Message::decode(wire::DESCRIPTORS).unwrap();
    let mut seen = 0;
    for (package, service) in services.file.iter().flat_map(|file| file.service.iter().map(|one| (file.package(), one)))
    {
        for method in &service.method {
            let path = format!("/{package}.{}/{}", service.name(), method.name());
            let writes = ["Submit", "ControlGenerator"].contains(&method.name());
            let only_reads = if writes { "TOKEN_ONLY_READS" } else { "" };
            let shown = [
                ("", "TOKEN_MISSING"),
                ("an-unknown-token-of-old", "TOKEN_UNKNOWN"),
                (READS, only_reads),
                (WRITES, ""),
            ];
            for (token, reason) in shown {
                assert_eq!(judge(&leader, &path, token).await, reason, "{path} with {token:?}");
            }
            seen += 1;
        }
    }
    assert!(seen > 8, "only {seen} calls were tried");
}

/// The reason for which a call is refused, if that is about its token. The body is no request of any call.
async fn judge(leader: &TestLeader, path: &str, token: &str) -> String {
    let shown = format!("Bearer {token}");
    let mut headers = vec![("content-type", "application/grpc")];
    if !token.is_empty() {
        headers.push(("authorization", &shown));
    }
    let answer = http2(leader.address, "POST", &format!("{}{path}", leader.url()), &headers, b"").await;
    let (_, reason) = answer.error();
    if reason.starts_with("TOKEN_") { reason } else { String::new() }
}

#[tokio::test]
async fn whoever_may_read_may_write_if_there_is_no_file_for_writing() {
    let files = Files::new();
    let leader = leader(None, Some(&files.write("read", READS))).await;
    assert!(submits(&leader, READS).await);
    assert!(!submits(&leader, "").await);
    assert_eq!(status(&leader, None).await, (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
}

#[tokio::test]
async fn a_header_in_another_form_is_no_token() {
    let files = Files::new();
    let leader = leader(None, Some(&files.write("read", READS))).await;
    for missing in ["", "Bearer", READS, "Basic YTpi", &format!("Bearer{READS}")] {
        assert_eq!(status(&leader, Some(missing)).await.1, "TOKEN_MISSING", "{missing:?}");
    }
    for unknown in ["Bearer ", &format!("Bearer {READS} {READS}"), &format!("Bearer x{READS}")] {
        assert_eq!(status(&leader, Some(unknown)).await.1, "TOKEN_UNKNOWN", "{unknown:?}");
    }
    for known in [&format!("bearer {READS}"), &format!("BEARER   {READS}")] {
        assert_eq!(status(&leader, Some(known)).await.0, Code::Ok, "{known:?}");
    }
}

#[tokio::test]
async fn health_and_the_page_need_no_token() {
    let files = Files::new();
    let leader = leader(None, Some(&files.write("read", READS))).await;
    for path in ["/healthz", "/healthz/write", "/"] {
        let answer = http1(leader.address, &format!("GET {path} HTTP/1.1\r\nHost: localhost"), b"").await;
        assert_eq!(answer.http, 200, "{path}");
    }
}

#[tokio::test]
async fn a_replica_without_the_token_is_told_and_follows_once_it_has_one() {
    let files = Files::new();
    let leader = leader(None, Some(&files.write("read", READS))).await;
    let token = Token::default();
    let options = Options { token: token.clone(), ..Options::default() };
    let link = connect_with(&leader.url(), identity("late"), &options).unwrap();
    let follower = Follower::start_with(Replica::new(1), link);
    let told = |failure: &String| failure.contains("needs a token");
    follower.recorder.until("it is told", |record| record.failures.iter().any(told)).await;
    token.set(READS).unwrap();
    follower.recorder.until_live().await;
}

#[tokio::test]
async fn a_changed_file_is_in_force_within_seconds_and_a_broken_one_changes_nothing() {
    const NEW: &str = "another-token-that-may-write";
    let files = Files::new();
    let file = files.write("write", WRITES);
    let leader = leader(Some(&file), None).await;
    std::fs::write(&file, "short").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(submits(&leader, WRITES).await);
    // Both are known while clients change from one to the other.
    std::fs::write(&file, format!("{WRITES}\n\n  {NEW}\r\n")).unwrap();
    let changed = async {
        while !submits(&leader, NEW).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
    assert!(submits(&leader, WRITES).await);
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_line_and_without_its_contents() {
    let files = Files::new();
    let long = "x".repeat(513);
    for (text, problem) in [
        ("", "holds no token"),
        (" \n\n", "holds no token"),
        ("short", "line 1 is not a token"),
        ("a-token-that-is-right\nwith a space in it", "line 2 is not a token"),
        (&long, "line 1 is not a token"),
    ] {
        let file = files.write("file", text);
        let error = Tokens::load(Some(&file), None).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains(&*file.to_string_lossy()), "{error}");
        assert!(text.trim().is_empty() || !error.contains(text.trim()), "{error}");
    }
    let missing = Tokens::load(None, Some(&files.directory.path().join("none"))).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
}
