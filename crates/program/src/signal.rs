//! The signals that ask a program to end.

use std::future::{Future, pending};
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// From here on SIGINT, SIGTERM and SIGHUP do not end the process by themselves. The future is ready with the name of
/// the first that comes.
///
/// A program that was started to ignore SIGHUP, as by `nohup`, goes on ignoring it.
///
/// # Errors
///
/// If the operating system has no room for it.
pub fn told_to_end() -> io::Result<impl Future<Output = &'static str> + Send + use<>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            () = next(hangup.as_mut()) => "SIGHUP",
        }
    })
}

async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => pending().await,
    }
}

/// Asks Linux; other systems do not tell without `unsafe`.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 << (rustix::process::Signal::HUP.as_raw() - 1) != 0)
}
