//! The command line.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

mod limits;
pub mod tasks;
mod tls;
mod tokens;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use engine::Durability;
use program::Outlet;

use crate::config::{Config, Generator, Pace, Storage};
use crate::http::access::{Access, HostName, Origin};
use crate::http::listen::Listen;
use crate::http::port::Ports;
use crate::http::tokens::Tokens;
use crate::traces::Traces;
use limits::LimitArgs;
pub use tasks::Command;
use tls::TlsArgs;
use tokens::TokenArgs;

/// Examples and environment variables, shown after the flags in `--help`.
const MORE_HELP: &str = "\
Examples:
  calculator-leader                               the page is on http://127.0.0.1:8080
  calculator-leader --listen 0.0.0.0:9000         serves every machine that reaches this one
  calculator-leader --rate 1000 --ephemeral       a thousand operations a second, kept in memory
  calculator-leader --no-generator                only operations that clients submit
  calculator-leader --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --write-token-file tokens
                                                  over TLS, and whoever submits needs a token
  calculator-leader verify --data-dir D           checks a log
  calculator-leader export --data-dir D | head    prints the first events of a log
  calculator-leader backup --data-dir D --to F    copies a log into the file F, while its leader runs
  calculator-leader restore --from F --data-dir D
                                                  makes the log of the directory D from it
  calculator-leader health                        asks a running leader whether it is healthy

Environment:
  [env: NAME=]  beside a flag: the variable sets the flag; commas separate several values
  RUST_LOG      log level on standard error: error, warn, info (the default), debug or trace; may differ for
                parts of the program, as in info,feed=debug
  NO_COLOR      turns colours off, if it is set and not empty";

/// The default directory of the log.
pub const DEFAULT_DATA_DIR: &str = "calculator-data";

/// The most operations a second that callers may ask for, unless the leader starts with more.
const DEFAULT_MAX_RATE: u32 = 1_000;

/// The smallest bound on the bytes of a log. The table of producers may take up to 2 MiB of them, and nothing can
/// be compacted there.
const SMALLEST_LOG: ByteSize = ByteSize::mib(4);

/// Owns one number and an ordered log of operations on it, and streams the log to replicas.
///
/// One port serves native gRPC, gRPC-Web, the page, /healthz and /metrics.
///
/// The log is kept in a directory and survives crashes. A leader that starts again continues it.
#[derive(Clone, Debug, Parser)]
#[command(name = "calculator-leader", version, after_help = MORE_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Flags for leading, which is what the program does without a subcommand.
    #[command(flatten)]
    pub lead: Args,

    /// Another task.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The leader's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Host and port to listen on, such as localhost:8080; may be given several times. A port alone listens on this machine
    /// only, 0.0.0.0:8080 on every address. Port 0 picks a free port, which the leader logs. With --tls-cert the port speaks
    /// TLS, unless it is written as http://HOST:PORT
    #[arg(
        long,
        default_value = "127.0.0.1:8080",
        env = "CALCULATOR_LISTEN",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub listen: Vec<Listen>,

    /// Host and port for /metrics and /healthz, which need no token there; then no other port has /metrics. In cleartext,
    /// unless it is written as https://HOST:PORT
    #[arg(long, env = "CALCULATOR_ADMIN_LISTEN", value_name = "HOST:PORT")]
    pub admin_listen: Option<Listen>,

    /// How log lines are written to standard error
    #[arg(long, default_value = "text", env = "CALCULATOR_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Send a trace of each Submit to this collector, by OTLP over gRPC, such as http://localhost:4317
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Pause before each random operation, drawn evenly from this range
    #[arg(long, default_value = "10ms..1s", value_name = "MIN..MAX", conflicts_with_all = ["rate", "no_generator"])]
    pub pace: Pace,

    /// Random operations per second, evenly spaced, instead of --pace (1 to 1000000)
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        conflicts_with = "no_generator"
    )]
    pub rate: Option<u32>,

    /// Generate no random operations; commit only what clients submit
    #[arg(long)]
    pub no_generator: bool,

    /// Stop after this many random operations
    #[arg(long, value_name = "N", conflicts_with = "no_generator")]
    pub count: Option<u64>,

    /// Let callers, such as the page, pause and pace the random operations. By default on if the leader listens on this
    /// machine only
    #[arg(long, value_name = "WHEN")]
    pub control: Option<ControlArg>,

    /// Most random operations a second that callers may ask for (1 to 1000000). By default 1000, or --rate if that is more
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        conflicts_with = "no_generator"
    )]
    pub max_rate: Option<u32>,

    /// Seed of the random operations; the same seed draws the same operations. Random by default
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Directory of the log; created if it does not exist. One leader at a time writes to it
    #[arg(long, default_value = DEFAULT_DATA_DIR, env = "CALCULATOR_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Keep the log in memory, even if --data-dir is set; it ends with the leader
    // Does not conflict with `data_dir`, because the container image sets CALCULATOR_DATA_DIR for every leader.
    #[arg(long, conflicts_with_all = ["durability", "snapshot_every"])]
    pub ephemeral: bool,

    /// What an acknowledged operation survives
    #[arg(long, default_value = "fsync", value_name = "WHAT")]
    pub durability: DurabilityArg,

    /// Events between snapshots of the value; at the start, a leader verifies the events after the newest one
    #[arg(long, default_value = "100000", value_name = "EVENTS", value_parser = parse_events)]
    pub snapshot_every: NonZeroU64,

    /// Events of history to keep at least, for replicas that resume and for ReadEvents, as far as --retain-bytes allows.
    /// Older events are compacted away, in a directory up to a snapshot. An event takes up to some 150 bytes of disk, or 200
    /// of memory
    #[arg(long, default_value = "1000000", value_name = "EVENTS", value_parser = parse_events)]
    pub retain: NonZeroU64,

    /// Bytes that the log may take, such as 512MiB, 2GB or 1000000000 (at least 4MiB). If it takes more, the oldest events are
    /// compacted away, even if --retain would keep them. The write-ahead log of up to some 32 MiB comes on top. No bound by
    /// default
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub retain_bytes: Option<NonZeroU64>,

    /// Time between heartbeats; a replica that misses three reconnects (10ms to 60s)
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = parse_heartbeat)]
    pub heartbeat_interval: Duration,

    /// Name under which browsers may call this leader, beside localhost and IP addresses; may be given several times.
    /// Needed if browsers reach it by a DNS name, directly or through a proxy that passes the name on
    #[arg(long = "host", env = "CALCULATOR_HOST", value_name = "NAME", value_delimiter = ',')]
    pub hosts: Vec<HostName>,

    /// Sites whose pages may call this leader.
    #[arg(
        help = "Site whose pages may call this leader, such as https://app.example.com; may be given several times",
        long = "allow-origin",
        env = "CALCULATOR_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allow_origins: Vec<Origin>,

    /// The flags of TLS.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// The flags of tokens.
    #[command(flatten)]
    pub tokens: TokenArgs,

    /// The flags of limits.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// What an acknowledged operation survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// A power cut: the operation is on the disk
    Fsync,
    /// A crash of the leader; a power cut may lose the newest operations
    Os,
}

/// Whether callers may pause and pace the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ControlArg {
    /// They may
    On,
    /// They may not
    Off,
}

impl Args {
    /// Listens on the ports.
    ///
    /// # Errors
    ///
    /// If a port or a file cannot be used.
    pub async fn ports(&self) -> anyhow::Result<Ports> {
        let ports = Ports::bind(&self.listen, self.tls.files(), self.admin_listen.as_ref()).await?;
        if let Some(address) = ports.exposed()
            && self.tokens.are_given()
            && !self.tokens.tls_ends_at_proxy
        {
            bail!(
                "tokens would travel in cleartext to {address}: give --tls-cert and --tls-key, listen on this machine only, \
                 or say --tls-ends-at-proxy if a proxy in front speaks TLS"
            );
        }
        Ok(ports)
    }

    /// The configuration, with the files that it names. Log lines go to `lines`. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a file cannot be used.
    pub fn config(&self, lines: Outlet) -> anyhow::Result<Config> {
        let tokens = self.tokens.load()?;
        let traces = self.otlp_endpoint.as_deref().map(Traces::to).transpose().context("--otlp-endpoint")?;
        Ok(Config { tokens, traces: traces.unwrap_or_default(), lines: Some(lines), ..Config::from(self) })
    }
}

/// The configuration without what is in files.
impl From<&Args> for Config {
    fn from(args: &Args) -> Self {
        let generator = match (args.no_generator, args.rate) {
            (true, _) => Generator::Off,
            (false, Some(rate)) => Generator::Rate(rate),
            (false, None) => Generator::Paced(args.pace),
        };
        let storage = if args.ephemeral {
            Storage::Memory
        } else {
            let durability = match args.durability {
                DurabilityArg::Fsync => Durability::Fsync,
                DurabilityArg::Os => Durability::Os,
            };
            let directory = args.data_dir.clone();
            Storage::Directory { directory, durability, snapshot_every: args.snapshot_every }
        };
        let listened = args.listen.iter().filter_map(|listen| listen.host().parse().ok());
        Self {
            storage,
            generator,
            count: args.count,
            seed: args.seed.unwrap_or_else(rand::random),
            control: args.control.map(|control| control == ControlArg::On),
            max_rate: args.max_rate.unwrap_or(DEFAULT_MAX_RATE.max(args.rate.unwrap_or(0))),
            retain: args.retain,
            retain_bytes: args.retain_bytes,
            heartbeat_interval: args.heartbeat_interval,
            max_subscribers: args.limits.max_subscribers,
            access: Access {
                // The name in `--listen` needs no `--host`.
                hosts: args.hosts.iter().cloned().chain(listened).collect(),
                origins: args.allow_origins.clone(),
            },
            tokens: Tokens::default(),
            lines: None,
            traces: Traces::default(),
            trusted_proxies: args.limits.trusted_proxies(),
            limits: args.limits.limits(),
        }
    }
}

fn parse_events(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "choose a whole number, at least 1".to_owned())
}

fn parse_bytes(text: &str) -> Result<NonZeroU64, String> {
    let bytes: ByteSize = text.parse().map_err(|_| "choose a size such as 512MiB, 2GB or 1000000000".to_owned())?;
    let too_small = || format!("choose at least {}", SMALLEST_LOG.display().iec());
    NonZeroU64::new(bytes.as_u64()).filter(|_| bytes >= SMALLEST_LOG).ok_or_else(too_small)
}

fn parse_heartbeat(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    if range.contains(&interval) { Ok(interval) } else { Err("choose from 10ms to 60s".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_decide_the_generator() {
        let generator = |flags: &[&str]| {
            let flags = ["calculator-leader"].iter().chain(flags);
            Cli::try_parse_from(flags).map(|cli| Config::from(&cli.lead).generator).map_err(|error| error.kind())
        };
        let default = Pace { min: Duration::from_millis(10), max: Duration::from_secs(1) };
        assert_eq!(generator(&[]), Ok(Generator::Paced(default)));
        assert_eq!(generator(&["--rate", "50"]), Ok(Generator::Rate(50)));
        assert_eq!(generator(&["--no-generator"]), Ok(Generator::Off));
        assert!(generator(&["--rate", "0"]).is_err());
        assert!(generator(&["--rate", "5", "--no-generator"]).is_err());
        assert!(generator(&["--rate", "5", "--pace", "1ms..2ms"]).is_err());
    }

    #[test]
    fn flags_decide_what_callers_may_change() {
        let control = |flags: &[&str]| {
            let flags = ["calculator-leader"].iter().chain(flags);
            let config = Cli::try_parse_from(flags).map(|cli| Config::from(&cli.lead));
            config.map(|config| (config.control, config.max_rate)).map_err(|error| error.kind())
        };
        assert_eq!(control(&[]), Ok((None, 1_000)));
        assert_eq!(control(&["--control", "on", "--rate", "20000"]), Ok((Some(true), 20_000)));
        assert_eq!(control(&["--control", "off", "--rate", "20", "--max-rate", "50"]), Ok((Some(false), 50)));
        assert!(control(&["--max-rate", "0"]).is_err());
        assert!(control(&["--max-rate", "5", "--no-generator"]).is_err());
    }

    #[test]
    fn browsers_may_use_the_names_in_host_and_listen() {
        let hosts = |flags: &[&str]| {
            let flags = ["calculator-leader"].iter().chain(flags);
            Cli::try_parse_from(flags).map(|cli| Config::from(&cli.lead).access.hosts).map_err(|error| error.kind())
        };
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<HostName>>();
        assert_eq!(hosts(&["--listen", "calc.lan:8080"]), Ok(names(&["calc.lan"])));
        let flags = ["--listen", "calc.lan:8080", "--host", "a.example", "--host", "b.example,c.example"];
        assert_eq!(hosts(&flags), Ok(names(&["a.example", "b.example", "c.example", "calc.lan"])));
        assert!(hosts(&["--host", "http://a.example"]).is_err());
        assert!(hosts(&["--allow-origin", "a.example"]).is_err());
    }

    #[test]
    fn history_is_bounded_in_bytes_if_a_flag_says_so() {
        let bytes = |flags: &[&str]| {
            let flags = ["calculator-leader"].iter().chain(flags);
            let config = Cli::try_parse_from(flags).map(|cli| Config::from(&cli.lead));
            config.map(|config| config.retain_bytes.map(NonZeroU64::get)).map_err(|error| error.to_string())
        };
        assert_eq!(bytes(&[]), Ok(None));
        for (text, expected) in
            [("512MiB", 512 << 20), ("2GB", 2_000_000_000), ("1.5 GiB", 3 << 29), ("4194304", 4 << 20)]
        {
            assert_eq!(bytes(&["--retain-bytes", text]), Ok(Some(expected)), "{text}");
        }
        for (text, words) in
            [("0", "at least 4.0 MiB"), ("4MB", "at least 4.0 MiB"), ("much", "512MiB"), ("-1", "512MiB")]
        {
            let refused = bytes(&[&format!("--retain-bytes={text}")]).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn flags_decide_where_the_log_is() {
        let storage = |flags: &[&str]| {
            let flags = ["calculator-leader"].iter().chain(flags);
            Cli::try_parse_from(flags).map(|cli| Config::from(&cli.lead).storage).map_err(|error| error.kind())
        };
        assert_eq!(storage(&["--ephemeral"]), Ok(Storage::Memory));
        let kept = |directory: &str, durability| {
            let snapshot_every = NonZeroU64::new(100_000).unwrap();
            Ok(Storage::Directory { directory: directory.into(), durability, snapshot_every })
        };
        assert_eq!(storage(&[]), kept(DEFAULT_DATA_DIR, Durability::Fsync));
        assert_eq!(storage(&["--data-dir", "d", "--durability", "os"]), kept("d", Durability::Os));
        assert_eq!(storage(&["--ephemeral", "--data-dir", "d"]), Ok(Storage::Memory));
        assert!(storage(&["--ephemeral", "--durability", "os"]).is_err());
        assert!(storage(&["--rate", "5", "verify"]).is_err(), "verify takes no flags of the leader");
        assert!(storage(&["--snapshot-every", "0"]).is_err());
    }
}
