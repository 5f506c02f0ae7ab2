//! What systemd says of the units in `dist/systemd`.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// systemd's measure of what an attacker could do from inside the service: 0 is nothing, 10 is everything. It counts what
/// every network service needs.
const EXPOSURE: &str = "20";

fn units() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/systemd");
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    let program = "systemd-analyze";
    Command::new(program).args(arguments).arg(unit).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

#[test]
fn systemd_understands_the_units_and_finds_them_closed() {
    let units = units();
    assert_eq!(units.len(), 2, "{units:?}");
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in units {
        // The programs are not installed here.
        let unit = directory.path().join(&name);
        let installed =
            text.replace("/usr/bin/calculator-leader", "/bin/true").replace("/usr/bin/calculator-replica", "/bin/true");
        assert_ne!(installed, text);
        fs::write(&unit, installed).unwrap();
        let verified = analyze(&["verify", "--man=no"], &unit);
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && said.is_empty(), "{name}: {said}");
        let threshold = format!("--threshold={EXPOSURE}");
        let judged = analyze(&["security", "--offline=true", &threshold], &unit);
        assert!(judged.status.success(), "{name}: {}", String::from_utf8_lossy(&judged.stdout));
    }
}
