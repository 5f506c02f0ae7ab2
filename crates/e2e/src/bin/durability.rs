//! Prints what durability costs: commits and operations a second, disk, and the time to recover.

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

/// Measures, in one run: how often the disk makes a write durable, how many operations a second a leader acknowledges
/// with and without that, how much disk an event takes, and how long a leader takes to start on a long log.
///
/// Build the leader first: cargo build --release -p leader
#[derive(Debug, Parser)]
struct Args {
    /// For how long each way is measured, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many clients submit at a time, one operation each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256])]
    clients: Vec<usize>,
    /// How often everything is measured; the table tells medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where to make a directory to measure in; it should be on a disk and not in memory
    #[arg(long, default_value = "target", value_name = "DIR")]
    data_dir: PathBuf,
    /// Events of the log that is recovered; 0 leaves that out
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Also recover a log of as many events in batches of one, which takes minutes to make
    #[arg(long)]
    single: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let directory = tempfile::Builder::new().prefix("durability-").tempdir_in(&args.data_dir);
    let directory = directory.with_context(|| format!("no room in {}", args.data_dir.display()))?;
    let room = Room { directory, made: 0 };
    measure(&args, room).await
}

/// Makes directories of their own for logs.
struct Room {
    directory: TempDir,
    made: u32,
}

impl Room {
    fn next(&mut self) -> PathBuf {
        self.made += 1;
        self.directory.path().join(self.made.to_string())
    }
}

#[expect(clippy::print_stdout, reason = "printing is what the program is for")]
async fn measure(args: &Args, mut room: Room) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds);
    println!("write and fdatasync, again and again; and a leader whose clients submit one operation after the other.");
    println!("Medians of {} rounds of {} s each.\n", args.rounds, args.seconds);
    println!("what                                operations/s   (lowest to highest)   commits/s   p50 ms   p99 ms");
    let mut ways = Vec::new();
    let bare = |bytes, when| Way::Bare { bytes, when };
    ways.extend([bare(4096, "before"), bare(200, "before")]);
    for storage in [Storage::Fsync, Storage::Os, Storage::Memory] {
        ways.extend(args.clients.iter().map(|&clients| Way::Leader { storage, clients }));
    }
    ways.extend([bare(4096, "after"), bare(200, "after")]);
    let mut figures = vec![Vec::new(); ways.len()];
    for _ in 0..args.rounds {
        // One way after the other and not one round of each, so that what the machine does meanwhile meets all alike.
        for (way, figures) in ways.iter().zip(&mut figures) {
            figures.push(way.measure(&room.next(), time).await?);
        }
    }
    for (way, figures) in ways.iter().zip(&figures) {
        let of = |pick: fn(&Figures) -> f64| median(figures.iter().map(pick));
        let commits = figures.iter().all(|figures| figures.commits.is_some());
        let commits =
            if commits { format!("{:.0}", of(|figures| figures.commits.unwrap_or_default())) } else { "-".to_owned() };
        let rounds = figures.iter().map(|figures| figures.operations);
        let (lowest, highest) = (rounds.clone().fold(f64::INFINITY, f64::min), rounds.fold(0.0, f64::max));
        println!(
            "{:<34} {:>13.0} {:>21} {commits:>11} {:>8.2} {:>8.2}",
            way.name(),
            of(|figures| figures.operations),
            format!("({lowest:.0} to {highest:.0})"),
            of(|figures| figures.p50_ms),
            of(|figures| figures.p99_ms)
        );
    }

    println!("\nevents in a batch   bytes of log.sqlite for each event");
    for per_batch in [1, 10, 100, 1_000] {
        let (events, directory) = ((per_batch * 20_000).min(1_000_000), room.next());
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
            let directory = room.next();
            let start = Instant::now();
            // Just before the next snapshot is due, so that as many events as can be are replayed.
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

/// What is measured.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Appending and `fdatasync` in a loop, without anything else.
    Bare { bytes: usize, when: &'static str },
    /// A leader process, with its clients in this one.
    Leader { storage: Storage, clients: usize },
}

/// Where a leader keeps its log.
#[derive(Clone, Copy, Debug)]
enum Storage {
    Fsync,
    Os,
    Memory,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// A second.
    operations: f64,
    /// A second; not known of a log in memory.
    commits: Option<f64>,
    p50_ms: f64,
    p99_ms: f64,
}

impl Way {
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
        // The connection is made before time is taken.
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
        // Each operation of the warm-up was a commit of its own, for nobody else submitted then.
        _ => Some(float(batches(data).await? - warm_up) / seconds),
    };
    if !matches!(storage, Storage::Memory) {
        fs::remove_dir_all(directory)?;
    }
    let operations = float(took.len() as u64) / seconds;
    let [p50_ms, p99_ms] = percentiles(took);
    Ok(Figures { operations, commits, p50_ms, p99_ms })
}

/// How many batches the log has.
async fn batches(data: &str) -> anyhow::Result<u64> {
    let output = run_to_end("calculator-leader", &["verify", "--data-dir", data]).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8(output.stdout)?;
    let words: Vec<&str> = report.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "batches,").context("the report counts no batches")?;
    Ok(words[at - 1].parse()?)
}

/// Kills leaders and starts them again: the median and the worst time to the first answer, in milliseconds.
async fn recoveries(directory: &Path, events: u64) -> anyhow::Result<(f64, f64)> {
    let data = directory.to_str().context("the directory's name is not UTF-8")?;
    let arguments = ["--data-dir", data, "--retain", "1000000000", "--no-generator"];
    let mut took = Vec::new();
    for life in 0..=5 {
        let recovered = recover(&arguments).await?;
        ensure!(recovered.status.tail >= events, "the log is too short");
        // The first one finds a log that was closed properly.
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

/// The 50th and the 99th, in milliseconds.
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

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: u64) -> f64 {
    number as f64
}
