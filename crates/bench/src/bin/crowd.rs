//! Measures what healthy replicas notice of clients that do a leader no good.

use std::time::Duration;

use clap::Parser;
use e2e::crowd::{Crowd, Size};
use e2e::lags::{Followers, LagFigures};
use e2e::process::{Leader, Program};

/// Measures the lag of healthy replicas alone, and beside a crowd of idle connections, slow readers, calls without an end and
/// floods of resets, with the leader's own limits. Leader, replicas and crowd share the processors.
///
/// Build the leader first: cargo build --release -p leader
#[derive(Debug, Parser)]
struct Args {
    /// Healthy replicas
    #[arg(long, default_value_t = 10)]
    replicas: usize,
    /// Random operations a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Idle connections
    #[arg(long, default_value_t = 2_000)]
    idle: usize,
    /// Subscribers that read slower than the log grows
    #[arg(long, default_value_t = 200)]
    slow: usize,
    /// Calls whose request does not end
    #[arg(long, default_value_t = 200)]
    half_open: usize,
    /// Connections that open calls and reset them at once
    #[arg(long, default_value_t = 10)]
    resetting: usize,
    /// Duration of each of the two measurements, in seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "printing is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    program::allow_many_files(4_096)?;
    let flags = ["--ephemeral", "--listen", "127.0.0.1:0", "--rate", &args.rate.to_string()];
    let leader = Leader::up(Program::start("calculator-leader", &flags)?).await?;
    let followers = Followers::start(&leader.url(), args.replicas)?;
    let settle = Duration::from_secs(3);
    let time = Duration::from_secs(args.seconds);

    println!("lag of healthy replicas        batches    p50 ms    p99 ms   longest   leader's cpu s   memory MiB");
    let row = |what: &str, lags: LagFigures, cpu: Duration| -> anyhow::Result<()> {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let LagFigures { batches, p50, p99, longest } = lags;
        let (cpu, memory) = (cpu.as_secs_f64(), leader.program.memory()? >> 20);
        println!(
            "{what:<28} {batches:>9} {:>9.1} {:>9.1} {:>9.1} {cpu:>16.1} {memory:>12}",
            ms(p50),
            ms(p99),
            ms(longest)
        );
        Ok(())
    };
    tokio::time::sleep(settle).await;
    let (before, _) = (leader.program.cpu()?, followers.take());
    tokio::time::sleep(time).await;
    row("alone", followers.take(), leader.program.cpu()? - before)?;

    let Args { idle, slow, half_open, resetting, .. } = args;
    let crowd = Crowd::start(leader.address, Size { idle, slow, half_open, resetting })?;
    tokio::time::sleep(settle).await;
    let (before, _) = (leader.program.cpu()?, followers.take());
    tokio::time::sleep(time).await;
    row("beside the crowd", followers.take(), leader.program.cpu()? - before)?;
    println!("\nthe crowd: {:?}", crowd.done());
    drop(crowd);
    let status = leader.status().await?;
    println!("the leader goes on: index {}, {} subscribers", status.tail, status.subscribers);
    Ok(())
}
