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
