//! The page and native replicas behind real proxies. They get nothing but heartbeats for longer than the proxies' timeouts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

use std::net::SocketAddr;
use std::time::Duration;

use e2e::browser::{Browser, PATIENCE};
use e2e::process::{Leader, ReplicaProcess};
use e2e::proxy::{Proxy, TIMEOUT_SECONDS};
use engine::Operation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const IDLE: Duration = Duration::from_secs(2 * TIMEOUT_SECONDS as u64 + 2);

/// The replica's lines of the type `kind`.
fn lines_of_type(replica: &ReplicaProcess, kind: &str) -> Vec<serde_json::Value> {
    let lines = replica.program.lines();
    let objects = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    objects.filter(|line| line["type"] == kind).collect()
}

#[tokio::test]
async fn native_replicas_stay_live_behind_nginx_and_haproxy() {
    let leader = Leader::start(&["--no-generator"]).await.unwrap();
    let nginx = Proxy::nginx(leader.address).await.unwrap();
    let haproxy = Proxy::haproxy(leader.address).await.unwrap();
    let [_, below_http2] = nginx.below.unwrap();
    let ways = [
        ("grpc_pass", format!("http://{}", nginx.http2)),
        ("grpc_pass below a path", format!("http://{below_http2}/calc")),
        ("haproxy", format!("http://{}", haproxy.http2)),
    ];
    let replicas: Vec<_> = ways.iter().map(|(way, url)| (way, ReplicaProcess::start(url, way).unwrap())).collect();
    for (way, replica) in &replicas {
        replica.program.wait_for(|line| line.contains("\"live\"").then_some(())).await.expect(way);
    }
    tokio::time::sleep(IDLE).await;
    // Operations take the same routes.
    for (way, url) in &ways {
        let calls = follower::connect(url, Default::default()).unwrap().calls();
        calls.submit(Operation::Add(1)).await.unwrap_or_else(|error| panic!("{way}: {error}"));
    }
    for (way, replica) in &replicas {
        replica.wait_for_index(3).await.unwrap_or_else(|error| panic!("{way}: {error}"));
        for trouble in ["link_failed", "link_lost", "silent", "no_welcome", "goodbye"] {
            assert_eq!(lines_of_type(replica, trouble), Vec::<serde_json::Value>::new(), "{way}");
        }
        assert_eq!(lines_of_type(replica, "welcome").len(), 1, "{way}: the replica connected more than once");
    }
}

#[tokio::test]
async fn the_page_stays_live_behind_nginxs_defaults_below_a_path_and_behind_haproxy() {
    let leader = Leader::start(&["--no-generator"]).await.unwrap();
    let nginx = Proxy::nginx(leader.address).await.unwrap();
    let haproxy = Proxy::haproxy(leader.address).await.unwrap();
    let [below_http, _] = nginx.below.unwrap();
    let ways = [
        ("a bare proxy_pass", format!("http://{}/", nginx.http)),
        ("proxy_pass below a path", format!("http://{below_http}/calc/?x=1#y")),
        ("a file below a path", format!("http://{below_http}/calc/index.html")),
        ("haproxy", format!("http://{}/", haproxy.http)),
    ];
    let browser = Browser::start(1_000, 900).await.unwrap();
    let checked: anyhow::Result<()> = async {
        let mut tabs = Vec::new();
        for (way, url) in &ways {
            tabs.push(browser.open_another(url, false).await?);
            let live = browser.wait_for_value("state", |state| state == "live").await;
            live.map_err(|error| error.context(format!("never live behind {way}")))?;
            browser.run("window.seen = []; setInterval(() => seen.push(document.querySelector('[data-testid=\"state\"]')?.dataset.value), 50)").await?;
        }
        tokio::time::sleep(IDLE).await;
        for (number, ((way, _), tab)) in (1..).zip(ways.iter().zip(&tabs)) {
            browser.switch_to(tab).await?;
            let states = browser.run("return [...new Set(seen)].join()").await?;
            anyhow::ensure!(states == "live", "behind {way} the page was {states}");
            browser.type_into("op-arg", "1").await?;
            browser.click("key-add").await?;
            let done = browser.wait_for_value("value", |value| value == number.to_string()).await;
            done.map_err(|error| error.context(format!("an operation from behind {way}")))?;
        }
        Ok(())
    }
    .await;
    browser.close().await.unwrap();
    checked.unwrap();
}

/// The answer to `GET /` with this `Host`.
async fn page(address: SocketAddr, host: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_proxy_that_passes_on_its_name_needs_the_flag_host_and_says_so() {
    let strict = Leader::start(&["--no-generator"]).await.unwrap();
    let nginx = Proxy::nginx(strict.address).await.unwrap();
    let haproxy = Proxy::haproxy(strict.address).await.unwrap();
    assert!(page(nginx.http, "calc.example").await.starts_with("HTTP/1.1 200"), "nginx puts in the leader's address");
    for (way, address) in [("nginx", nginx.keeps_host), ("haproxy", haproxy.keeps_host)] {
        let refusal = page(address, "calc.example").await;
        assert!(refusal.starts_with("HTTP/1.1 403") && refusal.contains("--host calc.example"), "{way}: {refusal}");
    }
    let named = Leader::start(&["--no-generator", "--host", "calc.example"]).await.unwrap();
    let nginx = Proxy::nginx(named.address).await.unwrap();
    let haproxy = Proxy::haproxy(named.address).await.unwrap();
    for (way, address) in [("nginx", nginx.keeps_host), ("haproxy", haproxy.keeps_host)] {
        let page = page(address, "calc.example").await;
        assert!(page.starts_with("HTTP/1.1 200"), "{way}: {page}");
    }
}
