//! `calculator-leader backup`: copies the log in a directory into one file, while a leader may write to it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use store::sqlite::{Cause, CopyError, SqliteReader};
use tempfile::TempPath;
use thiserror::Error;

use crate::export::{advised, finish};
use crate::verify::{Sound, examine};

/// Copies the log in `directory` to the new file `to`, or to a new file in the directory `to`, checks the copy as `verify`
/// does, and prints what it holds to `output`. Nothing appears under the file's name before that.
///
/// # Errors
///
/// The log cannot be read or is damaged, or the copy cannot be written.
pub fn backup(directory: &Path, to: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let (sound, file) = make(directory, to).map_err(advised)?;
    finish(report(&sound, &file, output))
}

fn report(sound: &Sound, file: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    sound.print(output)?;
    writeln!(output, "bytes      {}", fs::metadata(file)?.len())?;
    writeln!(output, "backup     {}, sound", file.display())?;
    Ok(())
}

/// Nobody loses an older backup to a newer one.
#[derive(Debug, Error)]
#[error("{} exists already; choose another name with --to", .0.display())]
struct Exists(PathBuf);

/// What destroys the log would destroy the backup.
#[derive(Debug, Error)]
#[error("{} is inside the directory of the log; choose a place outside with --to, best on another disk", .0.display())]
struct Inside(PathBuf);

/// Returns what the new file holds, and its name.
fn make(directory: &Path, to: &Path) -> anyhow::Result<(Sound, PathBuf)> {
    let into_directory = to.is_dir();
    let parent = match to.parent() {
        _ if into_directory => to,
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => to,
    };
    let unusable = || format!("cannot write to {}; choose an existing directory with --to", parent.display());
    let parent = parent.canonicalize().with_context(unusable)?;
    let reader = SqliteReader::open(directory)?;
    if directory.canonicalize().is_ok_and(|directory| parent.starts_with(directory)) {
        return Err(Inside(to.to_owned()).into());
    }
    if !into_directory && to.symlink_metadata().is_ok() {
        return Err(Exists(to.to_owned()).into());
    }

    let staging = tempfile::Builder::new().prefix(".calculator-backup-").tempdir_in(&parent).with_context(unusable)?;
    let copy = staging.path().join("log.sqlite");
    reader.copy_to(&copy).map_err(with_advice)?;
    // The leader can tidy up its write-ahead log.
    drop(reader);
    let sound = examine(staging.path(), &mut io::sink()).with_context(|| {
        let directory = directory.display();
        format!(
            "the log is damaged, so no backup was made; `calculator-leader verify --data-dir {directory}` says where"
        )
    })?;
    let to = if into_directory { to.join(name(&sound)) } else { to.to_owned() };
    TempPath::try_from_path(&copy)?.persist_noclobber(&to).map_err(|refused| match refused.error.kind() {
        io::ErrorKind::AlreadyExists => anyhow::Error::new(Exists(to.clone())),
        _ => anyhow::Error::new(refused.error).context(unusable()),
    })?;
    File::open(&parent).and_then(|parent| parent.sync_all()).with_context(unusable)?;
    Ok((sound, to))
}

/// Names the log and where it ends.
fn name(sound: &Sound) -> String {
    format!("calculator-{:.8}-{}.sqlite", sound.tail.log().to_string(), sound.tail.position().index)
}

fn with_advice(error: CopyError) -> anyhow::Error {
    let advice = match error.problem.cause {
        Cause::DiskFull => "free disk space there, or choose another place with --to",
        Cause::NotPermitted | Cause::ReadOnly => "choose a place that can be written with --to",
        Cause::Locked => "stop the program that has the log locked",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}")
}
