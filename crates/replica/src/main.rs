//! `calculator-replica`: parses flags and follows a leader until it is told to stop.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use engine::Replica;
use follower::{connect, follow};
use replica::output::{Format, Output};
use tokio::signal::unix::{SignalKind, signal};
use wire::{Identity, ReplicaKind};

/// Follows a leader, applies every operation of its log, and holds the same number at the same index.
///
/// It survives everything but Ctrl-C and SIGTERM, on which it ends with code 0.
#[derive(Debug, Parser)]
#[command(name = "calculator-replica", version)]
struct Args {
    /// The leader's address
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "CALCULATOR_LEADER", value_name = "URL")]
    leader: String,

    /// A name for people, at most 64 bytes. "replica-" and four random digits if not given
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,

    /// What to write to standard output: lines for people, or one JSON object a line (see README)
    #[arg(long, value_enum, default_value_t = Format::Log)]
    output: Format,
}

fn parse_name(name: &str) -> Result<String, String> {
    let bytes = name.len();
    if (1..=wire::identity::MAX_BYTES).contains(&bytes) {
        Ok(name.to_owned())
    } else {
        Err(format!("a name has 1 to {} bytes, not {bytes}", wire::identity::MAX_BYTES))
    }
}

// The replica itself is one stream on one thread; the other thread hears signals while the first one waits for a
// reader of the output that does not read.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    // Clap ends the process with code 2 and a message if a flag is wrong.
    match run(Args::parse()).await {
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

async fn run(args: Args) -> anyhow::Result<()> {
    let id = format!("{:016x}", rand::random::<u64>());
    let name = args.name.unwrap_or_else(|| format!("replica-{}", &id[..4]));
    let link = connect(&args.leader, Identity { id, name, kind: ReplicaKind::Native })?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        // There is nothing to save, and the other thread may be stuck in a write.
        std::process::exit(0);
    });

    let (mut output, broken) = Output::new(args.output, io::stdout());
    tokio::select! {
        never = follow(Replica::new(rand::random()), link, &mut output) => match never {},
        // Nobody reads the output any more, as in `calculator-replica | head`: that is an end like any other.
        error = broken => match error {
            Ok(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write the output"),
            _ => Ok(()),
        },
    }
}
