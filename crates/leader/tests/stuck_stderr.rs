//! The program when its log lines cannot be written or are not read.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::pipe::{fcntl_setpipe_size, pipe};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

type Client = CalculatorServiceClient<Channel>;

/// The time limit for each step. A worker that hangs never finishes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Enough lines to fill the smallest pipe several times.
const STREAMS: usize = 200;

struct Leader {
    process: Child,
    address: SocketAddr,
}

impl Leader {
    /// Starts the program with `stderr`. The test picks the port, because the program cannot report one.
    async fn start(mut command: Command, stderr: Stdio) -> Self {
        let address = free_address();
        let arguments = ["--listen", &address.to_string(), "--ephemeral", "--no-generator"];
        let process = command.args(arguments).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let mut leader = Self { process, address };
        let deadline = Instant::now() + PATIENCE;
        while !leader.is_healthy().await {
            if let Some(status) = leader.process.try_wait().unwrap() {
                panic!("the leader ended: {status}");
            }
            assert!(Instant::now() < deadline, "the leader does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        leader
    }

    async fn is_healthy(&self) -> bool {
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await.ok()?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            Some(answer.starts_with("HTTP/1.1 200"))
        };
        tokio::time::timeout(PATIENCE / 4, asked).await.ok().flatten().unwrap_or(false)
    }

    async fn client(&self) -> Client {
        let channel = Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        CalculatorServiceClient::new(channel)
    }

    /// Sends SIGTERM, and returns the exit status and how long the end took.
    async fn terminate(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status, asked.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("SIGTERM does not end the leader");
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // Fails if the leader has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Picks a port below the range for outgoing connections.
fn free_address() -> SocketAddr {
    let mut tried = (0..100).map(|_| SocketAddr::from(([127, 0, 0, 1], rand::random_range(20_000..32_000))));
    tried.find(|address| std::net::TcpListener::bind(address).is_ok()).unwrap()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_calculator-leader"))
}

fn small_pipe() -> (File, Stdio) {
    let (reader, writer) = pipe().unwrap();
    fcntl_setpipe_size(&writer, 4096).unwrap();
    (reader.into(), writer.into())
}

async fn subscribe(mut client: Client, number: usize) -> Streaming<pb::SubscribeResponse> {
    let name = format!("{number:064}");
    let replica = pb::Replica { id: number.to_string(), name, kind: pb::ReplicaKind::Native.into() };
    let request = pb::SubscribeRequest { replica: Some(replica), resume_from: None, ..Default::default() };
    let mut stream = client.subscribe(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    stream
}

/// Makes the leader log more than a pipe holds, and then checks that it commits, streams and ends.
async fn serves_and_ends(leader: Leader) {
    let client = leader.client().await;
    let work = async {
        let mut streams = Vec::new();
        for number in 0..STREAMS {
            streams.push(subscribe(client.clone(), number).await);
        }
        let operation = pb::Operation { kind: Some(pb::operation::Kind::Add(7)) };
        let request = pb::SubmitRequest { operation: Some(operation), ..Default::default() };
        assert_eq!(client.clone().submit(request).await.unwrap().into_inner().value, 7);
        for stream in &mut streams {
            let committed = |frame: pb::SubscribeResponse| {
                matches!(frame.frame, Some(pb::subscribe_response::Frame::Batch(_))).then_some(())
            };
            while committed(stream.message().await.unwrap().unwrap()).is_none() {}
        }
        assert!(leader.is_healthy().await);
        streams
    };
    let streams = tokio::time::timeout(PATIENCE, work).await.expect("the leader hangs");
    let (status, took) = leader.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(streams);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stderr_that_nobody_reads_stops_nothing() {
    let (reader, stderr) = small_pipe();
    serves_and_ends(Leader::start(program(), stderr).await).await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_behind_stderr_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    serves_and_ends(Leader::start(program(), full.into()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stderr_whose_reader_went_away_stops_nothing() {
    let (reader, stderr) = small_pipe();
    drop(reader);
    serves_and_ends(Leader::start(program(), stderr).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_stderr_stops_nothing() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2>&-", env!("CARGO_BIN_EXE_calculator-leader")]);
    serves_and_ends(Leader::start(shell, Stdio::inherit()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_lines_are_counted_and_reported_when_there_is_room() {
    let (mut reader, stderr) = small_pipe();
    let mut command = program();
    // Each HTTP/2 frame logs a line, so a call logs some ten KiB.
    command.env("RUST_LOG", "trace");
    let leader = Leader::start(command, stderr).await;
    let client = leader.client().await;
    for number in 0..STREAMS * 2 {
        subscribe(client.clone(), number).await;
    }
    let reading = std::thread::spawn(move || {
        let mut log = Vec::new();
        reader.read_to_end(&mut log).unwrap();
        String::from_utf8(log).unwrap()
    });
    let (status, took) = leader.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let log = reading.join().unwrap();
    let line = log.lines().find(|line| line.contains("log lines were dropped")).expect("no line reports the drop");
    let dropped: u64 = line.split("dropped=").nth(1).unwrap().trim().parse().unwrap();
    assert!(dropped > 0, "{line}");
    assert!(log.contains("saying goodbye"), "lines after the reader came back are missing");
}
