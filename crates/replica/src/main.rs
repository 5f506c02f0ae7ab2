//! `calculator-replica`: parses flags and follows a leader until a signal stops it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;
use engine::Replica;
use follower::{connect_with, follow};
use program::{Outlet, allow_many_files, flags, printable, shutdown_signal};
use replica::credentials::Credentials;
use replica::faults::{FaultList, Plan, follow_with_faults};
use replica::output::{Format, Output};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use wire::{Identity, ReplicaKind};

/// How many bytes of output wait for a reader: some ten thousand lines, which take a leader's own operations at least ten
/// seconds. More lines are dropped and counted.
const OUTPUT_BYTES: usize = 2 << 20;

/// How many files a replica opens: connections, the runtime's, and its output.
const FILES: u64 = 24;

/// How many bytes wait for a reader of standard error: one line, or a few if the program panics.
const ERROR_BYTES: usize = 64 << 10;

/// How long the last lines wait for a reader at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

const FAULTS_HELP: &str = "\
Injects these faults into this replica's own stream, one after the other and over and over; each waits until the one before \
has healed. Separated by commas:
  lose           the next batch does not arrive
  repeat         it arrives twice
  exchange       it arrives after the batch that follows it
  alter          its first operation is another one
  cut[=TIME]     there is no link to the leader for this long (5s)
  freeze[=TIME]  the replica reads nothing for this long (5s), as if its computer slept
  forget         the replica forgets everything that it holds
  all            all of these";

const MORE_HELP: &str = "\
Examples:
  calculator-replica                                     follows http://127.0.0.1:8080
  calculator-replica --leader leader.example:9000        follows a leader on another machine
  calculator-replica --leader http://example.com/calc    follows one behind a proxy, below a path
  calculator-replica --leader https://calc.example --tls-ca ca.pem --token-file token
  calculator-replica --output json --name two | jq .     writes JSON, for programs
  calculator-replica --faults all                        breaks its own stream on purpose, and says how it heals

Environment:
  CALCULATOR_LEADER  stands for --leader
  CALCULATOR_TOKEN   the token itself, instead of --token-file
  NO_COLOR           no colours in this help, if it is set and not empty; the output has none";

/// Follows a leader, applies every operation of its log, and holds the same number at the same index.
///
/// It reconnects whenever it loses the leader. Ctrl-C, SIGTERM and SIGHUP end it with code 0.
#[derive(Debug, Parser)]
#[command(name = "calculator-replica", version, after_help = MORE_HELP)]
struct Args {
    /// The leader's address.
    #[arg(
        help = "The leader's address: https://HOST[:PORT][/PATH], http:// without TLS, HOST:PORT, or HOST for port 8080",
        long,
        default_value = "http://127.0.0.1:8080",
        env = "CALCULATOR_LEADER",
        value_name = "URL"
    )]
    leader: String,

    /// A name for people, at most 64 bytes. "replica-" and four random digits if not given. {host} stands for the name of
    /// this machine, which in a container is that of the container
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,

    /// What to write to standard output: lines for people, or one JSON object a line (see docs/json.md)
    #[arg(long, value_enum, default_value_t = Format::Log)]
    output: Format,

    /// What the leader is shown, and how it is verified.
    #[command(flatten)]
    credentials: Credentials,

    /// The faults to inject.
    #[arg(
        help = FAULTS_HELP,
        long,
        value_name = "LIST",
        help_heading = "Breaking it on purpose"
    )]
    faults: Option<FaultList>,

    /// How long the replica is left alone before each fault
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        value_parser = humantime::parse_duration,
        requires = "faults",
        help_heading = "Breaking it on purpose"
    )]
    fault_every: Duration,

    /// Draws the faults from the list at random: equal seeds give equal orders
    #[arg(long, value_name = "N", requires = "faults", help_heading = "Breaking it on purpose")]
    fault_seed: Option<u64>,
}

fn parse_name(name: &str) -> Result<String, String> {
    let name = name.replace("{host}", &rustix::system::uname().nodename().to_string_lossy());
    let bytes = name.len();
    if (1..=wire::identity::MAX_BYTES).contains(&bytes) {
        Ok(name)
    } else {
        Err(format!("a name has 1 to {} bytes, not {bytes}", wire::identity::MAX_BYTES))
    }
}

fn main() -> ExitCode {
    let args: Args = match flags() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let errors = match Outlet::stderr(ERROR_BYTES, |lines| format!("{lines} lines are missing here")) {
        Ok(errors) => errors,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot write to standard error: {error}");
            return ExitCode::FAILURE;
        }
    };
    errors.take_panics(str::to_owned);
    let done = run(args);
    if let Err(error) = &done {
        errors.line(format!("error: {}", printable(&format!("{error:#}"))));
    }
    // A reader that is stuck must not keep the process.
    let _ = errors.flush(LAST_WORDS);
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(args: Args) -> anyhow::Result<()> {
    allow_many_files(FILES)?;
    // The main thread runs the replica, the other one its connections.
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().context("cannot start the threads")?;
    let done = runtime.block_on(run_until_signal(args));
    // A pending lookup of a name must not keep the process.
    runtime.shutdown_background();
    done
}

async fn run_until_signal(args: Args) -> anyhow::Result<()> {
    let id = format!("{:016x}", rand::random::<u64>());
    let name = args.name.unwrap_or_else(|| format!("replica-{}", &id[..4]));
    let identity = Identity { id, name, kind: ReplicaKind::Native };
    let options = args.credentials.options(&args.leader)?;
    let connect = || connect_with(&args.leader, identity.clone(), &options);
    let link = connect()?;
    let address = link.address();
    let signal = shutdown_signal().context("cannot listen for signals")?;

    // One, because the first error ends the program.
    let (failed, mut failures) = mpsc::channel(1);
    let outlet = Outlet::stdout(OUTPUT_BYTES, args.output.dropped(), move |error| drop(failed.try_send(error)))
        .context("cannot write to standard output")?;
    let mut output = Output::new(args.output, address, outlet.clone());
    let failed = |error: io::Error| match error.kind() {
        // The reader has ended, as in `calculator-replica | head`. That is an orderly end.
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(anyhow!("cannot write to standard output: {error}; make room, or write elsewhere")),
    };
    let following = async {
        match args.faults {
            Some(faults) => {
                follow_with_faults(Plan::new(faults, args.fault_every, args.fault_seed), connect, output).await
            }
            None => Ok(follow(Replica::new(rand::random()), link, &mut output).await),
        }
    };
    tokio::select! {
        failed = following => match failed? {},
        Some(error) = failures.recv() => return failed(error),
        _ = signal => {}
    }
    let _ = outlet.flush(LAST_WORDS);
    failures.try_recv().map_or(Ok(()), failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_contain_that_of_the_machine() {
        let host = parse_name("{host}").unwrap();
        assert!(!host.is_empty() && !host.contains('{'), "{host}");
        assert_eq!(parse_name("a-{host}-b").unwrap(), format!("a-{host}-b"));
        assert!(parse_name(&"a".repeat(65)).is_err());
    }
}
