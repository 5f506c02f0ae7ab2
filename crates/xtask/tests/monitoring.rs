//! What `docker/` gives to Prometheus and Grafana: it parses, each alert fires when it should, and every metric exists.
//!
//! `docs/operations.md` lists the metrics of a leader; a test of the leader compares the list with what it tells.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const ALERTS: &str = "docker/prometheus/alerts.yaml";
const ALERTS_TEST: &str = "docker/prometheus/alerts_test.yaml";
const DASHBOARD: &str = "docker/grafana/dashboards/calculator.json";

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative)
}

fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap()
}

fn promtool(arguments: &[&str], file: &Path) {
    let named = std::env::var_os("PROMTOOL").filter(|name| !name.is_empty());
    let mut promtool = Command::new(named.unwrap_or_else(|| "promtool".into()));
    let output = promtool.args(arguments).arg(file).output();
    let output = output.expect("promtool is needed; `cargo xtask test --missing` says how to install it");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {said}{errors}");
}

/// The expressions of all panels.
fn dashboard_queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The words in `text` that begin like the name of a metric of ours.
fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("calculator_"))
}

#[test]
fn prometheus_accepts_its_configuration_and_each_alert_fires_when_it_should() {
    promtool(&["check", "config"], &path("docker/prometheus/prometheus.yml"));
    promtool(&["test", "rules"], &path(ALERTS_TEST));
}

#[test]
fn each_alert_has_a_test_in_which_it_fires() {
    let (alerts, tests) = (read(ALERTS), read(ALERTS_TEST));
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let fires = tests.split("- alertname: ").any(|test| {
            let lines = test.split_once("\n      - ").map_or(test, |(first, _)| first);
            lines.starts_with(&format!("{name}\n")) && lines.contains("exp_alerts:\n")
        });
        assert!(fires, "no test expects {name} to fire");
    }
}

#[test]
fn prometheus_parses_each_query_of_the_dashboard() {
    let queries = dashboard_queries();
    assert!(queries.len() > 20, "{queries:?}");
    let rules: Vec<Value> = queries
        .iter()
        .map(|query| json!({ "record": "dashboard:query", "expr": query.replace("$__rate_interval", "1m") }))
        .zip(1..)
        // Equal rules are not allowed.
        .map(|(mut rule, number)| {
            rule["labels"] = json!({ "number": format!("{number}") });
            rule
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.json");
    // JSON is YAML.
    fs::write(&file, json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).unwrap();
    promtool(&["check", "rules"], &file);
}

#[test]
fn alerts_and_dashboard_use_metrics_that_the_leader_has() {
    let document = read("docs/operations.md");
    let rows = document.lines().filter(|line| line.starts_with("| `calculator_"));
    let types: BTreeMap<&str, &str> = rows
        .map(|row| {
            let mut cells = row.trim_start_matches("| ").split(" | ");
            (cells.next().unwrap().trim_matches('`'), cells.next().unwrap())
        })
        .collect();
    assert!(types.len() > 20, "{types:?}");
    let is_listed = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
        match of_histogram {
            Some(name) => types.get(name) == Some(&"histogram"),
            None => types.get(name).is_some_and(|kind| *kind != "histogram"),
        }
    };
    let texts = [read(ALERTS), read(ALERTS_TEST), dashboard_queries().join(" ")];
    for text in &texts {
        let mut found = 0;
        for name in metrics_in(text) {
            assert!(is_listed(name), "{name} is not in docs/operations.md, or is of another type");
            found += 1;
        }
        assert!(found > 0);
    }
}
