//! `calculator-leader`: parses flags, listens, and runs the leader until it is told to stop.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use leader::audit;
use leader::config::{Args, Cli, Command, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    // Clap ends the process with code 2 and a message if a flag is wrong.
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    let done = match &cli.command {
        None => lead(&cli.lead).await,
        Some(Command::Verify(log)) => audit::verify(&log.data_dir, &mut io::stdout().lock()),
        Some(Command::Export(log)) => audit::export(&log.data_dir, &mut io::stdout().lock()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one line that says why the program ends")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Each subscriber is an open file, of which a shell usually allows a thousand, and the system many more.
fn allow_many_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        debug!(%error, current = limit.current, "the limit of open files stays as it is");
    }
}

async fn lead(args: &Args) -> anyhow::Result<()> {
    allow_many_connections();
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address or port with --listen", args.listen))?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let shutdown = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => info!("Ctrl-C"),
            _ = terminate.recv() => info!("SIGTERM"),
        }
    };
    Ok(leader::run(Config::from(args), listener, shutdown).await?)
}
