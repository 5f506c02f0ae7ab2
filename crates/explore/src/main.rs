//! `cargo run --release -p explore`: visits every state of every small world.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user on the terminal")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use engine::fault::Fault;
use explore::config::{WORLDS, WorldConfig};
use explore::{Bound, Exploration, Sights, explore};

/// Four million states take about a gigabyte.
const STATES: usize = 20_000_000;

/// Every state of every small world
#[derive(Parser)]
#[command(name = "explore", version)]
struct Args {
    /// Only the worlds of these names
    #[arg(long, value_name = "NAME", value_parser = world)]
    world: Vec<&'static WorldConfig>,

    /// Let this many more failures happen in each world
    #[arg(long, value_name = "N", default_value_t = 0)]
    more: u8,

    /// Search for this long in all, with at least one more failure in each world
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,

    /// End the search of a world after this many states
    #[arg(long, value_name = "N", default_value_t = STATES)]
    states: usize,

    /// How many worlds are searched at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,

    /// Switch a deliberate fault on, such as skip-gap-check; needs `--features faults`
    #[arg(long, value_name = "NAME")]
    fault: Option<Fault>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.fault.is_some() && !cfg!(feature = "faults") {
        eprintln!(
            "this build has no faults in it; run: cargo run --release -p explore --features faults -- --fault NAME"
        );
        return ExitCode::FAILURE;
    }
    // The search reports panics as broken promises.
    std::panic::set_hook(Box::new(|_| {}));
    let worlds = if args.world.is_empty() { WORLDS.iter().collect() } else { args.world.clone() };
    let reports = search(&args, &worlds);
    let states: usize = reports.iter().map(|report| report.states).sum();
    let seconds: f64 = reports.iter().map(|report| report.took.as_secs_f64()).sum();
    println!("{states} states in {seconds:.1} s");
    if reports.iter().any(|report| report.broken.is_some()) {
        return ExitCode::FAILURE;
    }
    let sights = reports.iter().fold(Sights::default(), |all, report| all.or(report.sights));
    let missing: Vec<_> = sights.missing().collect();
    if args.world.is_empty() && !missing.is_empty() {
        eprintln!("the search met too little; it never met: {missing:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Searches the worlds, some at the same time, and prints what came of each.
fn search(args: &Args, worlds: &[&'static WorldConfig]) -> Vec<Exploration> {
    let threads = u32::try_from(args.threads.clamp(1, worlds.len().max(1))).unwrap_or(1);
    let more = args.more.max(u8::from(args.minutes.is_some()));
    let end = args.minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let next = Mutex::new(worlds.iter());
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Faults are switched on for a thread.
                switch(args.fault);
                while let Some((left, config)) = next.lock().ok().and_then(|mut next| Some((next.len(), next.next()?)))
                {
                    let failures = config.failures + more;
                    // What one world leaves of its share is for those after it.
                    let time = end.map_or(Duration::MAX, |end| {
                        let left = u32::try_from(left).unwrap_or(u32::MAX);
                        let until_end = end.saturating_duration_since(Instant::now());
                        until_end.min(until_end * threads / left)
                    });
                    let report = explore(config, Bound { failures, states: args.states, time });
                    print(config, failures, &report);
                    if let Ok(mut reports) = reports.lock() {
                        reports.push(report);
                    }
                }
            });
        }
    });
    reports.into_inner().unwrap_or_default()
}

fn print(config: &WorldConfig, failures: u8, report: &Exploration) {
    let Exploration { states, steps, depth, healing, rest, complete, took, .. } = report;
    let extent = if *complete { "all" } else { "the nearest" };
    println!("{}: {}; failures: up to {failures}", config.name, config.about);
    println!(
        "    {extent} {states} states, {steps} steps between them, at most {depth} from the first; at rest again within \
         {rest} ({healing} states on the way); {:.1} s",
        took.as_secs_f64()
    );
    if let Some(broken) = &report.broken {
        println!("    BROKEN: {}: {}", broken.violation.invariant, broken.violation.what);
        for line in &broken.path {
            println!("    {line}");
        }
    }
}

#[cfg(feature = "faults")]
fn switch(fault: Option<Fault>) {
    engine::fault::switch(fault);
}

/// `main` refuses `--fault` in a build without faults.
#[cfg(not(feature = "faults"))]
fn switch(_fault: Option<Fault>) {}

fn world(text: &str) -> Result<&'static WorldConfig, String> {
    let names = || WORLDS.iter().map(|config| config.name).collect::<Vec<_>>().join(", ");
    WORLDS.iter().find(|config| config.name == text).ok_or_else(|| format!("choose from {}", names()))
}
