//! The program as a shell sees it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::{Command, Output};

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
        (&["--listen", "nowhere"], "--listen"),
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
    let open = store::SqliteStore::open(options, engine::LogId(1)).unwrap();
    let in_use = said(leader(&["--listen", "127.0.0.1:0", "--data-dir", path]));
    assert!(in_use.contains("another leader") && in_use.contains("--data-dir"), "{in_use}");
    drop(open);

    let sound = leader(&["verify", "--data-dir", path]);
    assert!(sound.status.success(), "{sound:?}");
    std::fs::write(directory.path().join("log.sqlite"), "nonsense").unwrap();
    let damaged = said(leader(&["--listen", "127.0.0.1:0", "--data-dir", path]));
    assert!(damaged.contains("damaged at index 0") && damaged.contains("Restore"), "{damaged}");
}
