//! The subcommands: tasks for a log, and for a leader that runs.

use std::path::PathBuf;

use clap::Subcommand;

use super::DEFAULT_DATA_DIR;
use crate::http::listen::Listen;

/// Examples, shown after the flags of `backup`.
const BACKUP_HELP: &str = "\
Examples:
  calculator-leader backup --data-dir D --to /mnt/backups         a new file each time, such as calculator-1f0c2b7e-5000.sqlite
  calculator-leader backup --data-dir D --to monday.sqlite";

/// Examples, shown after the flags of `restore`.
const RESTORE_HELP: &str = "\
Operations that were acknowledged after the backup are lost. Replicas that applied them get a snapshot.

Examples:
  mv D D-lost && calculator-leader restore --from monday.sqlite --data-dir D && calculator-leader --data-dir D";

/// Tasks beside leading a log.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check every page, row and event of a log; a leader may run at the same time
    Verify(LogArgs),
    /// Print the events of a log as JSON, one a line; a leader may run at the same time
    Export(LogArgs),
    /// Copy a log into one file, and check the copy; a leader may run at the same time
    #[command(after_help = BACKUP_HELP)]
    Backup(BackupArgs),
    /// Make the log of a directory from a backup. Replicas follow its leader without a restart
    #[command(after_help = RESTORE_HELP)]
    Restore(RestoreArgs),
    /// Ask a running leader whether it is healthy; exits with 0 if it is, else with 1
    Health(HealthArgs),
}

/// The leader to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthArgs {
    /// A port of the leader without TLS: host and port, or a port of this machine. By default the first one in
    /// CALCULATOR_ADMIN_LISTEN or CALCULATOR_LISTEN, or 127.0.0.1:8080
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<Listen>,

    /// Ask whether it can make operations durable, which a leader with a full disk cannot, instead of whether it serves
    #[arg(long)]
    pub write: bool,
}

/// Flags of `backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct BackupArgs {
    /// The log to copy.
    #[command(flatten)]
    pub log: LogArgs,

    /// File to create, or a directory in which to create one that is named after the log and its index. No file is
    /// overwritten
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub to: PathBuf,
}

/// Flags of `restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup: a file that `backup` made, or a copy of a log's directory
    #[arg(long, value_name = "BACKUP")]
    pub from: PathBuf,

    /// Where the log is to be; there must be none yet.
    #[command(flatten)]
    pub log: LogArgs,

    /// Term of the restored log, above every term that a replica saw of it. By default the milliseconds since 1970
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_TERM))]
    pub term: Option<u64>,
}

/// The highest term that `--term` takes. Every reader of JSON reads it exactly, and the terms of some further openings too.
const MAX_TERM: u64 = 1 << 52;

/// The log to work on.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// Directory of the log
    #[arg(long, default_value = DEFAULT_DATA_DIR, env = "CALCULATOR_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
}
