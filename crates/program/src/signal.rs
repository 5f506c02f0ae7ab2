//! The signals that ask a program to shut down.

use std::future::{Future, pending};
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Takes SIGINT, SIGTERM and SIGHUP over, which then no longer end the process. The future returns the name of the first
/// that arrives.
///
/// A program that was started with SIGHUP ignored, as by `nohup`, goes on ignoring it.
///
/// # Errors
///
/// If the operating system refuses a handler.
pub fn shutdown_signal() -> io::Result<impl Future<Output = &'static str> + Send + use<>> {
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

/// Whether SIGHUP is ignored, as Linux says. Other systems say it only to `unsafe` code.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 << (rustix::process::Signal::HUP.as_raw() - 1) != 0)
}
