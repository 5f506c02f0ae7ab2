//! The simulation sees: each deliberate defect breaks a promise within a bounded number of seeds.
#![allow(clippy::print_stdout, reason = "the counts are figures that docs/reliability.md quotes")]

use engine::fault::Fault;

/// Within this many seeds each defect must show. The worst takes a tenth of it.
const SEEDS: u64 = 300;

#[test]
fn each_deliberate_fault_is_caught() {
    // What panics is caught too; its message is in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let caught =
            (0..SEEDS).find_map(|seed| sim::run(seed, Some(fault)).violations.into_iter().next().map(|v| (seed, v)));
        match caught {
            Some((seed, violation)) => println!("{fault:?}: {} seeds: {}", seed + 1, violation.invariant),
            None => missed.push(fault),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}
