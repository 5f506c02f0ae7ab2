//! Ctrl-C and its relatives, as something that code can wait for.

use std::fmt;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether, and how insistently, the user asked to stop.
///
/// Closing the terminal counts too: children have process groups of their own, so only this process hears of it.
#[derive(Clone)]
pub(crate) struct Interrupt {
    requests: watch::Receiver<u32>,
}

impl Interrupt {
    /// From here on SIGINT, SIGTERM and SIGHUP no longer end this process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        let watched = "cannot watch for Ctrl-C";
        let mut int = signal(SignalKind::interrupt()).context(watched)?;
        let mut term = signal(SignalKind::terminate()).context(watched)?;
        let mut hangup = signal(SignalKind::hangup()).context(watched)?;
        let (count, requests) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                    _ = hangup.recv() => {}
                }
                count.send_modify(|requests| *requests += 1);
            }
        });
        Ok(Self { requests })
    }

    /// Resolves once the user asked to stop.
    pub(crate) async fn requested(&self) {
        self.at_least(1).await;
    }

    /// Resolves once the user asked again: whatever is still being waited for should end now.
    pub(crate) async fn insisted(&self) {
        self.at_least(2).await;
    }

    async fn at_least(&self, wanted: u32) {
        let mut requests = self.requests.clone();
        if requests.wait_for(|count| *count >= wanted).await.is_err() {
            // The listener lives as long as the runtime; without it nobody can ask for anything.
            std::future::pending::<()>().await;
        }
    }
}

/// The work was cut short because the user asked to stop.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
