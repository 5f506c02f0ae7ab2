//! `--faults`: the program breaks its own stream and heals, with a leader in this process.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use leader::config::Generator;
use serde_json::Value;

/// A replica with these flags, and the lines that it writes.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(url: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_calculator-replica"))
            .args(["--leader", url])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the program ended").unwrap()
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Reads until an event was applied, and returns its index, value and digest.
    fn applied(&mut self) -> (u64, String, String) {
        loop {
            let line = self.json();
            if line["type"] == "applied" {
                let text = |field: &str| line[field].as_str().unwrap().to_owned();
                return (line["index"].as_u64().unwrap(), text("value"), text("digest"));
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_heals_and_the_replica_ends_where_the_leader_is() {
    let url = common::leader(Generator::Rate(200)).await;
    // One that nobody breaks.
    let mut whole = Program::start(&url, &["--output", "json"]);
    let faults = "lose,repeat,exchange,alter,cut=300ms,freeze=300ms,forget";
    let flags = ["--output", "json", "--faults", faults, "--fault-every", "50ms"];
    let mut broken = Program::start(&url, &flags);
    tokio::task::spawn_blocking(move || {
        // What happened between each fault and its healing.
        let mut healed: Vec<(String, Vec<String>, bool)> = Vec::new();
        let mut between = Vec::new();
        while healed.len() < 8 {
            let line = broken.json();
            let kind = line["type"].as_str().unwrap();
            match kind {
                "fault" => between = vec![format!("fault {}", line["fault"].as_str().unwrap())],
                "healed" => {
                    let fault = line["fault"].as_str().unwrap().to_owned();
                    assert!(line["took_ms"].as_f64().unwrap() >= 0.0);
                    healed.push((fault, std::mem::take(&mut between), line["snapshot"].as_bool().unwrap()));
                }
                "gap" | "duplicate" | "diverged" | "snapshot" | "fault_over" => between.push(kind.to_owned()),
                _ => {}
            }
        }
        let expected = [
            ("lose", vec!["fault lose", "gap"], false),
            ("repeat", vec!["fault repeat", "duplicate"], false),
            ("exchange", vec!["fault exchange", "gap"], false),
            ("alter", vec!["fault alter", "diverged", "snapshot"], true),
            ("cut", vec!["fault cut", "fault_over"], false),
            ("freeze", vec!["fault freeze", "fault_over"], false),
            ("forget", vec!["fault forget", "snapshot"], true),
            ("lose", vec!["fault lose", "gap"], false),
        ];
        for ((fault, words, snapshot), (expected, expected_words, expected_snapshot)) in healed.iter().zip(expected) {
            assert_eq!((fault.as_str(), *snapshot), (expected, expected_snapshot), "{healed:?}");
            assert_eq!(*words, expected_words, "{fault}");
        }
        let (index, value, digest) = broken.applied();
        let mut seen = BTreeMap::new();
        while !seen.contains_key(&index) {
            let (index, value, digest) = whole.applied();
            seen.insert(index, (value, digest));
        }
        assert_eq!(seen[&index], (value, digest));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_read_what_was_injected_and_how_it_healed() {
    let url = common::leader(Generator::Rate(50)).await;
    let mut program = Program::start(&url, &["--faults", "alter,cut=100ms", "--fault-every", "10ms"]);
    tokio::task::spawn_blocking(move || {
        let mut told = Vec::new();
        while told.len() < 5 {
            let line = program.line();
            if line.starts_with("Fault") || line.starts_with("Healed") {
                told.push(line);
            }
        }
        for (line, words) in told.iter().zip([
            ["Fault: event ", " is altered from "],
            ["Healed from alter in ", ", with a snapshot"],
            ["Fault: the link is cut for 100 ms", ""],
            ["Fault over: cut", ""],
            ["Healed from cut in ", ", without a snapshot"],
        ]) {
            assert!(words.iter().all(|word| line.contains(word)), "{told:?}");
        }
    })
    .await
    .unwrap();
}

#[test]
fn a_list_that_names_something_else_is_refused() {
    for (flags, words) in [
        (vec!["--faults", "lose,loose"], "none of lose, repeat"),
        (vec!["--faults", "lose", "--fault-every", "soon"], "--fault-every"),
        (vec!["--fault-seed", "1"], "--faults"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_calculator-replica")).args(&flags).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(words), "{said}");
    }
}
