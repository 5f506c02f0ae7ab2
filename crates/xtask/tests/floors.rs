//! The floors of ARCHITECTURE.md: which crate may depend on which, and what some of them must not know.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The floor of each crate that ships. A crate depends on lower floors only.
const FLOORS: [(&str, u32); 10] = [
    ("engine", 1),
    ("program", 1),
    ("wire", 2),
    ("store", 2),
    ("feed", 3),
    ("follower", 3),
    ("sequencer", 4),
    ("leader", 5),
    ("replica", 5),
    ("web", 5),
];

/// What a crate must not depend on directly.
const UNKNOWN_TO: [(&str, &[&str]); 4] = [
    ("engine", &["tokio", "rand", "prost", "tonic", "tracing"]),
    ("store", &["wire", "prost", "tonic"]),
    ("feed", &["http", "tonic", "axum", "hyper", "rusqlite"]),
    ("sequencer", &["axum", "hyper", "clap", "rust-embed"]),
];

/// The direct dependencies of each crate of the workspace, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["metadata", "--no-deps", "--format-version", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let crates = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        (name(package), dependencies.filter(|dependency| dependency["kind"] != "dev").map(name).collect())
    });
    crates.collect()
}

#[test]
fn each_crate_depends_on_lower_floors_only() {
    let dependencies = dependencies();
    let floors = BTreeMap::from(FLOORS);
    for (name, floor) in &floors {
        for dependency in &dependencies[*name] {
            if let Some(below) = floors.get(dependency.as_str()) {
                assert!(below < floor, "{name} depends on {dependency}");
            } else {
                assert!(!dependencies.contains_key(dependency), "{name}, which ships, depends on {dependency}");
            }
        }
    }
}

#[test]
fn crates_do_not_know_what_is_not_theirs() {
    let dependencies = dependencies();
    for (name, unknown) in UNKNOWN_TO {
        for dependency in unknown {
            assert!(!dependencies[name].contains(*dependency), "{name} depends on {dependency}");
        }
    }
    assert!(!dependencies["sim"].contains("leader"), "the simulation needs no port");
}
