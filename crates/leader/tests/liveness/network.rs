//! Readers whose host vanishes without a word: a network of their own, whose cable is pulled.

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

/// Set for the process that runs inside.
const INSIDE: &str = "CALCULATOR_TEST_INSIDE_A_NETWORK";

/// Runs the named test again, in a network namespace of its own where it may do what root may. With a user namespace
/// anybody may have one; where those are not allowed, root may.
fn run_inside(test: &str) {
    let this = std::env::current_exe().unwrap();
    let mut said = Vec::new();
    for options in [&["--user", "--map-root-user", "--net"][..], &["--net"]] {
        let works = Command::new("unshare").args(options).args(["ip", "link", "set", "lo", "up"]).output();
        let works = works.expect("the program `unshare` of the package util-linux is needed");
        if !works.status.success() {
            said.push(String::from_utf8_lossy(&works.stderr).into_owned());
            continue;
        }
        let mut inside = Command::new("unshare");
        inside.args(options).arg(&this).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
        assert!(inside.status().unwrap().success(), "see above");
        return;
    }
    panic!(
        "this test makes networks of its own, for which it needs `ip` of the package iproute2, and user namespaces or to be \
         root: {said:?}"
    );
}

/// A host at the other end of a cable.
struct Host {
    /// Keeps the namespace.
    holder: Child,
}

impl Host {
    const LEADER: &str = "10.77.0.1";

    /// This side gets the address [`Host::LEADER`].
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

    /// A connection from the host to here.
    fn dial(&self, address: SocketAddr) -> TcpStream {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        // A thread of its own, because it does not come back.
        let dialing = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpStream::connect_timeout(&address, PATIENCE).unwrap()
        });
        dialing.join().unwrap()
    }

    /// From here on it hears and says nothing.
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
    let output = output.unwrap_or_else(|error| panic!("`{program}` is needed: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A subscription over HTTP/1.1, as a browser makes it.
const BROWSER: &[u8] = b"POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nHost: 10.77.0.1\r\n\
    Content-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";

#[tokio::test]
async fn subscribers_whose_host_vanishes_are_gone_and_so_is_their_memory() {
    if std::env::var_os(INSIDE).is_none() {
        run_inside("network::subscribers_whose_host_vanishes_are_gone_and_so_is_their_memory");
        return;
    }
    let host = Host::connect();
    let address = SocketAddr::new(Host::LEADER.parse().unwrap(), 0);
    let leader = TestLeader::start_on(address, impatient(Generator::Rate(2_000))).await;
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let mut subscribers = async || client.get_status(pb::GetStatusRequest {}).await.unwrap().into_inner().subscribers;

    // One that reads until the end, one that has read nothing so that its window is closed, and two over one HTTP/2
    // connection that their library reads.
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
    assert_eq!(subscribers().await, 4, "all are there while their host is");

    host.vanish();
    let start = Instant::now();
    while subscribers().await > 0 {
        assert!(start.elapsed() < PATIENCE, "{} are still counted", subscribers().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = start.elapsed();
    println!("gone after {took:?}");
    assert!(took > Duration::from_secs(3), "{took:?} may be a hiccup");
    assert!(took < Duration::from_secs(12), "{took:?}");
    // The system holds nothing for them either.
    let left = || {
        let sockets = Command::new("ss").args(["-Htn", "state", "established", "dst", "10.77.0.2"]).output();
        String::from_utf8(sockets.expect("`ss` of the package iproute2 is needed").stdout).unwrap()
    };
    while !left().is_empty() {
        assert!(start.elapsed() < PATIENCE, "connections to the host are still open:\n{}", left());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    leader.stop().await;
}
