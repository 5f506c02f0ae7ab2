//! `cargo run -p sim`: runs the worlds of many seeds, or replays one.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user on the terminal")]

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use engine::fault::Fault;
use sim::WorldReport;

/// Simulated worlds in which one seed decides everything.
#[derive(Parser)]
#[command(name = "sim", version)]
struct Args {
    /// Run the world of this seed, and print everything that happens in it
    #[arg(long, value_name = "N", conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,

    /// Run the worlds of the seeds from A up to, but not including, B
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<Range<u64>>,

    /// Switch on a deliberate fault, such as skip-gap-check; needs `cargo run -p sim --features faults`
    #[arg(long, value_name = "NAME")]
    fault: Option<Fault>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(fault) = args.fault.filter(|_| !cfg!(feature = "faults")) {
        let worlds = match (args.seed, args.seeds) {
            (Some(seed), _) => format!("--seed {seed}"),
            (None, seeds) => seeds.map(|seeds| format!("--seeds {}..{}", seeds.start, seeds.end)).unwrap_or_default(),
        };
        eprintln!("this build has no deliberate faults; run: {}", command(&worlds, Some(fault)));
        return ExitCode::FAILURE;
    }
    let all_held = match (args.seed, args.seeds) {
        (Some(seed), _) => replay(seed, args.fault),
        (None, Some(seeds)) => run_many(seeds, args.fault),
        (None, None) => true,
    };
    if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64, fault: Option<Fault>) -> bool {
    let report = run(seed, fault);
    print!("{}", report.trace);
    println!("trace {:016x}", report.fingerprint());
    print_violations(&report, fault)
}

fn run_many(seeds: Range<u64>, fault: Option<Fault>) -> bool {
    let started = Instant::now();
    let (mut done, mut broken) = (0_u64, 0_u64);
    let (mut events, mut acknowledged, mut leaders) = (0, 0, 0);
    let total = seeds.end.saturating_sub(seeds.start);
    for seed in seeds {
        let report = run(seed, fault);
        if !print_violations(&report, fault) {
            broken += 1;
        }
        done += 1;
        events += report.events;
        acknowledged += report.acknowledged;
        leaders += report.leaders;
        if done % 50 == 0 || done == total {
            let seconds = started.elapsed().as_secs_f64();
            println!("{done} of {total} worlds in {seconds:.1} s, {broken} broke an invariant");
        }
    }
    println!("{events} events, {acknowledged} acknowledged operations, {leaders} leaders");
    broken == 0
}

/// Prints the violated invariants. Returns whether all held.
fn print_violations(report: &WorldReport, fault: Option<Fault>) -> bool {
    for violation in &report.violations {
        eprintln!("seed {}: {}: {}", report.seed, violation.invariant, violation.what);
    }
    if report.violations.is_empty() {
        return true;
    }
    eprintln!("replay it with: {}", command(&format!("--seed {}", report.seed), fault));
    false
}

/// The command that runs `worlds`, such as `--seed 25`, with `fault`.
fn command(worlds: &str, fault: Option<Fault>) -> String {
    match fault {
        None => format!("cargo run -p sim -- {worlds}"),
        Some(fault) => format!("cargo run -p sim --features faults -- {worlds} --fault {fault}"),
    }
}

#[cfg(feature = "faults")]
fn run(seed: u64, fault: Option<Fault>) -> WorldReport {
    fault.map_or_else(|| sim::run(seed), |fault| sim::run_with_fault(seed, fault))
}

/// `main` refuses `--fault` in a build without faults.
#[cfg(not(feature = "faults"))]
fn run(seed: u64, _fault: Option<Fault>) -> WorldReport {
    sim::run(seed)
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is not a range such as 0..500");
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let (start, end) = (start.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if start < end { Ok(start..end) } else { Err(wrong()) }
}
