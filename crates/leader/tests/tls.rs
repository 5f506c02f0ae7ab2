//! TLS: who is served, what each side verifies, and files that change.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::certificates::Authority;
use common::{Follower, PATIENCE, TestLeader, config, identity};
use engine::replica::Notice;
use engine::{Operation, Replica};
use follower::{Calls, Options, Tls, connect_with};
use leader::config::{Config, Generator};
use leader::http::limits::Limits;
use leader::http::listen::Listen;
use leader::http::port::Ports;
use leader::http::tls::TlsFiles;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Longer than the leader takes to see a changed file.
const SEES_CHANGES: Duration = Duration::from_secs(10);

async fn leader(files: TlsFiles) -> TestLeader {
    leader_with(config(Generator::Off), &["127.0.0.1:0"], files).await
}

async fn leader_with(config: Config, listen: &[&str], files: TlsFiles) -> TestLeader {
    let listen: Vec<Listen> = listen.iter().map(|listen| listen.parse().unwrap()).collect();
    TestLeader::start_on_ports(Ports::bind(&listen, Some(files), None).await.unwrap(), config)
}

fn link(leader: SocketAddr, tls: Tls) -> follower::GrpcLink {
    let options = Options { tls, ..Options::default() };
    connect_with(&format!("https://{leader}"), identity("secure"), &options).unwrap()
}

fn trusting(authority: &Authority) -> Tls {
    Tls::default().trust(&authority.ca()).unwrap()
}

fn calls(leader: SocketAddr, tls: Tls) -> Calls {
    link(leader, tls).calls()
}

/// A TLS connection as a browser makes it.
async fn browser(
    leader: SocketAddr,
    authority: &Authority,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(leader).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn certificate(leader: SocketAddr, authority: &Authority) -> Vec<u8> {
    let connection = browser(leader, authority, &[]).await.unwrap();
    connection.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// What a client of cleartext HTTP/1.1 reads until the leader closes.
async fn cleartext(leader: SocketAddr) -> String {
    let mut connection = TcpStream::connect(leader).await.unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, connection.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_replica_that_trusts_the_authority_follows_and_calls() {
    let authority = Authority::new();
    let leader = leader(authority.certify("leader")).await;
    let follower = Follower::start_with(Replica::new(1), link(leader.address, trusting(&authority)));
    let event = calls(leader.address, trusting(&authority)).submit(Operation::Add(5)).await.unwrap();
    follower.recorder.until_index(event.index.0).await;
    assert_eq!(follower.recorder.read(|record| record.now.unwrap().value()), 5);
    leader.stop().await;
}

#[tokio::test]
async fn a_replica_says_why_it_does_not_trust_the_leader() {
    let authority = Authority::new();
    let leader = leader(authority.certify("leader")).await;
    let follower = Follower::start_with(Replica::new(1), link(leader.address, trusting(&Authority::new())));
    let untrusted = |failure: &String| failure.contains("invalid peer certificate");
    follower.recorder.until("the certificate is refused", |record| record.failures.iter().any(untrusted)).await;
    let error = calls(leader.address, trusting(&Authority::new())).submit(Operation::Add(5)).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn browsers_get_one_multiplexed_connection_and_old_clients_http_1() {
    let authority = Authority::new();
    let leader = leader(authority.certify("leader")).await;
    let modern = browser(leader.address, &authority, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(modern.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(modern).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("https://{}/healthz", leader.address)).body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);

    let mut old = browser(leader.address, &authority, &["http/1.1"]).await.unwrap();
    old.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn a_client_without_tls_is_told_to_use_https_and_a_port_of_its_own_serves_it() {
    let authority = Authority::new();
    let listen = ["127.0.0.1:0", "http://127.0.0.1:0"];
    let leader = leader_with(config(Generator::Off), &listen, authority.certify("leader")).await;
    let refused = cleartext(leader.address).await;
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("use https://"), "{refused}");
    let served = cleartext(leader.others[0]).await;
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_are_served() {
    let (leaders, clients) = (Authority::new(), Authority::new());
    let files = TlsFiles { client_ca: Some(clients.ca()), ..leaders.certify("leader") };
    let leader = leader(files).await;
    let with = |files: TlsFiles| trusting(&leaders).identify(&files.certificate, &files.key).unwrap();
    calls(leader.address, with(clients.certify("replica"))).submit(Operation::Add(1)).await.unwrap();
    for refused in [trusting(&leaders), with(Authority::new().certify("stranger"))] {
        let error = calls(leader.address, refused).submit(Operation::Add(1)).await.unwrap_err();
        assert!(error.to_string().contains("alert: "), "{error}");
    }
}

#[tokio::test]
async fn changed_files_serve_new_connections_and_broken_ones_change_nothing() {
    let authority = Authority::new();
    let files = authority.certify("leader");
    let leader = leader(files.clone()).await;
    let follower = Follower::start_with(Replica::new(1), link(leader.address, trusting(&authority)));
    follower.recorder.until_live().await;
    let first = certificate(leader.address, &authority).await;

    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(certificate(leader.address, &authority).await, first);

    authority.write(&files.certificate, &files.key);
    let changed = async {
        while certificate(leader.address, &authority).await == first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SEES_CHANGES, changed).await.unwrap();
    let event = calls(leader.address, trusting(&authority)).submit(Operation::Add(5)).await.unwrap();
    follower.recorder.until_index(event.index.0).await;
    assert_eq!(follower.recorder.count(|notice| matches!(notice, Notice::Welcomed(_))), 1, "the old connection lives");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_and_does_not_delay_the_end() {
    let authority = Authority::new();
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let config = Config { limits, ..config(Generator::Off) };
    let leader = leader_with(config, &["127.0.0.1:0"], authority.certify("leader")).await;
    // Nothing, and the beginning of a record.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut connection = TcpStream::connect(leader.address).await.unwrap();
        connection.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(3), connection.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection is open after {sent:?}");
    }
    let _half = TcpStream::connect(leader.address).await.unwrap();
    assert!(leader.stop().await < Duration::from_secs(2));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_the_problem() {
    let authority = Authority::new();
    let (good, other) = (authority.certify("leader"), authority.certify("other"));
    let empty = good.certificate.with_file_name("empty");
    std::fs::write(&empty, "").unwrap();
    let missing = Path::new("/nowhere/leader.pem").to_owned();
    for (files, named, problem) in [
        (TlsFiles { certificate: missing.clone(), ..good.clone() }, &missing, "cannot be read: No such file"),
        (TlsFiles { key: missing.clone(), ..good.clone() }, &missing, "cannot be read: No such file"),
        (TlsFiles { certificate: empty.clone(), ..good.clone() }, &empty, "holds no certificate"),
        (TlsFiles { certificate: good.key.clone(), ..good.clone() }, &good.key, "holds no certificate"),
        (TlsFiles { key: good.certificate.clone(), ..good.clone() }, &good.certificate, "holds no private key"),
        (TlsFiles { key: other.key.clone(), ..good.clone() }, &other.key, "does not fit the certificate"),
        (TlsFiles { client_ca: Some(empty.clone()), ..good.clone() }, &empty, "holds no certificate"),
    ] {
        let listen = ["127.0.0.1:0".parse().unwrap()];
        let error = Ports::bind(&listen, Some(files), None).await.unwrap_err().to_string();
        assert!(error.contains(&named.display().to_string()) && error.contains(problem), "{error}");
    }
    let replicas = [
        Tls::default().trust(&missing).unwrap_err(),
        Tls::default().trust(&empty).unwrap_err(),
        Tls::default().trust(&good.key).unwrap_err(),
        Tls::default().identify(&good.certificate, &empty).unwrap_err(),
    ];
    let problems = ["cannot be read", "holds no certificate", "holds no certificate", "holds no private key"];
    for (error, problem) in replicas.iter().zip(problems) {
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn ports_that_contradict_the_certificate_are_refused() {
    let authority = Authority::new();
    for (listen, files, problem) in [
        ("https://127.0.0.1:0", None, "needs --tls-cert"),
        ("http://127.0.0.1:0", Some(authority.certify("leader")), "--tls-cert has no use"),
    ] {
        let error = Ports::bind(&[listen.parse().unwrap()], files, None).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
