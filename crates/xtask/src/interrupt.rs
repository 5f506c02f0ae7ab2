//! SIGINT, SIGTERM and SIGHUP, as something that code can wait for.

use std::fmt;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Counts how often the user asked to stop.
///
/// Closing the terminal counts too. Children have process groups of their own, so only xtask gets the signal.
#[derive(Clone)]
pub(crate) struct Interrupt {
    requests: watch::Receiver<u32>,
}

impl Interrupt {
    /// Takes SIGINT, SIGTERM and SIGHUP over; they do not end this process by themselves any more.
    pub(crate) fn listen() -> Result<Self> {
        let watched = "cannot listen for Ctrl-C";
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

    /// Resolves once the user asked again. Whatever still runs should be killed now.
    pub(crate) async fn insisted(&self) {
        self.at_least(2).await;
    }

    async fn at_least(&self, wanted: u32) {
        let mut requests = self.requests.clone();
        if requests.wait_for(|count| *count >= wanted).await.is_err() {
            // The runtime is ending, and the listener with it.
            std::future::pending::<()>().await;
        }
    }
}

/// The error of work that ended early because the user asked to stop.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
