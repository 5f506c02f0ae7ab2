//! Readers whose host vanishes: a network namespace whose link is taken down.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leader::config::Generator;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

use crate::common::{PATIENCE, TestLeader};
use crate::reports::impatient;

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "CALCULATOR_TEST_INSIDE_A_NETWORK";

/// Runs the named test again in a new network namespace, with root's rights there. With user namespaces, every user may
/// create one. Without them, only root may.
fn run_inside(test: &str) {
    let this = std::env::current_exe().unwrap();
    let mut errors = Vec::new();
    for options in [&["--user", "--map-root-user", "--net"][..], &["--net"]] {
        let works = Command::new("unshare").args(options).args(["ip", "link", "set", "lo", "up"]).output();
        let works = works.expect("this test needs `unshare` of the package util-linux");
        if !works.status.success() {
            errors.push(String::from_utf8_lossy(&works.stderr).into_owned());
            continue;
        }
        let mut inside = Command::new("unshare");
        inside.args(options).arg(&this).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
        assert!(inside.status().unwrap().success(), "the test failed inside the namespace; see above");
        return;
    }
    panic!(
        "this test creates network namespaces, which needs `ip` of the package iproute2, and user namespaces or root: \
         {errors:?}"
    );
}

/// A host at the other end of a link.
struct Host {
    /// A process that keeps the namespace alive.
    holder: Child,
}

impl Host {
    const LEADER: &str = "10.77.0.1";

    /// Creates the host and the link to it. This side gets the address [`Host::LEADER`].
    fn connect() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo up && exec sleep 120"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        holder.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        let host = Self { holder };
        let id = host.holder.id().to_string();
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &id]);
        run("ip", &["address", "add", &format!("{}/24", Self::LEADER), "dev", "near"]);
        run("ip", &["link", "set", "near", "up"]);
        host.inside(&["ip", "address", "add", "10.77.0.2/24", "dev", "far"]);
        host.inside(&["ip", "link", "set", "far", "up"]);
        host
    }

    fn inside(&self, command: &[&str]) {
        let id = self.holder.id().to_string();
        run("nsenter", &[&["--target", &id, "--net"], command].concat());
    }

    fn dial(&self, address: SocketAddr) -> TcpStream {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        // Uses a new thread, because a thread cannot return from the namespace once it has joined it.
        let dialing = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpStream::connect_timeout(&address, PATIENCE).unwrap()
        });
        dialing.join().unwrap()
    }

    fn vanish(&self) {
        self.inside(&["ip", "link", "set", "far", "down"]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("this test needs `{program}`: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A browser's subscription over HTTP/1.1.
const BROWSER: &[u8] = b"POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nHost: 10.77.0.1\r\n\
    Content-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";

#[tokio::test]
async fn streams_and_sockets_of_a_vanished_host_end() {
    if std::env::var_os(INSIDE).is_none() {
        run_inside("network::streams_and_sockets_of_a_vanished_host_end");
        return;
    }
    let host = Host::connect();
    let address = SocketAddr::new(Host::LEADER.parse().unwrap(), 0);
    let leader = TestLeader::start_on(address, impatient(Generator::Rate(2_000))).await;
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let mut subscribers = async || client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().subscribers;

    // One subscriber that reads, one that reads nothing, so that its window closes, and two on one HTTP/2 connection, which
    // their library reads.
    let mut reading = host.dial(leader.address);
    let mut unread = host.dial(leader.address);
    reading.write_all(BROWSER).unwrap();
    unread.write_all(BROWSER).unwrap();
    let mut also_reading = reading.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut also_reading, &mut std::io::sink()));
    let http2 = host.dial(leader.address);
    http2.set_nonblocking(true).unwrap();
    let mut http2 = Some(tokio::net::TcpStream::from_std(http2).unwrap());
    let endpoint = tonic::transport::Endpoint::from_shared(leader.url()).unwrap();
    let connector = tower::service_fn(move |_| {
        let stream = http2.take().map(hyper_util::rt::TokioIo::new).ok_or(std::io::ErrorKind::NotConnected);
        std::future::ready(stream.map_err(std::io::Error::from))
    });
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let request = pb::SubscribeRequest::default();
        streams.push(CalculatorServiceClient::new(channel.clone()).subscribe(request).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(subscribers().await, 4, "a stream ended while its host was there");

    host.vanish();
    let start = Instant::now();
    while subscribers().await > 0 {
        assert!(start.elapsed() < PATIENCE, "{} are still counted", subscribers().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = start.elapsed();
    println!("gone after {took:?}");
    assert!(took > Duration::from_secs(3), "{took:?} is too early: the link may come back");
    assert!(took < Duration::from_secs(12), "{took:?}");
    // The system has closed their sockets too.
    let left = || {
        let sockets = Command::new("ss").args(["-Htn", "state", "established", "dst", "10.77.0.2"]).output();
        String::from_utf8(sockets.expect("this test needs `ss` of the package iproute2").stdout).unwrap()
    };
    while !left().is_empty() {
        assert!(start.elapsed() < PATIENCE, "connections to the host are still open:\n{}", left());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    leader.stop().await;
}
