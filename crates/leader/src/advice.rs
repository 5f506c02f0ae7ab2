//! Advice for operators whose log cannot be opened. The store only says what is wrong.

use std::path::Path;

use store::sqlite::{Cause, OpenError};

pub(crate) fn with_advice(error: &OpenError) -> String {
    match error {
        OpenError::Files { .. } => format!(
            "{error}; allow this program to use the log's directory, or choose another directory with --data-dir"
        ),
        OpenError::InUse { .. } => format!("{error}; stop it, or choose another directory with --data-dir"),
        OpenError::Missing { .. } => format!("{error}; a leader started with this --data-dir creates one"),
        OpenError::Format { .. } => format!("{error}: use the version that wrote it"),
        OpenError::Lost { directory, tail, watermark, .. } => format!(
            "{error}. Restore {} from a complete copy; or, to continue from index {tail} without the later events, remove {}",
            directory.display(),
            watermark.display()
        ),
        OpenError::Mixed { .. } => format!("{error}: restore files that belong together, or remove the first"),
        OpenError::Damaged { directory, .. } => format!("{error}. {}", about_damage(directory)),
        OpenError::NotForced { .. } => format!(
            "{error}. Check the disk and the system's log; copy the directory to a sound disk while it can be read, and \
             start there"
        ),
        OpenError::Database { problem, .. } => match about_database(problem.cause) {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        },
    }
}

pub(crate) fn about_damage(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "Restore the log from a backup: move the files of {directory} away, then run `calculator-leader restore --from BACKUP \
         --data-dir {directory}`. `calculator-leader verify --data-dir {directory}` says up to where the log is sound, and \
         `export` prints the events up to there"
    )
}

fn about_database(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::DiskFull => Some("free disk space first"),
        Cause::TooManyOpenFiles => Some("allow more open files (ulimit -n)"),
        Cause::NotPermitted => Some("check the permissions of the directory and its files"),
        Cause::ReadOnly => Some("make it writable, or choose another directory with --data-dir"),
        Cause::Locked => Some("stop that program"),
        Cause::DiskFailed => Some("check the system's log"),
        Cause::NoWriteAheadLog => Some("choose a directory on another file system with --data-dir"),
        Cause::LongRead => Some("stop that program, or wait until it has finished"),
        Cause::AnotherLeader => Some("stop that leader, or try again"),
        Cause::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use engine::{Index, LogId};
    use store::Corrupt;
    use store::sqlite::Problem;

    use super::*;

    #[test]
    fn every_error_comes_with_advice() {
        let directory = PathBuf::from("the-log");
        let database = |cause| OpenError::Database {
            directory: directory.clone(),
            problem: Problem { cause, what: "it says".to_owned() },
        };
        let watermark = directory.join("watermark");
        let damage = Corrupt { index: Index(3), what: "a bit is wrong".to_owned() };
        let cases = [
            (
                OpenError::Files { path: directory.clone(), reason: std::io::ErrorKind::NotADirectory.into() },
                "--data-dir",
            ),
            (OpenError::InUse { directory: directory.clone(), pid: Some(7) }, "--data-dir"),
            (OpenError::Missing { directory: directory.clone() }, "creates one"),
            (OpenError::Format { path: directory.clone(), found: 2, known: 1 }, "the version that wrote it"),
            (
                OpenError::Lost {
                    directory: directory.clone(),
                    tail: Index(3),
                    acknowledged: Index(9),
                    watermark: watermark.clone(),
                },
                "remove the-log/watermark",
            ),
            (OpenError::Mixed { watermark, named: LogId(1), found: LogId(2) }, "restore files that belong together"),
            (OpenError::Damaged { directory: directory.clone(), damage }, "verify --data-dir the-log"),
            (OpenError::NotForced { path: directory.clone(), reason: "no".to_owned() }, "copy the directory"),
            (database(Cause::DiskFull), "free disk space"),
            (database(Cause::TooManyOpenFiles), "ulimit -n"),
            (database(Cause::NotPermitted), "permissions"),
            (database(Cause::ReadOnly), "writable"),
            (database(Cause::Locked), "stop that program"),
            (database(Cause::DiskFailed), "the system's log"),
            (database(Cause::NoWriteAheadLog), "--data-dir"),
            (database(Cause::LongRead), "wait until it has finished"),
            (database(Cause::AnotherLeader), "try again"),
            (database(Cause::Other), "it says"),
        ];
        for (error, advice) in cases {
            let fact = error.to_string();
            let text = with_advice(&error);
            assert!(text.starts_with(&fact) && text.contains(advice), "{text}");
            for word in ["--", "verify", "ulimit", "Restore", "restore ", "stop "] {
                assert!(!fact.contains(word), "the store gives advice: {fact}");
            }
        }
    }
}
