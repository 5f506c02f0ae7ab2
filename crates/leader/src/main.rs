//! `calculator-leader`: parses flags, listens, and runs the leader until a signal stops it.

mod log;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use leader::backup::backup;
use leader::cli::{Args, Cli, Command};
use leader::export::export;
use leader::health_check;
use leader::restore::restore;
use leader::verify::verify;
use log::Log;
use program::{Outlet, allow_many_files, flags, shutdown_signal};
use tokio::runtime::Runtime;
use tracing::info;

/// Open files that a leader needs without subscribers: the log's, the sockets', the runtime's.
const FILES: u64 = 64;

/// How long the process waits for a reader to take the last log lines.
const FLUSH_LOG: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let cli: Cli = match flags() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let log = match Log::start(cli.lead.log_format) {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot write to standard error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = match &cli.command {
        None => lead(&cli.lead, log.lines.clone()),
        Some(Command::Verify(log)) => verify(&log.data_dir, &mut io::stdout().lock()),
        Some(Command::Export(log)) => export(&log.data_dir, &mut io::stdout().lock()),
        Some(Command::Backup(args)) => backup(&args.log.data_dir, &args.to, &mut io::stdout().lock()),
        Some(Command::Restore(args)) => restore(&args.from, &args.log.data_dir, args.term, &mut io::stdout().lock()),
        Some(Command::Health(args)) => health_check::check(args, &mut io::stdout().lock()),
    };
    if let Err(error) = &done {
        log.error(error);
    }
    // An error means that the last lines were not read in time; the process ends anyway.
    let _ = log.lines.flush(FLUSH_LOG);
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn lead(args: &Args, log: Outlet) -> anyhow::Result<()> {
    // Each subscriber needs one more.
    allow_many_files(FILES)?;
    let runtime = Runtime::new().context("cannot start the leader's threads")?;
    runtime.block_on(async {
        let ports = args.ports().await?;
        let signal = shutdown_signal().context("cannot listen for signals")?;
        let shutdown = async { info!("{}", signal.await) };
        Ok(leader::run(args.config(log)?, ports, shutdown).await?)
    })
}
