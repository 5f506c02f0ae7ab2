//! `calculator-leader restore`: makes the log of a directory from a backup.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use engine::{Term, Timestamp};
use store::sqlite::{RestoreError, Restoring, SqliteReader};
use thiserror::Error;

use crate::clock;
use crate::export::{advised, finish};
use crate::verify::{Sound, examine};

/// How far the clocks of two machines may differ: the one that wrote the newest event, and this one.
const SKEW: Duration = Duration::from_secs(60);

/// Makes the log of `directory` from the backup `from`, a file or a directory with a log, and prints what it holds to
/// `output`. The log gets the term `term`, or else one that follows from the clock, so that replicas which saw later terms
/// than the backup's take its leader for the newest.
///
/// # Errors
///
/// The backup is damaged, or the directory has a log or cannot be used. The directory has no new log then.
pub fn restore(from: &Path, directory: &Path, term: Option<u64>, output: &mut impl Write) -> anyhow::Result<()> {
    let sound = make(from, directory, term.map(Term)).map_err(advised)?;
    finish(report(&sound, directory, output))
}

fn report(sound: &Sound, directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    sound.print(output)?;
    writeln!(output, "restored   {}, sound", directory.display())?;
    Ok(())
}

/// Returns what the new log holds.
fn make(from: &Path, directory: &Path, term: Option<Term>) -> anyhow::Result<Sound> {
    // Before anything is made.
    fs::metadata(from).with_context(|| format!("cannot read the backup {}", from.display()))?;
    let restoring = Restoring::begin(directory).map_err(|error| with_advice(error, directory))?;
    fetch(from, &restoring.database())?;
    let sound = examine(restoring.staging(), &mut io::sink()).map_err(|error| {
        anyhow::anyhow!("nothing was restored, because {} is no sound backup: {error:#}", from.display())
    })?;
    let term = match term {
        Some(term) => term,
        None => term_by_the_clock(&sound, clock::now())?,
    };
    restoring.finish(term).map_err(|error| with_advice(error, directory))?;
    Ok(Sound { term, ..sound })
}

/// The newest commits may be in the second file.
#[derive(Debug, Error)]
#[error("{} has a write-ahead log beside it; name their directory with --from", .0.display())]
struct HasWriteAheadLog(PathBuf);

/// Puts the backup to `database`.
fn fetch(from: &Path, database: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        return Ok(SqliteReader::open(from)?.copy_to(database)?);
    }
    let mut source = File::open(from).with_context(|| format!("cannot read the backup {}", from.display()))?;
    let mut write_ahead = from.as_os_str().to_owned();
    write_ahead.push("-wal");
    if fs::metadata(write_ahead).is_ok_and(|file| file.len() > 0) {
        return Err(HasWriteAheadLog(from.to_owned()).into());
    }
    let copied = File::create_new(database).and_then(|mut copy| {
        io::copy(&mut source, &mut copy)?;
        copy.sync_all()
    });
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), database.display()))
}

/// The clock cannot be right, so no term follows from it.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "the clock of this machine is behind {behind}, so it gives no term above those that replicas saw; set the clock, or choose \
     the term with --term"
)]
struct ClockBehind {
    behind: &'static str,
}

/// The milliseconds since 1970. Each opening takes the next term and needs longer than one of them. So this is above every
/// term of the lost log, also if that was itself restored, even from the same backup.
fn term_by_the_clock(sound: &Sound, now: Timestamp) -> Result<Term, ClockBehind> {
    let term = Term(now.0 / 1_000);
    let latest = now.0.saturating_add(u64::try_from(SKEW.as_micros()).unwrap_or(u64::MAX));
    if sound.newest.is_some_and(|newest| newest.0 > latest) {
        Err(ClockBehind { behind: "the newest event of the backup" })
    } else if term <= sound.term {
        Err(ClockBehind { behind: "an earlier restore of this log" })
    } else {
        Ok(term)
    }
}

fn with_advice(error: RestoreError, directory: &Path) -> anyhow::Error {
    match error {
        RestoreError::Occupied { .. } => {
            let directory = directory.display();
            anyhow::anyhow!(
                "{error}, so nothing was restored: stop its leader and move the files of {directory} away, or choose another \
                 directory with --data-dir"
            )
        }
        RestoreError::TermTooLow { .. } => anyhow::anyhow!("{error}; choose a higher one with --term"),
        RestoreError::Open(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use engine::{Digest, Index, LogId, Position, Snapshot};

    use super::*;

    const MINUTE: u64 = 60_000_000;

    #[test]
    fn a_later_restore_gets_a_higher_term_and_a_clock_that_is_behind_gives_none() {
        let tail = Snapshot::take(LogId(1), Position { index: Index(1), digest: Digest(1) }, 1);
        let backup = |term, newest| Sound { term: Term(term), tail, newest };
        let now = 1_764_000_000_000_000;
        let term = |sound: Sound, now| term_by_the_clock(&sound, Timestamp(now));
        let first = term(backup(3, Some(Timestamp(now - MINUTE))), now).unwrap();
        assert_eq!(first, Term(1_764_000_000_000));
        // Once more from the same backup, after the leader was started 999 times in a second.
        let second = term(backup(3, None), now + 1_000_000).unwrap();
        assert!(second.0 > first.0 + 999);
        assert!(term(backup(3, Some(Timestamp(now + MINUTE))), now).is_ok(), "clocks differ");
        for behind in [backup(3, Some(Timestamp(now + 2 * MINUTE))), backup(first.0, None), backup(second.0, None)] {
            assert!(term(behind, now).is_err(), "{behind:?}");
        }
    }
}
