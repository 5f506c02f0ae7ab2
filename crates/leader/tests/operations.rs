//! What `docs/operations.md` lists: every flag, every metric, every log line.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use common::raw::http1;
use common::{Follower, TestLeader, durable};
use engine::Operation;
use leader::cli::Cli;
use leader::config::Generator;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> String {
    fs::read_to_string(root().join("docs/operations.md")).unwrap()
}

/// The part of the document under a heading.
fn section(name: &str) -> String {
    let document = document();
    let part = document.split("\n## ").find(|part| part.starts_with(&format!("{name}\n")));
    part.unwrap_or_else(|| panic!("there is no section {name:?}")).to_owned()
}

/// What stands between backticks in the first column of the table in a section.
fn first_column(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split(" | ").next().unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_flags_in_the_document_are_those_in_the_help() {
    let listed = first_column(&section("Flags of the leader"));
    let listed: BTreeSet<String> = listed.iter().map(|flag| flag.split(' ').next().unwrap().to_owned()).collect();
    let command = Cli::command();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    let in_help: BTreeSet<String> =
        flags.filter(|flag| !["help", "version"].contains(flag)).map(|flag| format!("--{flag}")).collect();
    assert_eq!(listed, in_help);
    for subcommand in command.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "help") {
        assert!(document().contains(&format!("`{subcommand}`")), "the document does not name {subcommand}");
    }
}

#[test]
fn defaults_in_the_document_are_those_in_the_help() {
    let section = section("Flags of the leader");
    for argument in Cli::command().get_arguments() {
        let (Some(flag), [default]) = (argument.get_long(), argument.get_default_values()) else { continue };
        let default = default.to_str().unwrap();
        if ["true", "false"].contains(&default) {
            continue;
        }
        let row = section.lines().find(|row| row.contains(&format!("`--{flag} "))).unwrap();
        let said = row.split(" | ").nth(1).unwrap().replace([',', '`', ' '], "");
        assert_eq!(said, default, "{flag}");
    }
}

#[tokio::test]
async fn the_metrics_in_the_document_are_those_that_the_leader_tells() {
    let directory = tempfile::tempdir().unwrap();
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    leader.calls().submit(Operation::Add(1)).await.unwrap();
    leader.calls().submit(Operation::Divide(0)).await.unwrap_err();
    let follower = Follower::start(&leader.url(), "follower");
    follower.recorder.until_index(1).await;
    let text = http1(leader.address, "GET /metrics HTTP/1.1\r\nHost: localhost", b"").await.text();
    let kinds: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{suffix}"), kind.replace("info", "gauge"))
        })
        .collect();
    let rows = section("Metrics");
    let listed: BTreeSet<(String, String)> = rows
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let names: Vec<&str> = cells[0].split('`').skip(1).step_by(2).collect();
            names.into_iter().map(|name| (name.to_owned(), cells[1].to_owned())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(listed, kinds);
}

#[test]
fn every_log_line_for_operators_is_in_the_document() {
    let document = section("Log lines");
    let mut found = 0;
    for package in ["leader", "sequencer", "store", "feed"] {
        for file in rust_files(&root().join("crates").join(package).join("src")) {
            let code = fs::read_to_string(&file).unwrap();
            for macro_name in ["info!(", "warn!(", "error!("] {
                for call in code.split(macro_name).skip(1) {
                    let Some(line) = message(call) else { continue };
                    assert!(document.contains(&line), "{}: {line:?} is not in the document", file.display());
                    found += 1;
                }
            }
        }
    }
    assert!(found > 20, "{found}");
}

/// The constant part of a log call's message: the longest part of its last text between placeholders.
fn message(call: &str) -> Option<String> {
    let texts = texts(call);
    let text = texts.last()?;
    let constant = text.split(['{', '}']).step_by(2).map(str::trim).max_by_key(|part| part.len())?;
    let constant = constant.trim_end_matches([':', ';', ',']);
    (constant.len() > 5).then(|| constant.to_owned())
}

/// The texts in a call, of which the opening parenthesis is cut off.
fn texts(call: &str) -> Vec<&str> {
    let (mut texts, mut open, mut depth) = (Vec::new(), None, 1);
    for (at, byte) in call.bytes().enumerate() {
        match (byte, open) {
            (b'"', None) => open = Some(at + 1),
            (b'"', Some(from)) if !call[..at].ends_with('\\') => {
                texts.push(&call[from..at]);
                open = None;
            }
            (b'(', None) => depth += 1,
            (b')', None) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    texts
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}
