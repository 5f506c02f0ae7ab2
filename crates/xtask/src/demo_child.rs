//! A program of the demo: its output and its end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use program::{Outlet, printable};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::interrupt::Interrupt;
use crate::process;

/// A replica prints such a line for each event: too many for a console that several programs share.
const ONLY_IN_LOG: &[u8] = b"Current value:";

/// A log that reaches this size in bytes becomes `….log.old` and a new one starts, so that a demo can run for days.
const LOG_LIMIT: u64 = 64 << 20;

/// How long to wait for a program's last output. It ends with the program, unless a child of it still holds the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program that was started and not waited for yet.
pub(crate) struct DemoChild {
    name: String,
    pid: u32,
    child: Child,
    output: JoinSet<()>,
}

impl DemoChild {
    /// Starts a program. Its output goes to the log file and, line by line with its name, to the console.
    ///
    /// `width` is the length of the longest name, so that the lines align.
    pub(crate) fn start(name: &str, width: usize, mut command: Command, log: &Path, console: &Outlet) -> Result<Self> {
        let log = Arc::new(Mutex::new(LogFile::create(log)?));
        process::own_group(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.as_std().get_program().to_owned();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pid = child.id().context("a program that just started has no pid")?;
        let prefix = format!("{name:width$} | ");
        let mut output = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(copy(stdout, prefix.clone(), Arc::clone(&log), console.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(copy(stderr, prefix, log, console.clone()));
        }
        Ok(Self { name: name.to_owned(), pid, child, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the program ends. Once `stop` turns true, ends it.
    pub(crate) async fn finish(mut self, mut stop: watch::Receiver<bool>, interrupt: Interrupt) -> Result<Ended> {
        let status = tokio::select! {
            status = self.child.wait() => status.with_context(|| format!("cannot wait for {}", self.name))?,
            () = turns_true(&mut stop) => process::end(&mut self.child, &interrupt).await?,
        };
        let _ = timeout(LAST_WORDS, async { while self.output.join_next().await.is_some() {} }).await;
        Ok(Ended { name: self.name, pid: self.pid, status })
    }
}

/// A program of the demo that has ended.
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
}

/// Also returns when the sender is gone: then the demo is, too.
async fn turns_true(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Copies lines until the program closes its end. Goes on when it cannot write, because a program whose output is not read
/// stops.
async fn copy(from: impl AsyncRead + Unpin, prefix: String, log: Arc<Mutex<LogFile>>, console: Outlet) {
    let mut from = BufReader::with_capacity(64 << 10, from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line).await, Ok(length) if length > 0) {
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = log.write(&line);
            // While more lines are buffered, one write can take several.
            if from.buffer().is_empty() {
                let _ = log.flush();
            }
        }
        if !line.starts_with(ONLY_IN_LOG) {
            let line = String::from_utf8_lossy(&line);
            console.line(format!("{prefix}{}", printable(line.trim_end_matches('\n'))));
        }
        line.clear();
    }
    let _ = log.lock().unwrap_or_else(PoisonError::into_inner).flush();
}

struct LogFile {
    path: PathBuf,
    file: io::BufWriter<File>,
    size: u64,
    limit: u64,
}

impl LogFile {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: io::BufWriter::new(file), size: 0, limit: LOG_LIMIT })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size + length > self.limit {
            self.file.flush()?;
            let mut old = self.path.as_os_str().to_owned();
            old.push(".old");
            fs::rename(&self.path, old)?;
            self.file = io::BufWriter::new(File::create(&self.path)?);
            self.size = 0;
        }
        self.size += length;
        self.file.write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_renamed_and_a_new_one_starts() {
        let path = std::env::temp_dir().join(format!("xtask-{}-full.log", std::process::id()));
        let old = path.with_extension("log.old");
        let mut log = LogFile::create(&path).unwrap();
        log.limit = 10;
        for line in ["one\n", "two\n", "three\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        log.flush().unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_file(old).unwrap();
        fs::remove_file(path).unwrap();
    }
}
