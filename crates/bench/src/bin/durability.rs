//! Measures what durability costs: commits and operations a second, disk space, and the time to recover.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use e2e::fill::{fill, recover};
use e2e::process::{Leader, run_to_end};
use engine::{Operation, ProducerId};
use follower::{Producer, connect};
use tempfile::TempDir;
use wire::{Identity, ReplicaKind};

/// Measures, in one run: how many writes a second the disk makes durable, how many operations a second a leader
/// acknowledges with and without durability, the disk space of an event, and how long a leader takes to start on a long log.
///
/// Build the leader first: cargo build --release -p leader
#[derive(Debug, Parser)]
struct Args {
    /// Duration of each measurement, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Numbers of clients to measure with; each client waits for its answer before it submits again
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256])]
    clients: Vec<usize>,
    /// How often to repeat all measurements; the table shows medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where to create the logs' directories; it should be on a disk, not in memory
    #[arg(long, default_value = "target", value_name = "DIR")]
    data_dir: PathBuf,
    /// Events in the log that is recovered; 0 skips this measurement
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Also recover a log of as many events in batches of one; writing it takes minutes
    #[arg(long)]
    single: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let directory = tempfile::Builder::new().prefix("durability-").tempdir_in(&args.data_dir);
    let directory = directory.with_context(|| format!("cannot create a directory in {}", args.data_dir.display()))?;
    let directories = LogDirectories { parent: directory, used: 0 };
    measure(&args, directories).await
}

/// Gives each log a path of its own.
struct LogDirectories {
    parent: TempDir,
    used: u32,
}

impl LogDirectories {
    fn next(&mut self) -> PathBuf {
        self.used += 1;
        self.parent.path().join(self.used.to_string())
    }
}

#[expect(clippy::print_stdout, reason = "printing is what the program is for")]
async fn measure(args: &Args, mut directories: LogDirectories) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds);
    println!("A loop of write and fdatasync; and a leader whose clients each submit one operation after the other.");
    println!("Medians of {} rounds of {} s each.\n", args.rounds, args.seconds);
    println!("what                                operations/s   (lowest to highest)   commits/s   p50 ms   p99 ms");
    let mut rows = Vec::new();
    let bare = |bytes, when| Row::Bare { bytes, when };
    rows.extend([bare(4096, "before"), bare(200, "before")]);
    for storage in [Storage::Fsync, Storage::Os, Storage::Memory] {
        rows.extend(args.clients.iter().map(|&clients| Row::Leader { storage, clients }));
    }
    rows.extend([bare(4096, "after"), bare(200, "after")]);
    let mut figures = vec![Vec::new(); rows.len()];
    for _ in 0..args.rounds {
        // Each round measures everything once, so that other load on the machine affects all rows alike.
        for (row, figures) in rows.iter().zip(&mut figures) {
            figures.push(row.measure(&directories.next(), time).await?);
        }
    }
    for (row, figures) in rows.iter().zip(&figures) {
        let of = |pick: fn(&Figures) -> f64| median(figures.iter().map(pick));
        let commits = figures.iter().all(|figures| figures.commits.is_some());
        let commits =
            if commits { format!("{:.0}", of(|figures| figures.commits.unwrap_or_default())) } else { "-".to_owned() };
        let rounds = figures.iter().map(|figures| figures.operations);
        let (lowest, highest) = (rounds.clone().fold(f64::INFINITY, f64::min), rounds.fold(0.0, f64::max));
        println!(
            "{:<34} {:>13.0} {:>21} {commits:>11} {:>8.2} {:>8.2}",
            row.name(),
            of(|figures| figures.operations),
            format!("({lowest:.0} to {highest:.0})"),
            of(|figures| figures.p50_ms),
            of(|figures| figures.p99_ms)
        );
    }

    println!("\nevents in a batch   bytes of log.sqlite for each event");
    for per_batch in [1, 10, 100, 1_000] {
        let (events, directory) = ((per_batch * 20_000).min(1_000_000), directories.next());
        fill(&directory, events, per_batch).await?;
        println!("{per_batch:>17}   {:>34.1}", float(size(&directory)?) / float(events));
        fs::remove_dir_all(&directory)?;
    }

    if args.events > 0 {
        println!(
            "\nlog                                       to make    first answer after a kill (median, worst of 5)"
        );
        let sizes: &[u64] = if args.single { &[1_000, 1] } else { &[1_000] };
        for &per_batch in sizes {
            let directory = directories.next();
            let start = Instant::now();
            // Just before the next snapshot is due, so that recovery replays as many events as possible.
            let events = args.events / 100_000 * 100_000 + 99_000;
            fill(&directory, events, per_batch).await?;
            let (made, bytes) = (start.elapsed(), size(&directory)?);
            let (median, worst) = recoveries(&directory, events).await?;
            let log = format!("{events} events by {per_batch}, {} MB", bytes / 1_000_000);
            println!("{log:<40} {:>6.1} s    {median:.0} ms, {worst:.0} ms", made.as_secs_f64());
            fs::remove_dir_all(&directory)?;
        }
    }
    Ok(())
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
enum Row {
    /// A loop of `write` and `fdatasync`.
    Bare { bytes: usize, when: &'static str },
    /// A leader process, with its clients in this process.
    Leader { storage: Storage, clients: usize },
}

/// Where a leader keeps its log.
#[derive(Clone, Copy, Debug)]
enum Storage {
    Fsync,
    Os,
    Memory,
}

/// The result of one measurement.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Per second.
    operations: f64,
    /// Per second; none for a log in memory.
    commits: Option<f64>,
    p50_ms: f64,
    p99_ms: f64,
}

impl Row {
    fn name(self) -> String {
        match self {
            Self::Bare { bytes, when } => format!("fdatasync of {bytes} bytes, {when}"),
            Self::Leader { storage, clients } => {
                let storage = match storage {
                    Storage::Fsync => "--durability fsync",
                    Storage::Os => "--durability os",
                    Storage::Memory => "--ephemeral",
                };
                format!("{storage}, {clients} client{}", if clients == 1 { "" } else { "s" })
            }
        }
    }

    async fn measure(self, directory: &Path, time: Duration) -> anyhow::Result<Figures> {
        match self {
            Self::Bare { bytes, .. } => tokio::task::block_in_place(|| bare(directory, bytes, time)),
            Self::Leader { storage, clients } => lead(directory, storage, clients, time).await,
        }
    }
}

fn bare(path: &Path, bytes: usize, time: Duration) -> anyhow::Result<Figures> {
    let mut file = File::create_new(path)?;
    let bytes = vec![0x5a; bytes];
    let start = Instant::now();
    let mut took = Vec::new();
    while start.elapsed() < time {
        let one = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        took.push(one.elapsed());
    }
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    let commits = float(took.len() as u64) / seconds;
    let [p50_ms, p99_ms] = percentiles(took);
    Ok(Figures { operations: commits, commits: Some(commits), p50_ms, p99_ms })
}

async fn lead(directory: &Path, storage: Storage, clients: usize, time: Duration) -> anyhow::Result<Figures> {
    let data = directory.to_str().context("the directory's name is not UTF-8")?;
    let kept = ["--data-dir", data, "--durability"];
    let arguments = match storage {
        Storage::Fsync => [&kept[..], &["fsync"]].concat(),
        Storage::Os => [&kept[..], &["os"]].concat(),
        Storage::Memory => Vec::new(),
    };
    let leader = Leader::start(&[&["--no-generator"], arguments.as_slice()].concat()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for client in 0..clients {
        let identity = Identity { id: client.to_string(), name: "load".to_owned(), kind: ReplicaKind::Native };
        let calls = connect(&leader.url(), identity)?.calls();
        let mut producer = Producer::new(calls, || ProducerId::from_random(rand::random()));
        // Connects before the measurement starts.
        producer.submit(Operation::Add(1), None).await?;
        let stop = Arc::clone(&stop);
        tasks.push(async move {
            let mut took = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                producer.submit(Operation::Add(1), None).await?;
                took.push(start.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let warm_up = leader.status().await?.tail;
    let start = Instant::now();
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let tail = leader.status().await?.tail;
    ensure!(tail - warm_up == took.len() as u64, "the log does not hold what was acknowledged");
    leader.program.kill().await?;

    let commits = match storage {
        Storage::Memory => None,
        // Each operation of the warm-up was a commit of its own, because only one client submitted at a time.
        _ => Some(float(batches(data).await? - warm_up) / seconds),
    };
    if !matches!(storage, Storage::Memory) {
        fs::remove_dir_all(directory)?;
    }
    let operations = float(took.len() as u64) / seconds;
    let [p50_ms, p99_ms] = percentiles(took);
    Ok(Figures { operations, commits, p50_ms, p99_ms })
}

/// The number of batches in the log.
async fn batches(data: &str) -> anyhow::Result<u64> {
    let output = run_to_end("calculator-leader", &["verify", "--data-dir", data]).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8(output.stdout)?;
    let words: Vec<&str> = report.split_whitespace().collect();
    let at =
        words.iter().position(|word| *word == "batches,").context("the report of `verify` has no number of batches")?;
    Ok(words[at - 1].parse()?)
}

/// Kills and restarts a leader: the median and the worst time to its first answer, in milliseconds.
async fn recoveries(directory: &Path, events: u64) -> anyhow::Result<(f64, f64)> {
    let data = directory.to_str().context("the directory's name is not UTF-8")?;
    let arguments = ["--data-dir", data, "--retain", "1000000000", "--no-generator"];
    let mut took = Vec::new();
    for life in 0..=5 {
        let recovered = recover(&arguments).await?;
        ensure!(recovered.status.tail >= events, "the log is too short");
        // The first leader opens a log that was closed in order.
        if life > 0 {
            took.push(milliseconds(recovered.took));
        }
        let identity = Identity { id: "1".to_owned(), name: "load".to_owned(), kind: ReplicaKind::Native };
        let calls = connect(&recovered.leader.url(), identity)?.calls();
        for _ in 0..300 {
            calls.submit(Operation::Divide(2)).await?;
        }
        recovered.leader.program.kill().await?;
    }
    let worst = took.iter().copied().fold(0.0, f64::max);
    Ok((median(took), worst))
}

fn size(directory: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(directory.join("log.sqlite"))?.len())
}

/// The 50th and the 99th percentile, in milliseconds.
fn percentiles(mut took: Vec<Duration>) -> [f64; 2] {
    took.sort_unstable();
    [50, 99].map(|percent| took.get(took.len() * percent / 100).copied().map_or(f64::NAN, milliseconds))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "rounded for the table anyway")]
fn float(number: u64) -> f64 {
    number as f64
}
