//! Measures how many events a leader delivers, and its processor time.

use clap::Parser;
use e2e::load::{Load, run};

/// Loads a leader with subscribers and prints delivered events per second and the leader's processor time.
///
/// Build the leader first: cargo build --release -p leader
#[derive(Debug, Parser)]
struct Args {
    /// Random operations a second
    #[arg(long, default_value_t = 100_000)]
    rate: u32,
    /// Duration of the load, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Number of replicas that follow the leader
    #[arg(long, default_value_t = 20)]
    subscribers: usize,
    /// Number of callers that watch the replicas
    #[arg(long, default_value_t = 0)]
    watchers: usize,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "printing is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let Args { rate, seconds, subscribers, watchers } = Args::parse();
    let measured = run(Load { rate, seconds, subscribers, watchers }).await?;
    println!("generated                {} events at {rate} a second", measured.end.index);
    println!("subscribers              {subscribers}, all at {}", measured.end);
    println!("delivered and verified   {} events in {:.2} s", measured.delivered, measured.took.as_secs_f64());
    println!("delivered a second       {:.0} events", measured.delivered_per_second());
    println!("leader's processor time  {:.2} s", measured.leader_cpu.as_secs_f64());
    if watchers > 0 {
        println!("rosters                  {} to {watchers} that watch", measured.rosters);
    }
    println!("delivered a CPU second   {:.0} events", measured.delivered_per_cpu_second());
    Ok(())
}
