//! Runs programs so that none outlives xtask.

use std::io::{self, IsTerminal};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval_at};

use crate::interrupt::{Interrupt, Interrupted};

/// How long a program may take to end after SIGTERM.
pub(crate) const GRACE: Duration = Duration::from_secs(6);

/// In a log cargo draws no progress bar, and silence for longer than this looks like a hang.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Runs a program to its end with its output on the terminal. Anything but success is an error.
pub(crate) async fn run(what: &str, mut command: Command, interrupt: &Interrupt) -> Result<()> {
    own_group(&mut command);
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
                end(&mut child, interrupt).await?;
                return Err(Interrupted.into());
            }
            _ = signs_of_life.tick() => if !io::stdout().is_terminal() {
                println!("... {what} is still running after {}", minutes(started.elapsed()));
            }
        }
    }
}

/// Puts a program, and all that it starts, into a process group of its own.
///
/// A terminal sends Ctrl-C to its foreground group only. So children hear of it from xtask alone, in one way, whether it
/// came from a terminal, a `kill` or a closed window. And a signal to the group also reaches the compilers that cargo
/// starts.
pub(crate) fn own_group(command: &mut Command) {
    command.process_group(0).kill_on_drop(true);
}

/// Ends a program that has a group of its own: SIGTERM, then SIGKILL after [`GRACE`] or when the user insists.
pub(crate) async fn end(child: &mut Child, interrupt: &Interrupt) -> Result<ExitStatus> {
    // None once the program was waited for: its number may then belong to another one.
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // An error means that the whole group has ended already.
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    let _ = signal(Signal::TERM);
    tokio::select! {
        status = child.wait() => return status.context("cannot wait for a program to end"),
        () = tokio::time::sleep(GRACE) => {}
        () = interrupt.insisted() => {}
    }
    let _ = signal(Signal::KILL);
    child.wait().await.context("cannot wait for a program to end")
}

/// `75 s` as people say it: `1 min 15 s`.
pub(crate) fn minutes(duration: Duration) -> String {
    match (duration.as_secs() / 60, duration.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_minutes_and_seconds() {
        assert_eq!(minutes(Duration::from_secs(7)), "7 s");
        assert_eq!(minutes(Duration::from_secs(75)), "1 min 15 s");
    }
}
