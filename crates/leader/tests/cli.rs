//! The program as a shell sees it.
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
fn a_port_in_use_is_one_clear_line_and_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = leader(&["--listen", &address, "--ephemeral"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: cannot listen on") && said.contains("--listen"), "{said}");
}

#[test]
fn a_wrong_flag_says_what_is_wrong_and_code_2() {
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
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error:") && said.contains(words), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_directory_that_is_in_use_or_no_log_is_one_clear_line_and_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let said = |output: Output| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default().to_owned();
        assert!(!said.contains("panicked"), "{said}");
        error
    };
    let missing = said(leader(&["verify", "--data-dir", path]));
    assert!(missing.contains("there is no log in"), "{missing}");
    let missing = said(leader(&["export", "--data-dir", path]));
    assert!(missing.contains("there is no log in"), "{missing}");

    let options = store::sqlite::Options {
        directory: directory.path().to_owned(),
        durability: engine::Durability::Os,
        snapshot_every: std::num::NonZeroU64::MIN,
        retain: std::num::NonZeroU64::MIN,
    };
    let open = store::SqliteStore::new(options, engine::LogId(1)).open_blocking().unwrap();
    let in_use = said(leader(&["--listen", "127.0.0.1:0", "--data-dir", path]));
    assert!(in_use.contains("another leader") && in_use.contains("--data-dir"), "{in_use}");
    drop(open);

    let sound = leader(&["verify", "--data-dir", path]);
    assert!(sound.status.success(), "{sound:?}");
    std::fs::write(directory.path().join("log.sqlite"), "nonsense").unwrap();
    let damaged = said(leader(&["--listen", "127.0.0.1:0", "--data-dir", path]));
    assert!(damaged.contains("damaged at index 0") && damaged.contains("Restore"), "{damaged}");
}

/// A leader and its log. It is killed when the test ends.
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

    /// The next line of the log that has these words.
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
        // It fails if the leader has ended.
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
fn host_names_and_bare_ports_are_listened_on_and_the_page_is_named() {
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
fn a_hangup_is_an_orderly_end_unless_it_was_to_be_ignored() {
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
fn too_few_open_files_are_named_as_what_they_are() {
    for limit in ["8", "16", "32"] {
        let output = Command::new("sh")
            .args(["-c", "ulimit -n \"$1\"; exec \"$0\" --listen :0", env!("CARGO_BIN_EXE_calculator-leader"), limit])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("only {limit} open files")) && said.contains("ulimit -n"), "{said}");
        assert!(!said.contains("Restore"), "{said}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_an_error_that_says_so_and_one_that_nobody_reads_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let leading = ["--listen", "0", "--rate", "1000", "--count", "3000", "--data-dir", path];
    let mut leading = Running::start(Command::new(env!("CARGO_BIN_EXE_calculator-leader")).args(leading));
    leading.line("leading");
    // More than a pipe holds.
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
        let said = String::from_utf8(full.stderr).unwrap();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("error: cannot write ") && said.contains("No space left"), "{said}");
        let seen_enough = into("| head -c 1 >/dev/null; exit ${PIPESTATUS[0]}");
        assert!(seen_enough.status.success() && seen_enough.stderr.is_empty(), "{arguments:?}: {seen_enough:?}");
    }
}

#[test]
fn a_filter_that_is_not_understood_is_told() {
    let mut leader = Running::start(program().arg(":0").env("RUST_LOG", "loud,,=,x=y=z"));
    let line = leader.line("RUST_LOG");
    assert!(line.contains("WARN") && line.contains("info,feed=debug"), "{line}");
    leader.line("leading");
}

#[tokio::test]
async fn what_strangers_call_themselves_is_shown_and_not_obeyed_and_words_are_for_people() {
    let mut leader = Running::start(program().arg(":0"));
    let line = leader.line("leading");
    let page = line.split_whitespace().find_map(|word| word.strip_prefix("page=")).unwrap().to_owned();
    let channel = tonic::transport::Endpoint::from_shared(page).unwrap().connect().await.unwrap();
    let name = "\u{1b}[2Jx\n2026 ERROR forged\r\u{202e}\u{9b}\u{7f}\u{2028}".to_owned();
    let replica = pb::Replica { id: "1".to_owned(), name, kind: pb::ReplicaKind::Native.into() };
    let request = pb::SubscribeRequest { replica: Some(replica), resume_from: None };
    let mut stream = CalculatorServiceClient::new(channel).subscribe(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let line = leader.line("a replica subscribed");
    assert!(line.contains("ERROR forged"), "on one line: {line:?}");
    assert!(!line.contains(|c: char| c.is_control() || "\u{202e}\u{2028}".contains(c)), "{line:?}");
    assert!(line.ends_with("verdict=snapshot (fresh)"), "{line}");
}
