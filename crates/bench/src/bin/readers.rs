//! Measures how much readers that catch up slow a writer down.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use e2e::fill::fill;
use e2e::readers::{Submits, measure};

/// Measures the latency of submissions with no readers, and while many replicas catch up from storage; and the
/// leader's memory. The readers drop their bytes undecoded, but they share the processors with the leader.
///
/// Build the leader first: cargo build --release -p leader
#[derive(Debug, Parser)]
struct Args {
    /// Number of replicas that catch up
    #[arg(long, default_value_t = 1_000)]
    readers: usize,
    /// Let the readers stop reading after their first bytes
    #[arg(long)]
    stuck: bool,
    /// Events in the log
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Events in each batch
    #[arg(long, default_value_t = 1)]
    per_batch: u64,
    /// Duration of each of the two measurements, alone and beside readers, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where to create the log's directory; it should be on a disk, not in memory
    #[arg(long, default_value = "target", value_name = "DIR")]
    data_dir: PathBuf,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "printing is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let directory = tempfile::Builder::new().prefix("readers-").tempdir_in(&args.data_dir);
    let directory = directory.with_context(|| format!("cannot create a directory in {}", args.data_dir.display()))?;
    fill(directory.path(), args.events, args.per_batch).await?;
    let time = Duration::from_secs(args.seconds);
    let measured = measure(directory.path(), args.readers, !args.stuck, time).await?;
    let row = |what: &str, submits: Submits, memory: u64| {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let Submits { count, p50, p99, worst } = submits;
        println!("{what:<28} {count:>9} {:>9.2} {:>9.2} {:>9.1} {:>9}", ms(p50), ms(p99), ms(worst), memory >> 20);
    };
    println!("operations are submitted         count    p50 ms    p99 ms  worst ms       MiB");
    row("alone", measured.alone, measured.memory_alone);
    row(&format!("beside {} readers", args.readers), measured.beside, measured.memory_peak);
    println!(
        "\nreaders: {:.1} MB a second; {} times the whole log; longest wait for bytes {:.1} s; {} streams ended by the leader",
        f64::from(u32::try_from(measured.bytes_per_second / 1_000).unwrap_or(u32::MAX)) / 1_000.0,
        measured.had.rounds,
        measured.had.longest_wait.as_secs_f64(),
        measured.had.ended
    );
    Ok(())
}
