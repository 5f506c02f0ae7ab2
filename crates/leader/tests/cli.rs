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
    let output = leader(&["--listen", &address]);
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
    ] {
        let output = leader(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error:") && said.contains(words), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
