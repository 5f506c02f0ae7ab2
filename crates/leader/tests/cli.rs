//! The program as started from a shell.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

fn leader(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calculator-leader")).args(arguments).output().unwrap()
}

#[test]
fn a_port_in_use_is_reported_in_one_line_with_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = leader(&["--listen", &address, "--ephemeral"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: cannot listen on") && stderr.contains("--listen"), "{stderr}");
}

#[test]
fn a_wrong_flag_is_named_with_code_2() {
    for (arguments, words) in [
        (&["--rate", "fast"][..], "--rate"),
        (&["--pace", "1s"], "a range such as 10ms..1s"),
        (&["--listen", "nowhere"], "localhost:8080"),
        (&["--listen", "localhost:http"], "localhost:8080"),
        (&["--retain", "0"], "--retain"),
        (&["--frobnicate"], "--frobnicate"),
        (&["--ephemeral", "--durability", "os"], "--durability"),
        (&["--durability", "none"], "fsync"),
        (&["--listen", "ftp://localhost:8080"], "https://"),
        (&["--tls-cert", "leader.pem"], "--tls-key"),
        (&["--tls-client-ca", "ca.pem"], "--tls-cert"),
    ] {
        let output = leader(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error:") && stderr.contains(words), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn a_directory_in_use_or_without_a_log_is_reported_in_one_line_with_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let error_of = |output: Output| {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let error = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default().to_owned();
        assert!(!stderr.contains("panicked"), "{stderr}");
        error
    };
    let missing = error_of(leader(&["verify", "--data-dir", path]));
    assert!(missing.contains("there is no log in"), "{missing}");
    let missing = error_of(leader(&["export", "--data-dir", path]));
    assert!(missing.contains("there is no log in"), "{missing}");

    let options = store::sqlite::Options {
        directory: directory.path().to_owned(),
        durability: engine::Durability::Os,
        snapshot_every: std::num::NonZeroU64::MIN,
        retain: std::num::NonZeroU64::MIN,
        retain_bytes: None,
    };
    let open = store::SqliteStore::new(options, engine::LogId(1)).open_blocking().unwrap();
    let in_use = error_of(leader(&["--listen", "127.0.0.1:0", "--data-dir", path]));
    assert!(in_use.contains("another leader") && in_use.contains("--data-dir"), "{in_use}");
    drop(open);

    let sound = leader(&["verify", "--data-dir", path]);
    assert!(sound.status.success(), "{sound:?}");
    std::fs::write(directory.path().join("log.sqlite"), "nonsense").unwrap();
    let damaged = error_of(leader(&["--listen", "127.0.0.1:0", "--data-dir", path]));
    assert!(damaged.contains("damaged at index 0") && damaged.contains("Restore"), "{damaged}");
}

#[test]
fn tokens_that_other_machines_could_read_on_their_way_are_refused_with_the_ways_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    std::fs::write(&file, "a-token-that-may-write").unwrap();
    let output = leader(&["--listen", "0.0.0.0:0", "--ephemeral", "--write-token-file", file.to_str().unwrap()]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for words in ["error: tokens would travel in cleartext to 0.0.0.0:", "--tls-cert", "--tls-ends-at-proxy"] {
        assert!(stderr.contains(words), "{stderr}");
    }
    let mut behind_a_proxy = Command::new(env!("CARGO_BIN_EXE_calculator-leader"));
    behind_a_proxy
        .args(["--listen", "0.0.0.0:0", "--ephemeral", "--tls-ends-at-proxy", "--write-token-file"])
        .arg(&file);
    Running::start(&mut behind_a_proxy).line("leading");
    let mut local = program();
    local.args(["127.0.0.1:0", "--write-token-file"]).arg(&file);
    Running::start(&mut local).line("leading");
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start_in_one_line() {
    for flags in [
        &["--write-token-file", "/nowhere"][..],
        &["--read-token-file", "/nowhere"],
        &["--tls-cert", "/nowhere", "--tls-key", "/nowhere"],
    ] {
        let output = leader(&[&["--listen", "127.0.0.1:0", "--ephemeral"], flags].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: /nowhere: cannot be read: No such file"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

/// A leader and its log lines. Dropping it kills the leader.
struct Running {
    process: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        Self { process, log }
    }

    /// Waits for the next log line that contains `words`.
    fn line(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the leader ended without {words:?}");
        }
        line.trim_end_matches('\n').to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if the leader has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calculator-leader"));
    command.args(["--ephemeral", "--no-generator", "--listen"]);
    command
}

#[test]
fn the_leader_listens_on_host_names_and_bare_ports_and_logs_the_pages_address() {
    for listen in ["localhost:0", ":0", "0"] {
        let mut leader = Running::start(program().arg(listen));
        let line = leader.line("leading");
        let word = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
        let address: std::net::SocketAddr = word("listen=").parse().unwrap();
        assert!(address.ip().is_loopback(), "{line}");
        assert_eq!(word("page="), format!("http://{address}"));
    }
}

#[test]
fn health_tells_a_leader_that_serves_from_one_that_is_gone() {
    let mut running = Running::start(program().arg(":0"));
    let line = running.line("leading");
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("listen=")).unwrap();
    let port = address.rsplit(':').next().unwrap();
    for flags in [&["--address", address][..], &["--write", "--address", address], &["--address", port]] {
        let healthy = leader(&[&["health"], flags].concat());
        assert!(healthy.status.success() && healthy.stdout == b"ok\n", "{healthy:?}");
    }
    let mut as_in_a_container = Command::new(env!("CARGO_BIN_EXE_calculator-leader"));
    as_in_a_container.arg("health").env("CALCULATOR_LISTEN", format!("0.0.0.0:{port}"));
    assert!(as_in_a_container.status().unwrap().success());

    running.signal(Signal::KILL);
    running.process.wait().unwrap();
    let gone = leader(&["health", "--address", address]);
    let stderr = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr.starts_with(&format!("error: the leader on {address} does not answer: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_hangup_ends_the_leader_in_order_unless_it_is_ignored() {
    let mut leader = Running::start(program().arg(":0"));
    leader.line("leading");
    leader.signal(Signal::HUP);
    leader.line("saying goodbye");
    assert_eq!(leader.process.wait().unwrap().code(), Some(0));

    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" --ephemeral --listen :0", env!("CARGO_BIN_EXE_calculator-leader")]);
    let mut leader = Running::start(&mut nohup);
    leader.line("leading");
    leader.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(100));
    leader.signal(Signal::TERM);
    leader.line("SIGTERM");
    assert_eq!(leader.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_low_limit_of_open_files_is_named() {
    for limit in ["8", "16", "32"] {
        let output = Command::new("sh")
            .args(["-c", "ulimit -n \"$1\"; exec \"$0\" --listen :0", env!("CARGO_BIN_EXE_calculator-leader"), limit])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&format!("only {limit} open files")) && stderr.contains("ulimit -n"), "{stderr}");
        assert!(!stderr.contains("Restore"), "{stderr}");
    }
}

#[test]
fn a_full_disk_behind_the_output_is_an_error_and_a_closed_pipe_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let leading = ["--listen", "0", "--rate", "1000", "--count", "3000", "--data-dir", path];
    let mut leading = Running::start(Command::new(env!("CARGO_BIN_EXE_calculator-leader")).args(leading));
    leading.line("leading");
    // Waits until `export` prints more than a pipe holds.
    let deadline = Instant::now() + Duration::from_secs(20);
    while leader(&["export", "--data-dir", path]).stdout.len() < 100_000 {
        assert!(Instant::now() < deadline, "the log stays short");
        std::thread::sleep(Duration::from_millis(50));
    }
    leading.signal(Signal::TERM);
    assert!(leading.process.wait().unwrap().success());
    for arguments in [&["verify", "--data-dir", path][..], &["export", "--data-dir", path], &["--help"], &["--version"]]
    {
        let into = |shell: &str| {
            let script = format!("\"$0\" \"$@\" {shell}");
            let program = env!("CARGO_BIN_EXE_calculator-leader");
            Command::new("bash").args(["-c", &script, program]).args(arguments).output().unwrap()
        };
        let full = into(">/dev/full");
        let stderr = String::from_utf8(full.stderr).unwrap();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: cannot write ") && stderr.contains("No space left"), "{stderr}");
        let seen_enough = into("| head -c 1 >/dev/null; exit ${PIPESTATUS[0]}");
        assert!(seen_enough.status.success() && seen_enough.stderr.is_empty(), "{arguments:?}: {seen_enough:?}");
    }
}

#[test]
fn with_log_format_json_every_line_is_an_object() {
    let mut command = program();
    command.args(["127.0.0.1:0", "--log-format", "json"]).env("RUST_LOG", "b=r=k");
    let mut leader = Running::start(&mut command);
    let wrong = leader.line("RUST_LOG is not a valid filter");
    let leading = leader.line("leading");
    leader.signal(Signal::TERM);
    let lines = [wrong, leading, leader.line("goodbye")];
    let parsed =
        lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|_| panic!("{line}")));
    for line in &parsed {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert_eq!((parsed[1]["level"].as_str(), parsed[1]["message"].as_str()), (Some("INFO"), Some("leading")));
    assert!(parsed[1]["listen"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", parsed[1]);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = self::leader(&["--listen", &address, "--ephemeral", "--log-format", "json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["level"], "ERROR");
    assert!(error["message"].as_str().unwrap().contains("cannot listen on"), "{error}");
}

#[tokio::test]
async fn a_call_that_failed_is_found_in_the_log_by_its_id() {
    let mut leader = Running::start(program().arg("127.0.0.1:0"));
    let line = leader.line("leading");
    let page = line.split_whitespace().find_map(|word| word.strip_prefix("page=")).unwrap().to_owned();
    let channel = tonic::transport::Endpoint::from_shared(page).unwrap().connect().await.unwrap();
    let mut request = tonic::Request::new(pb::SubmitRequest::default());
    request.metadata_mut().insert("x-request-id", "find-me-7".parse().unwrap());
    let refused = CalculatorServiceClient::new(channel.clone()).submit(request).await.unwrap_err();
    assert_eq!(refused.metadata().get("x-request-id").unwrap(), "find-me-7");
    let line = leader.line("find-me-7");
    for words in ["Submit", "InvalidArgument", "INVALID_REQUEST", "a call was refused: the request has no operation"] {
        assert!(line.contains(words), "{line}");
    }
    let refused = CalculatorServiceClient::new(channel).submit(pb::SubmitRequest::default()).await.unwrap_err();
    let given = refused.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    leader.line(&given);
}

#[test]
fn a_service_manager_is_told_when_the_leader_serves_lives_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let until = |words: &str| {
        let mut message = [0; 1_000];
        let mut heard = String::new();
        while !heard.contains(words) {
            let length = socket.recv(&mut message).unwrap();
            heard = String::from_utf8(message[..length].to_vec()).unwrap();
        }
        heard
    };
    let mut command = program();
    command.arg("127.0.0.1:0").env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let leader = Running::start(&mut command);
    let ready = until("READY=1");
    assert!(ready.contains("STATUS=leading in term 1 on 127.0.0.1:"), "{ready}");
    for _ in 0..3 {
        until("WATCHDOG=1");
    }
    leader.signal(Signal::TERM);
    until("STOPPING=1");
}

#[test]
fn an_invalid_filter_is_reported() {
    let mut leader = Running::start(program().arg(":0").env("RUST_LOG", "loud,,=,x=y=z"));
    let line = leader.line("RUST_LOG");
    assert!(line.contains("WARN") && line.contains("info,feed=debug"), "{line}");
    leader.line("leading");
}

#[tokio::test]
async fn control_characters_in_a_replicas_name_do_not_reach_the_log() {
    let mut leader = Running::start(program().arg(":0"));
    let line = leader.line("leading");
    let page = line.split_whitespace().find_map(|word| word.strip_prefix("page=")).unwrap().to_owned();
    let channel = tonic::transport::Endpoint::from_shared(page).unwrap().connect().await.unwrap();
    let name = "\u{1b}[2Jx\n2026 ERROR forged\r\u{202e}\u{9b}\u{7f}\u{2028}".to_owned();
    let replica = pb::Replica { id: "1".to_owned(), name, kind: pb::ReplicaKind::Native.into() };
    let request = pb::SubscribeRequest { replica: Some(replica), resume_from: None, ..Default::default() };
    let mut stream = CalculatorServiceClient::new(channel).subscribe(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let line = leader.line("a replica subscribed");
    assert!(line.contains("ERROR forged"), "on one line: {line:?}");
    assert!(!line.contains(|c: char| c.is_control() || "\u{202e}\u{2028}".contains(c)), "{line:?}");
    assert!(line.ends_with("verdict=snapshot (fresh)"), "{line}");
}
