//! Starting programs so that none outlives xtask.

use std::env;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::interrupt::{Interrupt, Interrupted};

/// How long a program may take to end by itself after SIGTERM.
pub(crate) const GRACE: Duration = Duration::from_secs(6);

/// In a log nobody sees cargo's progress bar; silence for longer than this looks like a hang.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Runs a program to its end with its output on the terminal; anything but success is an error.
pub(crate) async fn run(what: &str, mut command: Command, interrupt: &Interrupt) -> Result<()> {
    own_group(&mut command);
    succeed(what, command, Reach::Group, interrupt).await
}

/// Like [`run`], for `sudo`: it may want the terminal, which belongs to this process's group alone.
pub(crate) async fn run_on_terminal(what: &str, command: Command, interrupt: &Interrupt) -> Result<()> {
    succeed(what, command, Reach::Process, interrupt).await
}

/// Asks a program something: its standard output, if it succeeds within the limit. Its other output is dropped.
///
/// A caller that stops waiting, by dropping the future, thereby ends the program.
pub(crate) async fn ask(mut command: Command, limit: Duration) -> Option<String> {
    own_group(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().ok()?;
    let mut end_with_this_call = KillGroup(pid_of(&child));
    let output = timeout(limit, child.wait_with_output()).await.ok()?;
    end_with_this_call.0 = None;
    let output = output.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Puts a program, and all it starts, into a process group that ends with it.
///
/// A terminal sends Ctrl-C to its foreground group only. With groups of their own, children hear of it from this
/// process alone: once, in one way, whether it came from a terminal, a `kill` or a closed window. And a signal to the
/// group also reaches the compilers behind a cargo.
pub(crate) fn own_group(command: &mut Command) {
    command.process_group(0).kill_on_drop(true);
}

/// Ends a program that has a group of its own: SIGTERM, then SIGKILL after [`GRACE`] or when the user insists.
pub(crate) async fn end(child: &mut Child, interrupt: &Interrupt) -> Result<ExitStatus> {
    end_within(child, Reach::Group, interrupt).await
}

/// The program of that name on `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| is_program(path))
}

pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// `75 s` as people say it: `1 min 15 s`.
pub(crate) fn spoken(duration: Duration) -> String {
    match (duration.as_secs() / 60, duration.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// Whom a signal goes to.
#[derive(Clone, Copy)]
enum Reach {
    Process,
    Group,
}

async fn succeed(what: &str, mut command: Command, reach: Reach, interrupt: &Interrupt) -> Result<()> {
    let program = command.as_std().get_program().to_owned();
    command.stdin(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let started = Instant::now();
    let mut signs_of_life = interval_at(tokio::time::Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    signs_of_life.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.with_context(|| format!("cannot wait for {what}"))?;
                if !status.success() {
                    bail!("{what} failed ({status})");
                }
                return Ok(());
            }
            () = interrupt.requested() => {
                end_within(&mut child, reach, interrupt).await?;
                return Err(Interrupted.into());
            }
            _ = signs_of_life.tick() => if !io::stdout().is_terminal() {
                println!("... {what} still runs, {} so far", spoken(started.elapsed()));
            }
        }
    }
}

async fn end_within(child: &mut Child, reach: Reach, interrupt: &Interrupt) -> Result<ExitStatus> {
    let pid = pid_of(child);
    signal(pid, reach, Signal::TERM);
    tokio::select! {
        status = child.wait() => return status.context("cannot wait for a program to end"),
        () = tokio::time::sleep(GRACE) => {}
        () = interrupt.insisted() => {}
    }
    signal(pid, reach, Signal::KILL);
    child.wait().await.context("cannot wait for a program to end")
}

/// None once the program was waited for: its number may then belong to another one.
fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Kills a group of processes when dropped.
struct KillGroup(Option<Pid>);

impl Drop for KillGroup {
    fn drop(&mut self) {
        signal(self.0, Reach::Group, Signal::KILL);
    }
}

fn signal(pid: Option<Pid>, reach: Reach, signal: Signal) {
    let Some(pid) = pid else { return };
    // The one failure that occurs is that nobody is left to hear it.
    let _ = match reach {
        Reach::Process => kill_process(pid, signal),
        Reach::Group => kill_process_group(pid, signal),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no-such-program"), None);
    }

    #[test]
    fn times_are_told_in_minutes_and_seconds() {
        assert_eq!(spoken(Duration::from_secs(7)), "7 s");
        assert_eq!(spoken(Duration::from_secs(75)), "1 min 15 s");
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_success_is_an_answer() {
        let limit = Duration::from_secs(20);
        assert_eq!(ask(shell("echo yes"), limit).await.as_deref(), Some("yes\n"));
        assert_eq!(ask(shell("echo no; exit 1"), limit).await, None);
        assert_eq!(ask(Command::new("no-such-program"), limit).await, None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_that_takes_too_long_ends_with_all_it_started() {
        let mark = std::env::temp_dir().join(format!("xtask-{}-outlived", std::process::id()));
        let script = format!("(sleep 1; touch {}) & wait", mark.display());
        assert_eq!(ask(shell(&script), Duration::from_millis(100)).await, None);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!mark.exists());
    }
}
